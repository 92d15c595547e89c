"""Restores a photo that compress.py compressed: python examples/lossless/decompress.py photo.llp -o photo.png"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from photo_codec.container import SHIPPED, decompress, load_weights, require_new, run, write
from PIL import Image
from tqdm import tqdm


def png_of(pixels: np.ndarray, extras: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG file of pixels, (H, W, C) in uint8, with a colour profile and Exif data."""
    profile, exif = extras
    file = io.BytesIO()
    named = ({"icc_profile": profile} if profile else {}) | ({"exif": exif} if exif else {})
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "PNG", **named)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="file that compress.py wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="weights that wrote the file")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    options = parser.parse_args()
    require_new(options.output, force=options.force)
    if options.output.suffix.lower() != ".png":
        raise ValueError(f"--output needs to end in .png, got {options.output.name}")
    if options.threads:
        torch.set_num_threads(options.threads)
    data = options.file.read_bytes()
    weights = load_weights(options.weights)
    try:
        pixels, extras = decompress(data, weights, watch=lambda tiles: tqdm(tiles, unit="tile", leave=False, delay=1))
    except ValueError as error:
        raise ValueError(f"{options.file} {error}") from None
    write(options.output, png_of(pixels, extras), force=options.force)


if __name__ == "__main__":
    run(main)
