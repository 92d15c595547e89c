"""Compresses a photo without loss: python examples/lossless/compress.py photo.png -o photo.llp"""

import argparse
from pathlib import Path

import numpy as np
import torch
from photo_codec.container import SHIPPED, compress, load_weights, require_new, run, write
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

FORMATS = ("PNG", "TIFF", "WEBP", "BMP", "PPM", "JPEG")
BITS_PER_SAMPLE = 258  # the TIFF tag
MODES = ("L", "LA", "RGB", "RGBA")


def read_photo(path: Path) -> tuple[np.ndarray, tuple[bytes, bytes]]:
    """Returns the pixels of a photo, (H, W, C) in uint8, its colour profile and its Exif data.

    Raises:
        ValueError: If it is no photo, or has pixels of another kind.
    """
    try:
        with Image.open(path, formats=FORMATS) as photo:
            if photo.mode not in MODES or "transparency" in photo.info:
                kind = f"{photo.mode} with a transparent colour" if "transparency" in photo.info else photo.mode
                raise ValueError(f"{path} needs to be 8-bit L, LA, RGB or RGBA, got {kind}")
            require_8_bits(path, photo)
            frames = getattr(photo, "n_frames", 1)
            if frames > 1:
                raise ValueError(f"{path} needs to be one photo, got {frames} frames")
            pixels = np.asarray(photo)
            extras = photo.info.get("icc_profile") or b"", photo.info.get("exif") or b""
    except UnidentifiedImageError:
        raise ValueError(f"{path} needs to be a PNG, TIFF, WebP, BMP, PPM or JPEG file, got another kind") from None
    return pixels.reshape(*pixels.shape[:2], -1), extras


def require_8_bits(path: Path, photo: Image.Image) -> None:
    """Raises for a photo of more bits, which Pillow would reduce to 8 without a warning."""
    tiles = getattr(photo, "tile", ())
    modes = " ".join(str(tile[3]) for tile in tiles)
    deep = photo.format in ("PNG", "TIFF") and any(bits in modes for bits in (";16", ";32", "I;", "F;"))
    planes = getattr(photo, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))  # of a TIFF file
    largest = [tile[3][1] for tile in tiles if tile[0].startswith("ppm")]  # value of a PPM file
    if deep or max(planes) > 8 or any(value != 255 for value in largest):
        raise ValueError(f"{path} needs to be 8-bit L, LA, RGB or RGBA, got {photo.mode} stored as {modes}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path, help="photo with 8 bits: grey or RGB, with or without transparency")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="file that train.py wrote")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    options = parser.parse_args()
    require_new(options.output, force=options.force)
    if options.threads:
        torch.set_num_threads(options.threads)
    pixels, extras = read_photo(options.photo)
    weights = load_weights(options.weights)
    data = compress(pixels, weights, extras=extras, watch=lambda tiles: tqdm(tiles, unit="tile", leave=False, delay=1))
    write(options.output, data, force=options.force)
    rate = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
    print(f"{options.output}: {len(data)} bytes, {rate:.2f} bits a pixel")


if __name__ == "__main__":
    run(main)
