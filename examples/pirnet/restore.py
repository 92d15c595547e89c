"""The cloud restores the photo hidden inside a stego image, without revealing it.

    python examples/pirnet/restore.py stego.png -o restored.png --task denoise

Needs lsr.safetensors alone. That is no proof that the secret stays secret: see
docs/pirnet-security.md. A file named - is standard input or output.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pirnet.images import check_output, quantise_uint8, read_stego, write_png
from pirnet.support import cli, runs
from pirnet.weights import load_lsr


@dataclass(frozen=True)
class Options:
    """Restore the secret inside a stego image."""

    stego: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STEGO")]
    """Stego image, as conceal.py wrote it."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    task: Literal["denoise", "deblur", "sr"]
    """What the hidden photo suffers from: noise, blur, low resolution."""
    weights: Path = cli.SHIPPED
    """Folder with lsr.safetensors."""
    force: bool = False
    """Overwrite an existing file."""


def main() -> None:
    options = cli.parse(Options, __doc__)
    check_output(options.output, force=options.force)
    lsr = load_lsr(options.weights / runs.LSR_WEIGHTS)
    stego = read_stego(options.stego)
    restored = cli.on_any_size(
        lambda s: quantise_uint8(lsr(s, options.task)), stego.pixels, network=lsr, multiple=2 ** len(lsr.restorers)
    )
    write_png(options.output, restored, alpha=stego.alpha, force=options.force)


if __name__ == "__main__":
    cli.run(main)
