"""Photo files of 16 bits a channel, which Pillow opens as 8 bit without a warning and cannot write."""

import struct
import zlib

COLOUR_TYPES = {"RGB": (2, 3), "LA": (4, 2), "RGBA": (6, 4)}  # in PNG, and the number of channels


def png_of_16_bits(width: int, height: int, mode: str = "RGB") -> bytes:
    """A black PNG file of RGB, LA or RGBA."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    kind, channels = COLOUR_TYPES[mode]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(2 * channels * width)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff_of_16_bits(width: int, height: int, *, planar: bool) -> bytes:
    """A black TIFF file of RGB without compression, with its channels one after the other if it is planar."""
    strips = 3 if planar else 1
    size = 6 * width * height // strips
    depths, begin = 8 + 2 + 10 * 12 + 4, 8 + 2 + 10 * 12 + 4 + 6 + 8 * strips
    offsets = [begin + number * size for number in range(strips)]
    lists = struct.pack("<3H", 16, 16, 16) + struct.pack(f"<{2 * strips}I", *offsets, *[size] * strips)
    at = (depths + 6, depths + 6 + 4 * strips) if planar else (begin, size)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, depths), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, strips, at[0]), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, strips, at[1])]
    tags += [(284, 3, 1, 2 if planar else 1)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + lists + bytes(6 * width * height)
