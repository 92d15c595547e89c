"""8-bit picture files in and out. A file is read as it is or refused with its name; nothing is repaired in silence."""

import struct
import sys
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from pirnet.pixels import check_images, to_uint8, upright
from pirnet.support.colours import in_srgb
from pirnet.support.files import atomic_path
from pirnet.support.outputs import EXISTS, STREAM, ImageError, check_output

MIN_SIZE = 16
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
STEGO_MODES = ("RGB", "RGBA")
ORIENTATION = 0x0112  # the EXIF tag
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339  # TIFF tags
# What Pillow's decoders raise on damaged data, found by truncating files and flipping their bytes.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError)
DECODE_ERRORS += (struct.error, zlib.error)


@dataclass(frozen=True)
class Picture:
    """One decoded picture.

    Attributes:
        pixels: Red, green, blue of shape :math:`(3, H, W)`, float32, multiples of 1/255 in :math:`[0, 1]`.
        alpha: The transparency of shape :math:`(1, H, W)`, uint8, or None if the file has none.
        profile: The ICC profile that the pixels are in, or None if the file has none for RGB.
        profile_dropped: Whether the file has an ICC profile of another kind, such as for grey, which RGB cannot be in.
        converted_from: The name of the profile that the pixels were converted from, or nothing.
        orientation: The EXIF orientation that is still to be applied, 1 to 8; 1 is upright.
    """

    pixels: Tensor
    alpha: Tensor | None
    profile: bytes | None = None
    profile_dropped: bool = False
    converted_from: str = ""
    orientation: int = 1


def read_picture(path: Path) -> Picture:
    """Reads an 8-bit PNG, JPEG, WebP, BMP or TIFF file as RGB, with its alpha channel if it has one.

    Grey and palette pictures become RGB, transparency of any kind (LA, RGBA, a palette, a colour key) becomes alpha,
    and an EXIF orientation is applied. Colours under transparent pixels are kept. Pixels stay in their colour profile.

    Args:
        path: The file, or `-` for standard input; the content decides about the format, not the name.

    Raises:
        ImageError: The file is missing, a folder, unreadable, damaged or truncated; it has more than 8 bits a channel,
            a colour model that is neither RGB nor grey, several frames, or fewer than 16 pixels in height or width.
    """
    return _read(path)


def read_secret(path: Path) -> Picture:
    """Reads a picture to hide, as `read_picture` does, but converts its colours to sRGB if it has a colour profile.

    The profile of the stego image is that of the cover, and a revealed secret has none.

    Args:
        path: The file, or `-` for standard input; the content decides about the format, not the name.

    Raises:
        ImageError: As `read_picture`, or the colour profile is damaged.
    """
    return _read(path, srgb=True)


def read_stego(path: Path, *, content: bytes | None = None) -> Picture:
    """Reads a picture that carries a hidden one, as `read_picture` does, but refuses lossy formats and few colours.

    The hidden part consists of differences of a few grey levels, which JPEG, lossy WebP and palettes discard first. An
    EXIF orientation is not applied: a viewer added it to pixels that were concealed as they are.

    Args:
        path: The file, or `-` for standard input; the content decides about the format, not the name.
        content: What is in the file, if it was read already.

    Raises:
        ImageError: As `read_picture`, or the content is JPEG, WebP or a TIFF file with JPEG compression, or it has a
            palette or only shades of grey.
    """
    return _read(path, stego=True, content=content)


def write_png(
    path: Path,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    profile: bytes | None = None,
    orientation: int = 1,
    force: bool = False,
    private: bool = False,
) -> None:
    """Writes an 8-bit PNG file, completely or not at all (standard output may receive a part).

    Values are clamped to :math:`[0, 1]` and rounded, not truncated, to multiples of 1/255.

    Args:
        path: The file to write; its name ends in `.png`, or is `-` for standard output.
        pixels: Red, green, blue of shape :math:`(3, H, W)`, floating point, in :math:`[0, 1]`.
        alpha: The transparency of shape :math:`(1, H, W)`, uint8.
        profile: The ICC profile of the colours; without one they are sRGB.
        orientation: The EXIF orientation that viewers apply; 1 is upright.
        force: Whether to replace an existing file.
        private: Whether a new file can be read by its owner alone.

    Raises:
        ImageError: The name does not end in `.png`, the file exists and `force` is not given, or its folder is
            missing or not writable.
        TypeError: `pixels` is not floating point, or `alpha` is not uint8.
        ValueError: A shape is wrong, or `pixels` holds a value that is not finite.
    """
    content = png_bytes(pixels, alpha=alpha, profile=profile, orientation=orientation)
    write_bytes(path, content, force=force, private=private)


def png_bytes(
    pixels: Tensor, *, alpha: Tensor | None = None, profile: bytes | None = None, orientation: int = 1
) -> bytes:
    """The content of the file that `write_png` writes; arguments and errors are the same."""
    check_images("write_png", pixels, batched=False)
    if not torch.isfinite(pixels).all():
        raise ValueError("write_png needs finite pixels, got NaN or infinite values")
    values = to_uint8(pixels).cpu()
    if alpha is not None:
        if alpha.dtype != torch.uint8:
            raise TypeError(f"write_png needs an alpha of torch.uint8, got {alpha.dtype}")
        if alpha.shape != (1, *pixels.shape[1:]):
            raise ValueError(f"write_png needs an alpha of shape {(1, *pixels.shape[1:])}, got {tuple(alpha.shape)}")
        values = torch.cat((values, alpha.cpu()))
    image = Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())  # (H, W, 3 or 4)
    exif, content = Image.Exif(), BytesIO()
    if orientation != 1:
        exif[ORIENTATION] = orientation
    image.save(content, format="PNG", icc_profile=profile, exif=exif)
    return content.getvalue()


def write_bytes(path: Path, content: bytes, *, force: bool = False, private: bool = False) -> None:
    """Writes the content of a PNG file; arguments and errors as in `write_png`."""
    check_output(path, force=force)
    try:
        if path == STREAM:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return
        with atomic_path(path, replace=force, private=private) as temporary:
            temporary.write_bytes(content)
    except FileExistsError as error:  # it appeared after the check
        raise ImageError(f"{path}: {EXISTS}") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot write, {error.strerror or error}") from error


def require_size(path: Path, height: int, width: int, *, least: int) -> None:
    """Raises ImageError if a photo has a side of fewer than `least` pixels."""
    if min(height, width) < least:
        raise ImageError(f"{path}: needs at least {least} x {least} pixels (height x width), got {height} x {width}")


def _read(path: Path, *, stego: bool = False, srgb: bool = False, content: bytes | None = None) -> Picture:
    try:
        if content is None and path.is_dir():
            raise ImageError(f"{path}: this is a folder, a picture file is needed")
        if content is None and path == STREAM:
            if sys.stdin is None:
                raise ImageError(f"{path}: cannot be read, standard input is closed")
            content = sys.stdin.buffer.read()
        elif content is None and not path.is_char_device():  # such as /dev/zero, which has no end
            content = path.read_bytes()
        source = path if content is None else BytesIO(content)
        large = Image.DecompressionBombWarning  # such pictures still open; twice as large is an error
        with warnings.catch_warnings(action="ignore", category=large), Image.open(source, formats=FORMATS) as image:
            _check_kind(path, image, stego=stego)
            if image.format == "PNG" and content is not None:  # the decoder ignores checksums
                Image.open(BytesIO(content)).verify()
            orientation, profile = image.getexif().get(ORIENTATION, 1) if stego else 1, image.info.get("icc_profile")
            profile = profile if isinstance(profile, bytes) else None
            shown, name = image if stego else ImageOps.exif_transpose(image), ""
            if srgb and profile:
                shown, name = in_srgb(path, shown, profile)
            converted = shown.convert("RGBA" if shown.has_transparency_data else "RGB")
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a PNG, JPEG, WebP, BMP or TIFF picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large to open safely, {error}") from error
    except DECODE_ERRORS as error:
        raise ImageError(f"{path}: cannot be read, damaged or truncated, {error}") from error
    turn = int(orientation) if orientation in range(1, 9) else 1
    values = torch.from_numpy(np.array(converted)).permute(2, 0, 1)  # (3 or 4, H, W)
    if image.format == "TIFF":  # Pillow has turned it already; 6 and 8 undo each other, the others themselves
        values = upright(values, {6: 8, 8: 6}.get(turn, turn))
    alpha = values[3:].contiguous() if len(values) == 4 else None
    other_kind = bool(profile) and not srgb and profile[16:20] != b"RGB "
    kept = None if srgb or other_kind else profile
    return Picture(values[:3].contiguous().float() / 255, alpha, kept, other_kind, name, turn)


def _check_kind(path: Path, image: Image.Image, *, stego: bool) -> None:
    # Pillow reads 16-bit colour as 8 bits without a warning: the raw mode of its tiles shows it, a TIFF tag if planar.
    raw_modes = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    deep = image.format in ("PNG", "TIFF") and any(bits in raw_modes for bits in (";16", ";32", "I;", "F;"))
    deep = deep or max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (1,))) > 8
    if deep or image.mode.startswith(("I", "F")):
        raise ImageError(
            f"{path}: more than 8 bits a channel (mode {image.mode}, {raw_modes or 'raw'}); convert it to 8 bits first"
        )
    if any(kind != 1 for kind in getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, ())):
        raise ImageError(f"{path}: signed or floating-point samples; convert it to unsigned 8 bits first")
    if image.mode not in MODES:
        raise ImageError(f"{path}: colour mode {image.mode} is not supported; convert it to RGB or grey first")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # an MPO file of a phone is a JPEG with a preview
        raise ImageError(f"{path}: needs a single picture, got {getattr(image, 'n_frames', 1)} frames")
    lossy = image.format in ("JPEG", "MPO", "WEBP") or "jpeg" in str(image.info.get("compression", ""))
    if stego and lossy:
        raise ImageError(
            f"{path}: a {image.format} file cannot carry a hidden picture, which does not survive lossy compression "
            "such as JPEG; use the PNG file that conceal.py or restore.py wrote"
        )
    if stego and image.mode not in STEGO_MODES:
        raise ImageError(
            f"{path}: a palette, grey or 1-bit file (mode {image.mode}) cannot carry a hidden picture, which needs all "
            "colours; use the PNG file that conceal.py or restore.py wrote"
        )
    require_size(path, image.height, image.width, least=MIN_SIZE)
