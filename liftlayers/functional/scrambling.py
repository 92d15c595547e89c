"""Block scrambling: a secret key cuts an image into blocks, and moves, turns and inverts them.

The random stream, the order of its draws and test vectors are on the page :doc:`/scrambling`, so that another language
can follow it.
"""

import hmac
import itertools
import operator
import struct
from collections.abc import Callable, Iterator, Sequence

import torch
from einops import rearrange
from torch import Tensor

from liftlayers._checks import require_positive, require_shape
from liftlayers._graphs import constant_in_graphs

Key = bytes | Sequence[bytes]

LABEL = b"liftlayers block scrambling 1"
MIN_KEY_BYTES = 16
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
INTEGERS = (torch.bool, torch.uint8, torch.int8, *SIGNED, *SIGNED.values())


def scramble_blocks(x: Tensor, key: Key, *, block: int = 16) -> Tensor:
    r"""Scrambles images block by block with a secret key.

    .. math:: y_i = p_i \bigl( T_i \, C_i \, x_{\sigma(i)} \bigr)

    Each image is cut into blocks of `block` x `block` pixels. The key chooses the order :math:`\sigma` of the blocks
    and, for each of them, an order :math:`C_i` of its channels, one of the eight turns and reflections :math:`T_i`, and
    a polarity :math:`p_i`, which is the identity or the negative. The last rows and columns of an image whose sides are
    no multiples of `block` form oblong blocks, which are scrambled among themselves.

    The negative is :math:`1 - v` for floating-point values. For integers all bits are inverted: :math:`-1 - v`, or
    :math:`255 - v` for `torch.uint8`. All else only moves values. So `unscramble_blocks` returns integers bit for bit,
    and floating-point values too if they are in :math:`[0, 1]` and multiples of :math:`2^{-24}` in float32 (of
    :math:`2^{-11}` in float16, :math:`2^{-8}` in bfloat16, :math:`2^{-53}` in float64); others are rounded to these.

    This hides what an image shows at a glance. It is no encryption: what a single block shows stays visible, and a
    solver of jigsaw puzzles may put large blocks together again. Use a key for one image only.

    Args:
        x: Images :math:`(B, C, H, W)` of any size; integers, booleans, bfloat16, or floats of 16, 32 or 64 bits.
        key: At least 16 random bytes, such as ``secrets.token_bytes(32)``; or one such key for each image.
        block: Height and width :math:`t` of a block in pixels.

    Returns:
        The scrambled images, of the shape and dtype of `x`.

    Raises:
        TypeError: If `x` is no tensor or of another dtype, `key` is neither bytes nor a sequence of bytes, or `block`
            is no integer.
        ValueError: If `x` does not have four axes, a key is shorter than 16 bytes, there are not as many keys as
            images, or `block` is less than 1.

    References:
        [Kurihara2015]_, block scrambling for encryption before compression; [Chuman2018]_, who solve such puzzles.

    Example:
        >>> key = bytes(range(32))
        >>> photo = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
        >>> scrambled = scramble_blocks(photo, key, block=4)
        >>> scrambled[0, 0, :2, :6].tolist()
        [[203, 219, 235, 251, 139, 138], [202, 218, 234, 250, 155, 154]]
        >>> torch.equal(unscramble_blocks(scrambled, key, block=4), photo)
        True
    """
    return _for_each_key("scramble_blocks", _scrambled, x, key, block)


def unscramble_blocks(x: Tensor, key: Key, *, block: int = 16) -> Tensor:
    r"""Undoes `scramble_blocks` with the same key.

    .. math:: x_{\sigma(i)} = C_i^{-1} \, T_i^{-1} \, p_i^{-1}(y_i)

    Args:
        x: Scrambled images :math:`(B, C, H, W)`.
        key: The key, or the key of each image, that they were scrambled with.
        block: The same size of a block.

    Returns:
        The images, of the shape and dtype of `x`. With another key they are scrambled once more.

    Raises:
        TypeError: As for `scramble_blocks`.
        ValueError: As for `scramble_blocks`.

    References:
        [Kurihara2015]_.

    Example:
        >>> key, other = bytes(32), bytes(range(32))
        >>> scrambled = scramble_blocks(torch.eye(8)[None, None], key, block=2)
        >>> [torch.equal(unscramble_blocks(scrambled, k, block=2)[0, 0], torch.eye(8)) for k in (key, other)]
        [True, False]
    """
    return _for_each_key("unscramble_blocks", _unscrambled, x, key, block)


def _for_each_key(who: str, apply: Callable[..., Tensor], x: Tensor, key: Key, block: int) -> Tensor:
    """Applies a function to the blocks of images, each image with its key."""
    require_shape(who, x)
    require_positive(who, block=block)
    require_key(who, key)
    if x.dtype not in (*FLOATS, *INTEGERS):
        raise TypeError(f"{who} needs integers, booleans, bfloat16 or floats of 16, 32 or 64 bits, got {x.dtype}")
    if x.dtype in SIGNED:  # `gather` takes signed integers only
        return _for_each_key(who, apply, x.view(SIGNED[x.dtype]), key, block).view(x.dtype)
    if isinstance(key, bytes):
        return _by_region(x, key, block, apply)
    if len(key) != len(x):
        raise ValueError(f"{who} needs one key, or one for each of {len(x)} images, got {len(key)}")
    parts = [_by_region(x[i : i + 1], each, block, apply) for i, each in enumerate(key)]
    return torch.cat(parts) if parts else x


def require_key(who: str, key: Key) -> None:
    """Raises unless the argument is a key, or a sequence of keys, of enough bytes; it never shows the key itself."""
    for one in [key] if isinstance(key, bytes) or not isinstance(key, Sequence) else key:
        if not isinstance(one, bytes):
            raise TypeError(f"{who} needs a key of bytes, or one for each image, got {type(one).__name__}")
        if len(one) < MIN_KEY_BYTES:
            raise ValueError(f"{who} needs a key of at least {MIN_KEY_BYTES} bytes, got {len(one)}")


def _scrambled(blocks: Tensor, order: Tensor, channels: Tensor, pixels: Tensor, negative: Tensor) -> Tensor:
    blocks = blocks.index_select(1, order)
    blocks = blocks.gather(2, channels.expand_as(blocks)).gather(3, pixels.expand_as(blocks))
    return torch.where(negative, _negative(blocks), blocks)


def _unscrambled(blocks: Tensor, order: Tensor, channels: Tensor, pixels: Tensor, negative: Tensor) -> Tensor:
    blocks = torch.where(negative, _negative(blocks), blocks)
    channels, pixels = channels.argsort(2), pixels.argsort(3)
    blocks = blocks.gather(3, pixels.expand_as(blocks)).gather(2, channels.expand_as(blocks))
    return blocks.index_select(1, order.argsort())


def _negative(x: Tensor) -> Tensor:
    return 1 - x if x.is_floating_point() else ~x


def _by_region(x: Tensor, key: bytes, block: int, apply: Callable[..., Tensor]) -> Tensor:
    """Applies a function to the blocks of each region: whole ones, those cut at the right or below, and the corner."""
    # a compiled graph is for one size: the draws depend on it
    channels, height, width = map(operator.index, x.shape[1:])
    rows = []
    for down, row in enumerate(x.tensor_split([height - height % block], dim=2)):
        geometries = [(channels, height, width, block, 2 * down + right) for right in (0, 1)]
        regions = row.tensor_split([width - width % block], dim=3)
        parts = [_on_blocks(*each, key, apply) for each in zip(regions, geometries, strict=True)]
        rows.append(torch.cat(parts, dim=3))
    return torch.cat(rows, dim=2)


def _on_blocks(region: Tensor, geometry: tuple[int, ...], key: bytes, apply: Callable[..., Tensor]) -> Tensor:
    """Applies a function to the blocks (B, N, C, h * w) of a region and to what is drawn for them."""
    if not region.numel():
        return region
    height, width = map(operator.index, region.shape[2:])
    h, w = min(geometry[3], height), min(geometry[3], width)
    drawn = (tensor.to(region.device) for tensor in _draw(key, geometry, (height // h) * (width // w), (h, w)))
    blocks = rearrange(region, "b c (m h) (n w) -> b (m n) c (h w)", h=h, w=w)
    return rearrange(apply(blocks, *drawn), "b (m n) c (h w) -> b c (m h) (n w)", m=height // h, h=h, w=w)


@constant_in_graphs
def _draw(key: bytes, geometry: tuple[int, ...], num_blocks: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Draws the order of the blocks of a region, and of each its channels, turn and polarity."""
    numbers, turns = _Numbers(key, LABEL + struct.pack(">5I", *geometry)), _turned(*size)
    order = numbers.permutation(num_blocks)
    drawn = [(numbers.below(len(turns)), numbers.permutation(geometry[0]), numbers.below(2)) for _ in range(num_blocks)]
    chosen, channels, negative = zip(*drawn, strict=True)
    return (
        torch.tensor(order),
        torch.tensor(channels)[None, :, :, None],
        turns[list(chosen)][None, :, None, :],
        torch.tensor(negative, dtype=torch.bool)[None, :, None, None],
    )


def _turned(height: int, width: int) -> Tensor:
    """Returns, for each turn of a block, the positions in the block that its pixels come from, (8 or 4, h * w).

    Turn 4 a + 2 b + c transposes the block if a, then reverses its rows if b, then its columns if c.
    """
    positions = torch.arange(height * width).view(height, width)
    transposed = [positions, positions.mT] if height == width else [positions]
    return torch.stack([x.flip(axes).flatten() for x in transposed for axes in ((), (1,), (0,), (0, 1))])


def _words(key: bytes, label: bytes) -> Iterator[int]:
    """Yields numbers of 32 bits without end: HMAC-SHA-256 with the key, of a label and a counter."""
    for counter in itertools.count():
        yield from struct.unpack(">8I", hmac.digest(key, label + struct.pack(">Q", counter), "sha256"))


class _Numbers:
    """Numbers drawn from a stream of words."""

    def __init__(self, key: bytes, label: bytes) -> None:
        self.words = _words(key, label)

    def below(self, count: int) -> int:
        """Draws one of 0, ..., count - 1, each with the same probability."""
        limit = 2**32 - 2**32 % count  # words from there on would make small numbers more probable
        while (word := next(self.words)) >= limit:
            pass
        return word % count

    def permutation(self, count: int) -> list[int]:
        """Draws an order of 0, ..., count - 1 by the Fisher-Yates shuffle, from the last place to the second."""
        order = list(range(count))
        for place in range(count - 1, 0, -1):
            other = self.below(place + 1)
            order[place], order[other] = order[other], order[place]
        return order
