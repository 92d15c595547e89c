"""Photos that are read as they are: those that would lose something are refused."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "TIFF", "WEBP", "BMP", "PPM", "JPEG")
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 277, 338, 339  # TIFF tags
PLAIN_ALPHA = 2  # colours are not multiplied by it
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
        source = path if path.is_char_device() else io.BytesIO(path.read_bytes())  # a device may have no end
        with Image.open(source, formats=FORMATS) as photo:
            if photo.format == "PNG" and isinstance(source, io.BytesIO):  # the decoder ignores checksums
                Image.open(io.BytesIO(source.getvalue())).verify()
            yield photo
    except (FileNotFoundError, PhotoError):
        raise
    except IsADirectoryError:
        raise PhotoError(f"{path} needs to be a photo, got a folder") from None
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
        profile, exif = photo.info.get("icc_profile") or b"", photo.info.get("exif") or b""
        if photo.format == "PNG" and not exif and photo.getexif():  # in a text chunk, as older programs write it
            exif = photo.getexif().tobytes()
    return pixels.reshape(*pixels.shape[:2], -1), (profile, exif)


def require_8_bits(path: Path, photo: Image.Image) -> None:
    """Raises PhotoError for samples of another kind, which Pillow would change or leave out without a warning."""
    tiles = getattr(photo, "tile", ())
    modes = " ".join(str(tile[3]) for tile in tiles)
    deep = photo.format in ("PNG", "TIFF") and any(bits in modes for bits in (";16", ";32", "I;", "F;"))
    tags = getattr(photo, "tag_v2", {})  # of a TIFF file
    planes = tags.get(BITS_PER_SAMPLE, (8,))
    largest = [tile[3][1] for tile in tiles if tile[0].startswith("ppm")]  # value of a PPM file
    if deep or max(planes) > 8 or any(value != 255 for value in largest):
        raise PhotoError(f"{path} needs to be 8-bit L, LA, RGB or RGBA, got {photo.mode} stored as {modes}")
    if any(kind != 1 for kind in tags.get(SAMPLE_FORMAT, ())):
        raise PhotoError(f"{path} needs to have unsigned samples, got signed or floating-point ones")
    others = [kind for kind in tags.get(EXTRA_SAMPLES, ()) if kind != PLAIN_ALPHA]
    if others or tags.get(SAMPLES_PER_PIXEL, 0) > len(photo.getbands()):
        raise PhotoError(f"{path} needs colours and at most a plain alpha channel, got others, which would be lost")
