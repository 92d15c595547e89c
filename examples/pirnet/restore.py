"""The cloud restores the photo hidden inside a stego image, without revealing it.

    python examples/pirnet/restore.py stego.png -o restored.png --task denoise

Needs only lsr.safetensors. That does not prove that the secret stays secret: see docs/pirnet-security.md. A file named
- is standard input or output; ./- is a file of that name.
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
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED
from pirnet.tasks import TASKS

TaskName = tyro.extras.literal_type_from_choices(list(TASKS))


@dataclass(frozen=True)
class Options:
    """Restore the secret inside a stego image."""

    stego: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STEGO")]
    """Stego image that conceal.py wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    task: Annotated[str, tyro.conf.arg(constructor=TaskName)]
    """Degradation of the hidden photo: noise, blur, low resolution, ... as in the table of tasks."""
    weights: Path = SHIPPED
    """Folder with lsr.safetensors."""
    force: bool = False
    """Overwrite an existing file."""


@functools.cache
def read_options() -> Options:
    """The options on the command line."""
    return cli.parse(Options, __doc__)


if __name__ == "__main__":
    cli.run(read_options)  # --help and wrong options end here

from pirnet.images import check_output, read_stego, write_png
from pirnet.pixels import quantise_uint8, with_odd_edge_of
from pirnet.weights import load_lsr, run_warning


def main() -> None:
    options = read_options()
    check_output(options.output, force=options.force)
    lsr = load_lsr(options.weights / LSR_WEIGHTS)
    for line in run_warning(options.weights / LIH_WEIGHTS, options.weights / LSR_WEIGHTS):
        print(line, file=sys.stderr)
    stego = read_stego(options.stego)
    multiple = 2 ** len(lsr.restorers)
    restored = cli.on_any_size(lambda s: lsr(s, options.task), stego.pixels, network=lsr, multiple=multiple)
    restored = with_odd_edge_of(stego.pixels, quantise_uint8(restored))
    write_png(
        options.output,
        restored,
        alpha=stego.alpha,
        profile=stego.profile,
        orientation=stego.orientation,
        force=options.force,
    )


if __name__ == "__main__":
    cli.run(main)
