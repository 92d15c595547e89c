"""The cloud restores the photo hidden inside a stego image, without seeing it.

    python examples/pirnet/restore.py STEGO.png -o RESTORED.png --task denoise

Needs lsr.safetensors alone, which reveals nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pirnet import doors, runs
from pirnet.checkpoint import load_lsr
from pirnet.images import quantise_uint8, read_stego, write_png


@dataclass(frozen=True)
class Options:
    """Restore the secret inside a stego image."""

    stego: tyro.conf.Positional[Path]
    """Stego image, as conceal.py wrote it."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    task: Literal["denoise", "deblur", "sr"]
    """What the hidden photo suffers from: noise, blur, low resolution."""
    weights: Path | None = None
    """Folder with lsr.safetensors; without one, the latest run's."""
    force: bool = False
    """Overwrite an existing file."""


def main() -> None:
    options = doors.parse(Options, __doc__)
    lsr = load_lsr(doors.weights_folder(options.weights, runs.LSR_WEIGHTS) / runs.LSR_WEIGHTS)
    stego = read_stego(options.stego)
    restored = doors.on_multiple(
        lambda s: quantise_uint8(lsr(s, options.task)), stego.pixels, multiple=2 ** len(lsr.restorers)
    )
    write_png(options.output, restored, alpha=stego.alpha, force=options.force)
    print(f"{options.output}: restored ({options.task})")


if __name__ == "__main__":
    doors.run(main)
