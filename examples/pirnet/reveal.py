"""The client reveals the photo hidden inside a stego image, restored or not.

    python examples/pirnet/reveal.py RESTORED.png -o SECRET.png

Needs the very lih.safetensors that hid it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pirnet import doors, runs
from pirnet.checkpoint import load_lih
from pirnet.images import read_stego, write_png
from pirnet.model import reveal


@dataclass(frozen=True)
class Options:
    """Reveal the secret inside a stego image."""

    stego: tyro.conf.Positional[Path]
    """Stego image, as restore.py or conceal.py wrote it."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    weights: Path | None = None
    """Folder with lih.safetensors; without one, the latest run's."""
    force: bool = False
    """Overwrite an existing file."""


def main() -> None:
    options = doors.parse(Options, __doc__)
    lih = load_lih(doors.weights_folder(options.weights, runs.LIH_WEIGHTS) / runs.LIH_WEIGHTS)
    stego = read_stego(options.stego)
    secret = doors.on_multiple(lambda s: reveal(lih, s), stego.pixels, multiple=2)
    write_png(options.output, secret.clamp(0, 1), force=options.force)
    print(f"{options.output}: revealed")


if __name__ == "__main__":
    doors.run(main)
