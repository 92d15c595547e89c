"""The file of a compressed photo, and the file of the weights."""

import contextlib
import hashlib
import itertools
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (it has no types)
from safetensors import SafetensorError, safe_open

from liftlayers import frozen
from photo_codec.coder import decode_tile, distributions_of, encode_tile
from photo_codec.model import Model

SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "lossless.safetensors"
MAGIC, VERSION = b"LLPH", 2
HEADER = struct.Struct("<4sBB8sIIIII4s")  # magic, version, channels, weights, height, width, three sizes, checksum
TILE = 512
PIXELS = 2**28  # of a photo; Pillow opens no larger ones
EXTRA = 2**24  # bytes of a palette, a colour profile or Exif data
COLOURS = 256  # a photo with no more has a palette
PARTS = {1: (1,), 2: (1, 1), 3: (3,), 4: (3, 1)}  # channels of a photo: those coded together, an alpha channel alone

Slices = tuple[slice, slice, slice]
Watch = Callable[[list[Slices]], Iterable[Slices]]


@dataclass(frozen=True)
class Weights:
    """Frozen networks, their distributions, and the hash of their file."""

    model: Model
    distributions: list[stream.model.Categorical]
    name: bytes


def load_weights(path: Path) -> Weights:
    """Reads a weights file.

    Raises:
        ValueError: If train.py did not write it.
    """
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no dict)
            model = frozen(Model(int((file.metadata() or {})["width"])))
        model.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} needs to be a weights file that train.py wrote, got {error}") from None
    return weights_of(model, hashlib.sha256(path.read_bytes()).digest()[:8])


def weights_of(model: Model, name: bytes) -> Weights:
    """Returns the weights of a frozen model."""
    return Weights(model.requires_grad_(False).eval(), distributions_of(model), name)


def compress(
    pixels: np.ndarray, weights: Weights, *, extras: tuple[bytes, bytes] = (b"", b""), watch: Watch = iter
) -> bytes:
    """Compresses a photo.

    Args:
        pixels: 8-bit pixels, (H, W, C) with one to four channels; the second and the fourth are transparency.
        weights: The networks.
        extras: Two byte strings that are stored, too.
        watch: Wraps the list of tiles, as tqdm does.

    Raises:
        ValueError: If the photo or a byte string is too large.
    """
    height, width, channels = pixels.shape
    if height * width > PIXELS or max(map(len, extras)) > EXTRA:
        sizes = f"{height * width} pixels with {' and '.join(str(len(extra)) for extra in extras)} bytes"
        raise ValueError(f"compress needs at most {PIXELS} pixels with {EXTRA} bytes of profile or Exif, got {sizes}")
    coded, palette = _with_palette(pixels)
    tiles = watch(tiles_of(*coded.shape))
    payloads = [encode_tile(weights.model, weights.distributions, coded[tile]) for tile in tiles]
    packed = [zlib.compress(extra, 9) if extra else b"" for extra in (palette, *extras)]
    header = HEADER.pack(MAGIC, VERSION, channels, weights.name, height, width, *map(len, packed), _checksum(pixels))
    lengths = np.array([len(payload) for payload in payloads], "<u4").tobytes()
    data = b"".join((header, lengths, *packed, *payloads))
    return data + struct.pack("<I", zlib.crc32(data))


def decompress(data: bytes, weights: Weights, *, watch: Watch = iter) -> tuple[np.ndarray, tuple[bytes, bytes]]:
    """Returns the pixels of a compressed photo, (H, W, C), and the two byte strings.

    Raises:
        ValueError: If the data are damaged or of another kind, or if other weights wrote them.
    """
    channels, name, height, width, *sizes, checksum = _header(data)
    if name != weights.name:
        raise ValueError(f"needs the weights {name.hex()} that wrote it, got {weights.name.hex()}")
    try:
        pixels, extras = _decoded(data, weights, (height, width, channels), sizes, watch=watch)
    except (ValueError, zlib.error):
        raise ValueError("is damaged: its parts do not fit its header") from None
    if _checksum(pixels) != checksum:
        raise ValueError("needs pixels with the checksum of the photo, got others: report this machine and its torch")
    return pixels, extras


def _decoded(
    data: bytes, weights: Weights, shape: tuple[int, int, int], sizes: list[int], *, watch: Watch
) -> tuple[np.ndarray, tuple[bytes, bytes]]:
    """Returns pixels and byte strings from what follows the header."""
    height, width, channels = shape
    coded = np.zeros((height, width, 1 if sizes[0] else channels), np.uint8)
    tiles = tiles_of(*coded.shape)
    lengths = np.frombuffer(data, "<u4", len(tiles), HEADER.size).tolist()
    ends = itertools.accumulate((*sizes, *lengths), initial=HEADER.size + 4 * len(tiles))
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    palette, first, second = (_unpacked(piece) for piece in pieces[:3])
    with contextlib.suppress(AssertionError):  # which constriction raises for what it cannot decode
        for tile, payload in zip(watch(tiles), pieces[3:], strict=True):
            coded[tile] = decode_tile(weights.model, weights.distributions, payload, shape=coded[tile].shape)
    pixels = coded
    if palette:
        colours = np.frombuffer(palette, np.uint8).reshape(-1, channels)
        pixels = colours[coded[:, :, 0].clip(max=len(colours) - 1)]
    return pixels, (first, second)


def _unpacked(piece: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(piece, EXTRA + 1)  # a small piece may become gigabytes
    if piece and (len(content) > EXTRA or not unpacker.eof):
        raise ValueError
    return content


def _with_palette(pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
    """Returns numbers of colours and the colours if there are few; else pixels and nothing."""
    if pixels.shape[2] in (2, 4):
        return pixels, b""
    packed = pixels.astype(np.uint32) @ np.array([1, 256, 65536][: pixels.shape[2]], np.uint32)
    if len(np.unique(packed[:64])) > COLOURS:
        return pixels, b""
    colours, places = np.unique(packed, return_inverse=True)
    most = min(COLOURS, packed.size // 16) if pixels.shape[2] == 3 else np.ptp(pixels) // 2
    if len(colours) > most:
        return pixels, b""
    table = colours.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : pixels.shape[2]]
    places = places.reshape(pixels.shape[:2])
    brightness = np.argsort(table @ np.array([1, 2, 1][: pixels.shape[2]]), kind="stable")
    orders = [brightness, _smooth_order(places, len(colours))]
    order, numbers = min(((order, np.argsort(order)[places]) for order in orders), key=lambda pair: _roughness(pair[1]))
    return numbers.astype(np.uint8)[:, :, None], table[order].tobytes()


def _roughness(numbers: np.ndarray) -> float:
    """Returns about the bits of the differences of neighbours."""
    return sum(float(np.log2(1 + abs(np.diff(numbers, axis=axis))).sum()) for axis in (0, 1))


def _smooth_order(places: np.ndarray, count: int) -> np.ndarray:
    """Returns an order of colours in which those of neighbouring pixels are near.

    It sorts the Fiedler vector of a graph, whose edges have the number of neighbouring pixels of two colours as weight.
    """
    pairs = [places[1:] * count + places[:-1], places[:, 1:] * count + places[:, :-1]]
    edges = np.bincount(np.concatenate([pair.ravel() for pair in pairs]), minlength=count**2).reshape(count, count)
    edges = edges + edges.T + 1e-6
    vectors = np.linalg.eigh(np.diag(edges.sum(1)) - edges)[1]
    return np.argsort(vectors[:, min(1, count - 1)], kind="stable")


def tiles_of(height: int, width: int, channels: int) -> list[Slices]:
    """Returns the tiles of a photo; each is coded without the others."""
    rows, columns = ([slice(at, min(at + TILE, side)) for at in range(0, side, TILE)] for side in (height, width))
    ends = itertools.accumulate(PARTS[channels], initial=0)
    parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
    return list(itertools.product(rows, columns, parts))


def _checksum(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(pixels.tobytes()).digest()[:4]


def _header(data: bytes) -> tuple[int, bytes, int, int, int, int, bytes]:
    """Returns the header's fields after the version, of a file that is whole."""
    if data[:4] != MAGIC:
        raise ValueError("needs to be a file that compress.py wrote, got another kind")
    if len(data) > 4 and data[4] != VERSION:
        raise ValueError(f"needs version {VERSION} of the format, got {data[4]}")
    if len(data) < HEADER.size + 4 or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError("is damaged or truncated")
    channels, name, height, width, *rest = HEADER.unpack_from(data)[2:]
    tiles = -(-height // TILE) * -(-width // TILE)
    if channels not in PARTS or not 0 < height * width <= PIXELS or 4 * tiles > len(data):
        got = f"{height} x {width} x {channels} in {len(data)} bytes"
        raise ValueError(f"needs a photo of one to four channels and at most {PIXELS} pixels, got {got}")
    return channels, name, height, width, *rest
