"""The client hides a photo, with its noise or blur, in an unsuspicious cover.

    python examples/pirnet/conceal.py cover.png secret.jpg -o stego.png

Needs lih.safetensors, the client's key: whoever has it can reveal. A file named - is standard input or output.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, SHIPPED


@dataclass(frozen=True)
class Options:
    """Hide a secret photo in a cover."""

    cover: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COVER")]
    """Photo that everybody may see; its alpha channel is kept."""
    secret: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SECRET")]
    """Photo to hide, of the same size; colours under transparent pixels are hidden too and become visible."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors."""
    resize: bool = False
    """Resize the secret to the size of the cover."""
    force: bool = False
    """Overwrite an existing file."""
    verbose: bool = False
    """Print how close the stego image is to its cover."""


@functools.cache
def read_options() -> Options:
    """The options on the command line."""
    return cli.parse(Options, __doc__)


if __name__ == "__main__":
    cli.run(read_options)  # --help and wrong options end here

import torch.nn.functional as F
from pirnet.images import STREAM, check_output, read_picture, write_png
from pirnet.metrics import psnr
from pirnet.pixels import quantise_uint8
from pirnet.weights import load_lih


def main() -> None:
    options = read_options()
    check_output(options.output, force=options.force)
    if options.cover == options.secret == STREAM:
        raise ValueError("cover and secret cannot both come from standard input")
    lih = load_lih(options.weights / LIH_WEIGHTS)
    cover, hidden = read_picture(options.cover), read_picture(options.secret)
    secret = hidden.pixels
    if hidden.alpha is not None:
        print(f"{options.secret}: its transparency is not hidden, transparent pixels become visible", file=sys.stderr)
    if secret.shape != cover.pixels.shape:
        size, got = (" x ".join(map(str, pixels.shape[1:])) for pixels in (cover.pixels, secret))
        if not options.resize:
            raise ValueError(f"{options.secret} needs the size of its cover, {size}, got {got}; --resize changes it")
        secret = F.interpolate(secret[None], cover.pixels.shape[1:], mode="bicubic", antialias=True)[0].clamp(0, 1)
    stego = quantise_uint8(cli.on_any_size(lih.conceal, cover.pixels, secret, network=lih, multiple=2))
    write_png(options.output, stego, alpha=cover.alpha, force=options.force)
    if options.verbose:  # on standard error, since standard output may be the picture
        distance = float(psnr(stego[None], cover.pixels[None]))
        print(f"{options.output}: {distance:.1f} dB from the cover", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
