"""Photos that are read as they are: those that would lose something are refused."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "TIFF", "WEBP", "BMP", "PPM", "JPEG")
BITS_PER_SAMPLE = 258  # the TIFF tag
MODES = ("L", "LA", "RGB", "RGBA")


# What Pillow's decoders raise on damaged data.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


class PhotoError(ValueError):
    """A photo that is not read. The message is one line that names the file."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Opens a photo, and names it in the errors of Pillow, also in those that come while it is decoded.

    Raises:
        FileNotFoundError: If there is no such file.
        PhotoError: If it is damaged, too large, or of another format.
    """
    try:
        with Image.open(path, formats=FORMATS) as photo:
            yield photo
    except (FileNotFoundError, PhotoError):
        raise
    except UnidentifiedImageError:
        raise PhotoError(f"{path} needs to be a PNG, TIFF, WebP, BMP, PPM or JPEG file, got another kind") from None
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{path} is too large to open safely: {error}") from error
    except DECODE_ERRORS as error:
        raise PhotoError(f"{path} cannot be read, damaged or truncated: {error}") from error


def read_photo(path: Path) -> tuple[np.ndarray, tuple[bytes, bytes]]:
    """Returns the pixels of a photo, (H, W, C) in uint8, its colour profile and its Exif data.

    Raises:
        FileNotFoundError: If there is no such file.
        PhotoError: If it is damaged, or has pixels of another kind or several frames.
    """
    with opened(path) as photo:
        if photo.mode not in MODES or "transparency" in photo.info:
            kind = f"{photo.mode} with a transparent colour" if "transparency" in photo.info else photo.mode
            raise PhotoError(f"{path} needs to be 8-bit L, LA, RGB or RGBA, got {kind}")
        require_8_bits(path, photo)
        frames = getattr(photo, "n_frames", 1)
        if frames > 1:
            raise PhotoError(f"{path} needs to be one photo, got {frames} frames")
        pixels = np.asarray(photo)
        extras = photo.info.get("icc_profile") or b"", photo.info.get("exif") or b""
    return pixels.reshape(*pixels.shape[:2], -1), extras


def require_8_bits(path: Path, photo: Image.Image) -> None:
    """Raises PhotoError for a photo of more bits, which Pillow would reduce to 8 without a warning."""
    tiles = getattr(photo, "tile", ())
    modes = " ".join(str(tile[3]) for tile in tiles)
    deep = photo.format in ("PNG", "TIFF") and any(bits in modes for bits in (";16", ";32", "I;", "F;"))
    planes = getattr(photo, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))  # of a TIFF file
    largest = [tile[3][1] for tile in tiles if tile[0].startswith("ppm")]  # value of a PPM file
    if deep or max(planes) > 8 or any(value != 255 for value in largest):
        raise PhotoError(f"{path} needs to be 8-bit L, LA, RGB or RGBA, got {photo.mode} stored as {modes}")
