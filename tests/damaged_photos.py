"""Files of photos that Pillow reads as something else than they are, without a warning."""

__all__ = ["tiff_with", "with_wrong_checksum"]

import struct
from io import BytesIO

import numpy as np
from PIL import Image

SHORT = 3  # the type of a TIFF tag


def with_wrong_checksum(content: bytes) -> bytes:
    """Returns a PNG file in which the checksum of the pixels is that of others."""
    start = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[start - 4 : start])
    end = start + 4 + length
    return content[:end] + bytes([content[end] ^ 1]) + content[end + 1 :]


def tiff_with(mode: str, tag: int, value: int) -> bytes:
    """Returns a TIFF file of 32 x 40 pixels that says something else of its samples than Pillow wrote."""
    pixels, file = np.random.default_rng(0).integers(256, size=(32, 40, 4), dtype=np.uint8), BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(file, "TIFF", tiffinfo={tag: value})
    content = file.getvalue()
    start = content.index(struct.pack("<HHI", tag, SHORT, 1)) + 8
    return content[:start] + struct.pack("<H", value) + content[start + 2 :]
