"""Trains the networks of the lossless codec.

    python examples/lossless/train.py                                           ten minutes on a few bundled photos
    python examples/lossless/train.py --data PHOTOS --minutes 60 --out runs/photos

Writes lossless.safetensors, which compress.py and decompress.py read, log.jsonl and checkpoint.pt.
"""

import argparse
import math
from pathlib import Path

import torch
from photo_codec.command import locked, run, write
from photo_codec.model import Model
from photo_codec.training import COUNTED, Run, export, load_photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, metavar="FOLDER", help="photos; those of scikit-image if none")
    parser.add_argument("--minutes", type=float, default=10, help="length of the whole training")
    parser.add_argument("--out", type=Path, default=Path("runs/lossless"), help="folder for the results")
    parser.add_argument("--width", type=int, default=48, help="channels of the hidden layers")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    options = parser.parse_args()
    if not 0 < options.minutes < math.inf or options.width < 1:
        got = f"{options.minutes} and {options.width}"
        raise ValueError(f"--minutes needs a finite number above 0 and --width at least 1, got {got}")
    torch.manual_seed(0)
    photos = load_photos(options.data)
    with locked(options.out):
        training = Run(options.out, options.minutes, Model(options.width))
        weights = options.out / "lossless.safetensors"
        if options.resume:
            training.load()
        elif weights.exists() or (options.out / "checkpoint.pt").exists():
            raise ValueError(f"{options.out} has a run: continue it with --resume, or choose another folder")
        training.train(photos)
        write(weights, export(training.model, photos, counted=COUNTED), force=True)
    print(f"wrote {weights}")


if __name__ == "__main__":
    run(main)
