"""Restores a photo that compress.py compressed: python examples/lossless/decompress.py photo.llp -o photo.png"""

import io

import numpy as np
from photo_codec.command import progress, read_options, run, write
from photo_codec.container import decompress, load_weights
from PIL import Image


def png_of(pixels: np.ndarray, extras: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG file of pixels, (H, W, C) in uint8, with a colour profile and Exif data."""
    profile, exif = extras
    file = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image.save(file, "PNG", icc_profile=profile, exif=exif)  # each may be empty
    return file.getvalue()


def main() -> None:
    options = read_options(__doc__, source="file that compress.py wrote", output="PNG file to write")
    if options.output.suffix.lower() != ".png":
        raise ValueError(f"--output needs to end in .png, got {options.output.name}")
    data = options.source.read_bytes()
    weights = load_weights(options.weights)
    try:
        pixels, extras = decompress(data, weights, watch=progress)
    except ValueError as error:
        raise ValueError(f"{options.source} {error}") from None
    write(options.output, png_of(pixels, extras), force=options.force)


if __name__ == "__main__":
    run(main)
