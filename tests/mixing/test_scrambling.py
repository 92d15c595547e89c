"""Block scrambling: equal to an independent implementation of its specification, and undone bit for bit."""

import hashlib
import hmac
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import BlockScrambling, Haar, Inverse, Sequential, exact
from liftlayers.functional import scramble_blocks, unscramble_blocks
from tests.memory.helpers import assert_same_tensors
from tests.strategies import tensor

KEY = bytes(range(32))
PAGE = Path(__file__).parents[2] / "docs" / "scrambling.md"
UNSIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
Pixels = dict[tuple[int, int, int], int]  # channel, row and column -> value

# The specification on the page, in plain Python, pixel by pixel


def stream(key: bytes, channels: int, height: int, width: int, block: int, region: int) -> Iterator[int]:
    counter = 0
    while True:
        message = b"liftlayers block scrambling 1"
        for number in (channels, height, width, block, region):
            message += number.to_bytes(4, "big")
        digest = hmac.new(key, message + counter.to_bytes(8, "big"), hashlib.sha256).digest()
        for start in range(0, 32, 4):
            yield int.from_bytes(digest[start : start + 4], "big")
        counter += 1


def below(words: Iterator[int], count: int) -> int:
    word = next(words)
    while word >= 2**32 - 2**32 % count:
        word = next(words)
    return word % count


def order(words: Iterator[int], count: int) -> list[int]:
    entries = list(range(count))
    for i in reversed(range(1, count)):
        j = below(words, i + 1)
        entries[i], entries[j] = entries[j], entries[i]
    return entries


def as_specified(image: list[list[list[int]]], key: bytes, t: int) -> list[list[list[int]]]:
    channels, height, width = len(image), len(image[0]), len(image[0][0])
    result: Pixels = {}
    for region in range(4):
        top, left = (height // t * t if region >= 2 else 0), (width // t * t if region % 2 else 0)
        rows, columns = (height % t if region >= 2 else t), (width % t if region % 2 else t)
        down = (height - top) // rows if region >= 2 and rows else height // t
        right = (width - left) // columns if region % 2 and columns else width // t
        if not (rows and columns and down and right):
            continue
        words = stream(key, channels, height, width, t, region)
        sources = order(words, down * right)
        for place, source in enumerate(sources):
            turn = below(words, 8 if rows == columns else 4)
            moved, negative = order(words, channels), below(words, 2)
            for c in range(channels):
                for i in range(rows):
                    for j in range(columns):
                        row, column = (rows - 1 - i if turn & 2 else i), (columns - 1 - j if turn & 1 else j)
                        if turn & 4:
                            row, column = column, row
                        y, x = top + source // right * rows + row, left + source % right * columns + column
                        value = image[moved[c]][y][x]
                        y, x = top + place // right * rows + i, left + place % right * columns + j
                        result[c, y, x] = 255 - value if negative else value
    assert len(result) == channels * height * width
    return [[[result[c, y, x] for x in range(width)] for y in range(height)] for c in range(channels)]


def photo(seed: int, *shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Random values: integers of the whole range, or floating-point numbers that the negative maps without rounding."""
    draw = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        digits = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24, torch.float64: 53}[dtype]
        return (torch.randint(2**digits + 1, shape, generator=draw).double() / 2.0**digits).to(dtype)
    if dtype in UNSIGNED:
        return photo(seed, *shape, dtype=UNSIGNED[dtype]).view(dtype)
    if dtype == torch.bool:
        return photo(seed, *shape) > 127
    info = torch.iinfo(dtype)
    return torch.randint(max(info.min, -(2**62)), min(info.max, 2**62), shape, generator=draw, dtype=dtype)


keys = st.binary(min_size=16, max_size=64)
sizes = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))


@given(seed=st.integers(0, 2**31), key=keys, size=sizes, block=st.integers(1, 17))
def test_equals_the_specification(seed: int, key: bytes, size: tuple[int, int, int], block: int) -> None:
    image = photo(seed, 1, *size)
    assert scramble_blocks(image, key, block=block)[0].tolist() == as_specified(image[0].tolist(), key, block)


@pytest.mark.parametrize("start", [0, *(pytest.param(start, marks=pytest.mark.slow) for start in (1, 2, 3))])
def test_a_thousand_round_trips_without_a_wrong_bit(start: int) -> None:
    draw = torch.Generator().manual_seed(start)
    dtypes = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool]
    dtypes += [torch.uint16, torch.uint32, torch.uint64]
    dtypes += [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    for seed in range(250):
        batch, channels, height, width, block = (
            int(torch.randint(1, most + 1, (), generator=draw)) for most in (2, 5, 60, 60, 20)
        )
        dtype = dtypes[seed % len(dtypes)]
        image, key = photo(seed, batch, channels, height, width, dtype=dtype), hashlib.sha256(bytes([seed])).digest()
        layer = BlockScrambling(key, block=block)
        scrambled = layer(image)
        assert scrambled.dtype == dtype
        assert torch.equal(layer.inverse(scrambled), image)
        assert torch.equal(layer(layer.inverse(image)), image)


def test_unsigned_integers_are_inverted_as_signed_ones_of_their_width() -> None:
    """Of uint16, the negative of v is 65535 - v."""
    image = torch.arange(64).view(1, 1, 8, 8)
    scrambled = scramble_blocks(image.to(torch.uint16), KEY, block=1).long()
    assert {min(int(v), 65535 - int(v)) for v in scrambled.flatten()} == set(range(64))
    assert torch.equal(scrambled, scramble_blocks(image, KEY, block=1) % 65536)


def test_vectors_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert next(stream(KEY, 3, 37, 50, 16, 0)).to_bytes(4, "big").hex() == "d0b82305"
    images = re.findall(r"```\n((?: *[\d ]+\n)+) *```", page)
    assert len(images) == 2
    for (height, width), printed in zip([(4, 4), (5, 6)], images, strict=True):
        counted = torch.arange(height * width, dtype=torch.uint8).view(1, 1, height, width)
        expected = [[int(number) for number in line.split()] for line in printed.strip().splitlines()]
        assert scramble_blocks(counted, KEY, block=2)[0, 0].tolist() == expected
    counted = (torch.arange(5550) % 256).to(torch.uint8).view(1, 3, 37, 50)
    digest = hashlib.sha256(bytes(scramble_blocks(counted, KEY).flatten().tolist())).hexdigest()
    assert f"`{digest}`" in page
    words = stream(KEY, 3, 37, 50, 16, 0)
    assert (order(words, 6), below(words, 8), order(words, 3), below(words, 2)) == ([4, 0, 1, 2, 5, 3], 3, [1, 0, 2], 0)


@given(seed=st.integers(0, 2**31), key=keys, other=keys)
def test_another_key_does_not_help(seed: int, key: bytes, other: bytes) -> None:
    image = photo(seed, 1, 3, 32, 32)
    again = unscramble_blocks(scramble_blocks(image, key, block=4), other, block=4)
    assert torch.equal(again, image) == (key == other)


def test_one_key_for_each_image() -> None:
    images, pair = photo(0, 2, 3, 20, 30), [KEY, bytes(32)]
    scrambled = scramble_blocks(images, pair, block=8)
    for i, key in enumerate(pair):
        assert torch.equal(scrambled[i : i + 1], scramble_blocks(images[i : i + 1], key, block=8))
    assert torch.equal(unscramble_blocks(scrambled, pair, block=8), images)
    assert scramble_blocks(images[:0], [], block=8).shape == (0, 3, 20, 30)


def test_nothing_stays_in_its_place() -> None:
    """Of a large image, few pixels are unchanged, in the regions at the edges too."""
    image = photo(0, 1, 3, 333, 222)
    same = (scramble_blocks(image, KEY, block=16) == image).double()
    for region in (same, same[..., -13:, :], same[..., -14:]):
        assert region.mean() < 0.05


def test_gradients_are_scrambled_alike() -> None:
    """The gradient of a moved value is that of its place, with the sign of its polarity."""
    layer, x = BlockScrambling(KEY, block=3), photo(1, 2, 2, 7, 8, dtype=torch.float64).requires_grad_()
    weights = photo(2, 2, 2, 7, 8, dtype=torch.float64)
    (layer(x) * weights).sum().backward()
    sign = layer.inverse(weights + 1) - layer.inverse(weights)  # 1 - v has the slope -1
    expected = torch.where(sign > 0, layer.inverse(weights), layer.inverse(weights) - 1)
    torch.testing.assert_close(x.grad, expected)


def test_exact_chains_take_it() -> None:
    """Here the scrambling of Haar bands, which are on a finer grid than the image."""
    chain = exact(Sequential(Haar(), Inverse(Haar()), BlockScrambling(KEY, block=4)), bits=12)
    x = torch.round(tensor(0, 1, 3, 16, 16).abs() * 2**12) / 2**12
    assert_same_tensors(chain.inverse(chain(x)), x)
    alone = exact(Sequential(BlockScrambling(KEY, block=4)), bits=12)
    with pytest.raises(ValueError, match=r"step 0 of 1 \(BlockScrambling\) has a value of 4096.5, .* below 4096"):
        alone(-4095.5 * torch.ones(1, 3, 16, 16))  # half of the blocks become 1 - x


def test_the_key_is_shown_nowhere() -> None:
    layer = BlockScrambling(b"0123456789abcdef")
    assert repr(layer) == "BlockScrambling(block=16)"
    assert not layer.state_dict()
    with pytest.raises(ValueError, match=r"^BlockScrambling needs a key of at least 16 bytes, got 6$"):
        BlockScrambling(b"secret")


@pytest.mark.parametrize(
    ("key", "block", "error", "message"),
    [
        ("a" * 32, 4, TypeError, "scramble_blocks needs a key of bytes, or one for each image, got str"),
        (7, 4, TypeError, "scramble_blocks needs a key of bytes, or one for each image, got int"),
        ([KEY, bytes(3)], 4, ValueError, "scramble_blocks needs a key of at least 16 bytes, got 3"),
        ([KEY], 4, ValueError, "scramble_blocks needs one key, or one for each of 2 images, got 1"),
        (KEY, 0, ValueError, "scramble_blocks needs block of at least 1, got 0"),
        (KEY, 2.0, TypeError, r"scramble_blocks needs a whole number as block, got 2\.0"),
    ],
)
def test_wrong_arguments(key: Any, block: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        scramble_blocks(torch.zeros(2, 3, 8, 8), key, block=block)


def test_wrong_inputs() -> None:
    with pytest.raises(ValueError, match=r"scramble_blocks needs a \(B, C, H, W\) tensor, got \(8, 8\)"):
        BlockScrambling(KEY)(torch.zeros(8, 8))
    with pytest.raises(TypeError, match="unscramble_blocks needs tensors, got list"):
        unscramble_blocks([1], KEY)  # type: ignore[arg-type]
    needed = "needs integers, booleans, bfloat16 or floats of 16, 32 or 64 bits"
    for dtype in (torch.float8_e4m3fn, torch.complex64):
        with pytest.raises(TypeError, match=f"scramble_blocks {needed}, got {dtype}"):
            BlockScrambling(KEY)(torch.zeros(1, 3, 8, 8, dtype=dtype))
