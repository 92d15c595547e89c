"""The client hides a photo, with its noise or blur, in an unsuspicious cover.

    python examples/pirnet/conceal.py cover.png secret.jpg -o stego.png

Needs lih.safetensors, the client's key: whoever has it can reveal. A file named - is standard input or
output; ./- is a file of that name.
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
    """Photo to hide in: not a public one, and not one used before; its alpha channel is kept."""
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
    """Print how close the stego image is to its cover, and the revealed secret to the secret."""


@functools.cache
def read_options() -> Options:
    """The options on the command line."""
    return cli.parse(Options, __doc__)


if __name__ == "__main__":
    cli.run(read_options)  # --help and wrong options end here

import torch.nn.functional as F
from pirnet.images import STREAM, check_output, read_picture, read_secret, write_png
from pirnet.metrics import psnr
from pirnet.pixels import quantise_uint8, with_odd_edge_of
from pirnet.support.revealed import concealed_at
from pirnet.weights import load_lih


def main() -> None:
    options = read_options()
    check_output(options.output, force=options.force)
    if options.cover == options.secret == STREAM:
        raise ValueError("cover and secret cannot both come from standard input")
    lih = load_lih(options.weights / LIH_WEIGHTS)
    cover, hidden = read_picture(options.cover), read_secret(options.secret)
    secret = hidden.pixels
    if hidden.alpha is not None:
        print(f"{options.secret}: its transparency is not hidden, transparent pixels become visible", file=sys.stderr)
    if cover.profile_dropped:
        print(
            f"{options.cover}: its colour profile, which is not for RGB, is not kept: shades may change",
            file=sys.stderr,
        )
    if hidden.converted_from:
        print(f"{options.secret}: colours converted from {hidden.converted_from} to sRGB", file=sys.stderr)
    if secret.shape != cover.pixels.shape:
        size, got = (" x ".join(map(str, pixels.shape[1:])) for pixels in (cover.pixels, secret))
        if not options.resize:
            raise ValueError(f"{options.secret} needs the size of its cover, {size}, got {got}; --resize changes it")
        secret = F.interpolate(secret[None], cover.pixels.shape[1:], mode="bicubic", antialias=True)[0].clamp(0, 1)
    hiding = cli.on_any_size(lih.conceal, cover.pixels, secret, network=lih, multiple=2)
    stego = with_odd_edge_of(cover.pixels, quantise_uint8(hiding))
    write_png(options.output, stego, alpha=cover.alpha, profile=cover.profile, force=options.force)
    revealed = cli.on_any_size(lih.reveal, stego, network=lih, multiple=2)
    quality, warnings = concealed_at(revealed, secret)
    if options.verbose:  # on standard error, since standard output may be the picture
        distance = f"{float(psnr(stego[None], cover.pixels[None])):.1f} dB from the cover"
        print(f"{options.output}: {distance}, and reveals the secret at {quality:.1f} dB", file=sys.stderr)
    for warning in warnings:
        print(f"{options.output}: {warning}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
