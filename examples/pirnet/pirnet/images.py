"""8-bit pictures in and out: files are read as they are or refused by name, never repaired in silence."""

__all__ = [
    "ImageError",
    "Picture",
    "STREAM",
    "check_output",
    "read_picture",
    "read_stego",
    "write_png",
    "quantise_uint8",
    "grey_levels",
    "to_uint8",
    "check_pixels",
    "atomic_path",
]

import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

STREAM = Path("-")  # standard input or output
MIN_SIZE = 16
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
# What Pillow's decoders raise on damaged data, found by truncating files and flipping their bytes.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


class ImageError(ValueError):
    """A picture, or a folder of them, that cannot be read, written or used as it is. One line that names the file."""


@dataclass(frozen=True)
class Picture:
    """One decoded picture, the right way up.

    Attributes:
        pixels: Red, green, blue of shape :math:`(3, H, W)`, float32, multiples of 1/255 in :math:`[0, 1]`.
        alpha: The transparency of shape :math:`(1, H, W)`, uint8, or None where the file has none.
    """

    pixels: Tensor
    alpha: Tensor | None


def read_picture(path: Path) -> Picture:
    """Reads an 8-bit PNG, JPEG, WebP, BMP or TIFF file as RGB, with its alpha where it has one.

    Gray and palette pictures become RGB, transparency of any kind (LA, RGBA, a palette's, a colour key) becomes alpha,
    and an EXIF orientation is applied. Colours under transparent pixels are kept; colour profiles are ignored.

    Args:
        path: The file, or `-` for standard input; its format is found from the content, not from the name.

    Raises:
        ImageError: The file is missing, a folder, unreadable, damaged or truncated; it has more than 8 bits a channel,
            another colour model than RGB or gray, several frames, or fewer than 16 pixels in height or width.
    """
    return _read(path, stego=False)


def read_stego(path: Path) -> Picture:
    """Reads a picture that carries a hidden one: as `read_picture`, but lossy formats are refused.

    The hidden part lives in differences of a few grey levels, which JPEG and lossy WebP throw away first.

    Args:
        path: The file, or `-` for standard input; its format is found from the content, not from the name.

    Raises:
        ImageError: As `read_picture`, or the content is JPEG, WebP or a TIFF file with JPEG compression.
    """
    return _read(path, stego=True)


def write_png(path: Path, pixels: Tensor, *, alpha: Tensor | None = None, force: bool = False) -> None:
    """Writes an 8-bit PNG file, whole or not at all (standard output gets what it takes).

    Values are clamped to :math:`[0, 1]` and rounded, not truncated, to multiples of 1/255.

    Args:
        path: The file to write; its name ends in `.png`, or is `-` for standard output.
        pixels: Red, green, blue of shape :math:`(3, H, W)`, floating point, in :math:`[0, 1]`.
        alpha: The transparency of shape :math:`(1, H, W)`, uint8.
        force: Whether an existing file may be replaced.

    Raises:
        ImageError: The name is not a PNG file's, the file exists and `force` is not given, or its folder is missing
            or not writable.
        TypeError: `pixels` is not floating point, or `alpha` is not uint8.
        ValueError: A shape is wrong, or `pixels` holds a value that is not finite.
    """
    check_pixels("write_png", pixels, batched=False)
    if not torch.isfinite(pixels).all():
        raise ValueError(f"write_png needs finite pixels, got NaN or infinite values for {path}")
    check_output(path, force=force)
    image = _to_pillow(pixels, alpha)
    try:
        if path == STREAM:
            image.save(sys.stdout.buffer, format="PNG")
            sys.stdout.buffer.flush()
            return
        with atomic_path(path) as temporary:
            image.save(temporary, format="PNG")
    except OSError as error:
        raise ImageError(f"{path}: cannot write, {error}") from error


def check_output(path: Path, *, force: bool) -> None:
    """Refuses what `write_png` could not write, so that nobody waits for a picture in vain.

    Args:
        path: The file to write, or `-` for standard output.
        force: Whether an existing file may be replaced.

    Raises:
        ImageError: As `write_png`.
    """
    if path == STREAM:
        return
    if path.suffix.lower() != ".png":
        raise ImageError(
            f"{path}: the name must end in .png, got {path.suffix or 'no ending'!r}; "
            "lossy formats (JPEG, WebP) destroy what is hidden in a picture"
        )
    if not path.parent.is_dir():
        raise ImageError(f"{path}: cannot write, the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"{path}: cannot write, the folder {path.parent} lets nobody write into it")
    if path.is_dir():
        raise ImageError(f"{path}: cannot write, this is a folder")
    if path.exists() and not force:
        raise ImageError(f"{path}: exists already and is not overwritten without --force")


def quantise_uint8(x: Tensor) -> Tensor:
    r"""Rounds to what an 8-bit file can hold; for the gradient it is the identity, everywhere.

    .. math:: y = \tfrac{1}{255} \operatorname{round}(255 \min(\max(x, 0), 1)), \qquad
              \frac{\partial y}{\partial x} := 1

    The gradient passes outside :math:`[0, 1]` too: a clamped pixel could never come back otherwise.

    Args:
        x: Values around :math:`[0, 1]`, floating point, of any shape. (bfloat16 cannot tell all 256 levels apart.)

    Raises:
        TypeError: `x` is not floating point.

    References:
        The straight-through estimator: Bengio, Leonard, Courville, arXiv:1308.3432 (2013).

    Example:
        >>> quantise_uint8(torch.tensor([-0.2, 0.4, 1.7])) * 255
        tensor([  0., 102., 255.])
    """
    if not x.is_floating_point():
        raise TypeError(f"quantise_uint8 needs a floating-point tensor, got {x.dtype}")
    return _StraightThrough.apply(x)


def grey_levels(x: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to whole grey levels 0, 1, ..., 255, still as floating point; NaN stays NaN.

    Args:
        x: Values around :math:`[0, 1]`, floating point, of any shape.
    """
    return x.clamp(0, 1).mul(255).round()


def to_uint8(x: Tensor) -> Tensor:
    """Rounds an image in [0, 1] to uint8 grey levels, as `write_png` does.

    Args:
        x: Finite values around :math:`[0, 1]`, floating point, of any shape.
    """
    return grey_levels(x.detach()).to(torch.uint8)


def check_pixels(who: str, x: Tensor, *, batched: bool) -> None:
    """Refuses what is not a floating-point RGB image.

    Args:
        who: The function that needs it, for the message.
        x: The tensor to check, :math:`(B, 3, H, W)` where `batched`, else :math:`(3, H, W)`; none of its sizes 0.
        batched: Whether a batch is needed.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: `x` has another shape.
    """
    if not x.is_floating_point():
        raise TypeError(f"{who} needs a floating-point image, got {x.dtype}")
    if x.ndim != 3 + batched or x.shape[-3] != 3 or x.numel() == 0:
        needs = "(B, 3, H, W)" if batched else "(3, H, W)"
        raise ValueError(f"{who} needs an RGB image of shape {needs}, got {tuple(x.shape)}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Lends a temporary name in the same folder; it becomes `path` on success and vanishes on failure.

    Args:
        path: The file to write or replace.
    """
    temporary = path.with_name(f".{uuid4().hex}.tmp")  # the same folder, since a rename is atomic on one disk only
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 (the one spelling known to be atomic)
    finally:
        temporary.unlink(missing_ok=True)


class _StraightThrough(torch.autograd.Function):
    # x + (q - x).detach() would do as well, but its sum is not exactly a multiple of 1/255.
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return grey_levels(x) / 255

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: object, *grad_outputs: Tensor) -> Tensor:  # noqa: ARG004
        return grad_outputs[0]


def _read(path: Path, *, stego: bool) -> Picture:
    try:
        if path.is_dir():
            raise ImageError(f"{path}: this is a folder, a picture file is needed")
        source = BytesIO(sys.stdin.buffer.read()) if path == STREAM else path
        large = Image.DecompressionBombWarning  # of what still opens; twice as large is an error
        with warnings.catch_warnings(action="ignore", category=large), Image.open(source, formats=FORMATS) as image:
            _check_kind(path, image, stego=stego)
            upright = ImageOps.exif_transpose(image)
            converted = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a PNG, JPEG, WebP, BMP or TIFF picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large to be opened safely, {error}") from error
    except DECODE_ERRORS as error:
        raise ImageError(f"{path}: cannot be read, damaged or truncated, {error}") from error
    values = torch.from_numpy(np.array(converted)).permute(2, 0, 1)  # (3 or 4, H, W)
    alpha = values[3:].contiguous() if len(values) == 4 else None
    return Picture(values[:3].contiguous().float() / 255, alpha)


def _check_kind(path: Path, image: Image.Image, *, stego: bool) -> None:
    # Pillow strips 16-bit colour to 8 bits without a word: only the raw mode of its tiles still tells.
    raw_modes = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    deep = image.format in ("PNG", "TIFF") and any(bits in raw_modes for bits in (";16", ";32", "I;", "F;"))
    if deep or image.mode.startswith(("I", "F")):
        raise ImageError(
            f"{path}: more than 8 bits a channel (mode {image.mode}, {raw_modes or 'raw'}); convert it to 8 bits first"
        )
    if image.mode not in MODES:
        raise ImageError(f"{path}: colour mode {image.mode} is not supported; convert it to RGB or gray first")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a phone's MPO is a JPEG with a preview behind it
        raise ImageError(f"{path}: needs a single picture, got {getattr(image, 'n_frames', 1)} frames")
    lossy = image.format in ("JPEG", "MPO", "WEBP") or "jpeg" in str(image.info.get("compression", ""))
    if stego and lossy:
        raise ImageError(
            f"{path}: a {image.format} file cannot carry a hidden picture, which does not survive lossy compression "
            "such as JPEG; use the PNG file as it was written"
        )
    if min(image.size) < MIN_SIZE:
        width, height = image.size
        raise ImageError(
            f"{path}: needs at least {MIN_SIZE} x {MIN_SIZE} pixels (height x width), got {height} x {width}"
        )


def _to_pillow(pixels: Tensor, alpha: Tensor | None) -> Image.Image:
    values = to_uint8(pixels).cpu()
    if alpha is not None:
        if alpha.dtype != torch.uint8:
            raise TypeError(f"write_png needs an alpha of torch.uint8, got {alpha.dtype}")
        if alpha.shape != (1, *pixels.shape[1:]):
            raise ValueError(f"write_png needs an alpha of shape {(1, *pixels.shape[1:])}, got {tuple(alpha.shape)}")
        values = torch.cat((values, alpha.cpu()))
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())  # (H, W, 3 or 4)
