"""The client reveals the photo hidden inside a stego image, restored or not.

    python examples/pirnet/reveal.py restored.png -o revealed.png --key stego.key

Needs the lih.safetensors that hid it, and the key that conceal.py wrote. A file named - is standard input or
output; ./- is a file of that name.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED


@dataclass(frozen=True)
class Options:
    """Reveal the secret inside a stego image."""

    stego: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STEGO")]
    """Stego image that restore.py or conceal.py wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write; if it is new, only you can read it."""
    key: Path | None = None
    """Key file that conceal.py wrote for this photo."""
    no_key: bool = False
    """Reveal a photo that was hidden without a key."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors."""
    force: bool = False
    """Overwrite an existing file."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

from pirnet.images import check_output, read_stego, write_png
from pirnet.pixels import smooth_borders, upright
from pirnet.support.keys import check_fits, read_key
from pirnet.support.revealed import doubts, scrambled_still, without_key
from pirnet.weights import load_lih, run_of, run_warning


def main() -> None:
    options = read_options()
    check_output(options.output, force=options.force, others=(options.stego, options.key))
    if (options.key is None) != options.no_key:
        raise ValueError(f"{options.stego} needs either --key, with the file that conceal.py wrote, or --no-key")
    lih = load_lih(options.weights / LIH_WEIGHTS)
    warnings = run_warning(options.weights / LIH_WEIGHTS, options.weights / LSR_WEIGHTS)
    stego = read_stego(options.stego)
    key = None if options.key is None else read_key(options.key)  # conceal.py may write it earlier in the same pipe
    if key is not None:
        warnings += check_fits(key, stego.pixels, run=run_of(options.weights / LIH_WEIGHTS))
    revealed = cli.on_any_size(lih.reveal, stego.pixels, network=lih, multiple=2)
    secret = revealed if key is None else key.unscramble(revealed)
    shown = secret if key is None else smooth_borders(secret, key.block)
    write_png(options.output, upright(shown.clamp(0, 1), stego.orientation), force=options.force, private=True)
    found = doubts(lih, stego.pixels, revealed)
    found = found or (without_key(secret) if key is None else scrambled_still(secret, key.block))
    cli.warn(*warnings, *(f"{options.stego}: {doubt}" for doubt in found))


if __name__ == "__main__":
    cli.run(main)
