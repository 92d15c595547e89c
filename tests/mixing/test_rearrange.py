"""Split, Swap and PixelUnshuffle: where each channel and pixel goes, and what the layers refuse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Inverse, Sequential
from liftlayers.mixing.rearrange import PixelUnshuffle, Split, Swap
from liftlayers.testing import randomise_
from tests.laws import assert_inverts_both_ways, assert_modes_agree
from tests.strategies import dtypes, seeds, tensor

sides = st.tuples(st.integers(1, 5), st.integers(1, 5))


# Split


@given(
    seed=seeds(),
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    rest=st.lists(st.integers(1, 4), max_size=3),
    dtype=dtypes,
)
def test_split_cuts_channels_and_its_inverse_joins_them(
    seed: int, sizes: list[int], rest: list[int], dtype: torch.dtype
) -> None:
    split, x = Split(*sizes), tensor(seed, 2, sum(sizes), *rest, dtype=dtype)
    bands = split(x)
    assert [band.shape[1] for band in bands] == sizes
    assert torch.equal(torch.cat(bands, dim=1), x)
    assert torch.equal(Inverse(split)(*bands), x)


def test_split_keeps_integers() -> None:
    x = torch.arange(12).view(1, 3, 2, 2)
    assert torch.equal(Split(1, 2).inverse(*Split(1, 2)(x)), x)


def test_split_changes_the_number_of_bands_of_a_chain_in_every_mode() -> None:
    coupling = randomise_(AdditiveCoupling(nn.Conv2d(1, 2, 3, padding=1)))
    chain = Sequential(Split(1, 2), coupling, Inverse(Split(1, 2))).double()
    assert_modes_agree(chain, tensor(0, 2, 3, 4, 5, dtype=torch.float64))


@pytest.mark.parametrize("sizes", [(), (3,)])
def test_split_needs_two_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Split needs two or more sizes, as in Split\(1, 2\), got"):
        Split(*sizes)


def test_split_needs_positive_sizes() -> None:
    with pytest.raises(ValueError, match="Split needs size of at least 1, got -2"):
        Split(3, -2)


@pytest.mark.parametrize("shape", [(1, 4, 2, 2), (3,)])
def test_split_refuses_another_number_of_channels(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"Split needs a tensor of shape \(B, 3, ...\), got \({shape[0]},"):
        Split(1, 2)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shapes", "got"),
    [
        ([(1, 2, 4), (1, 1, 4)], r"\(1, 2, 4\) and \(1, 1, 4\)"),
        ([(1, 1, 4), (1, 2, 5)], r"\(1, 1, 4\) and \(1, 2, 5\)"),
        ([(1, 1, 4), (2, 2, 4)], r"\(1, 1, 4\) and \(2, 2, 4\)"),
        ([(1, 1, 4)], r"\(1, 1, 4\)"),
        ([(4,), (4,)], r"\(4,\) and \(4,\)"),
    ],
)
def test_split_refuses_to_join_bands_that_do_not_fit(shapes: list[tuple[int, ...]], got: str) -> None:
    message = rf"Split\.inverse needs bands of shapes \(B, 1, ...\) and \(B, 2, ...\), got {got}$"
    with pytest.raises(ValueError, match=message):
        Split(1, 2).inverse(*map(torch.zeros, shapes))


def test_split_refuses_to_join_two_dtypes_or_devices() -> None:
    a, b = torch.zeros(1, 1), torch.zeros(1, 2)
    with pytest.raises(TypeError, match=r"Split\.inverse needs bands of one dtype, got torch\.float32 and torch\.f"):
        Split(1, 2).inverse(a, b.double())
    with pytest.raises(ValueError, match=r"Split\.inverse needs its bands on one device, got cpu and meta"):
        Split(1, 2).inverse(a, b.to("meta"))


# Swap


@given(seed=seeds(), sides=sides, dtype=dtypes)
def test_swap_swaps(seed: int, sides: tuple[int, int], dtype: torch.dtype) -> None:
    a, b = tensor(seed, 2, 1, *sides, dtype=dtype), tensor(seed + 1, 2, 3, *sides, dtype=dtype)
    assert Swap()(a, b) == (b, a)
    assert Swap().inverse(b, a) == (a, b)


def test_swap_lets_couplings_change_both_bands_in_every_mode() -> None:
    couplings = AdditiveCoupling(nn.Conv2d(1, 3, 3, padding=1)), AdditiveCoupling(nn.Conv2d(3, 1, 3, padding=1))
    first, second = (randomise_(step) for step in couplings)
    pair = tensor(0, 2, 1, 4, 4, dtype=torch.float64), tensor(1, 2, 3, 4, 4, dtype=torch.float64)
    assert_modes_agree(Sequential(first, Swap(), second, Swap()).double(), *pair)


# PixelUnshuffle


@given(seed=seeds(), factor=st.integers(1, 3), channels=st.integers(1, 3), sides=sides, dtype=dtypes)
def test_pixel_unshuffle_inverts(
    seed: int, factor: int, channels: int, sides: tuple[int, int], dtype: torch.dtype
) -> None:
    x = tensor(seed, 2, channels, factor * sides[0], factor * sides[1], dtype=dtype)
    y = PixelUnshuffle(factor)(x)
    assert y.shape == (2, factor**2 * channels, *sides)
    assert torch.equal(PixelUnshuffle(factor).inverse(y), x)
    assert_inverts_both_ways(PixelUnshuffle(factor), x)


@pytest.mark.parametrize(("shape", "apart"), [((0, 1, 4, 4), (0, 4, 2, 2)), ((2, 1, 0, 4), (2, 4, 0, 2))], ids=str)
def test_pixel_unshuffle_of_an_empty_image_is_empty(shape: tuple[int, ...], apart: tuple[int, ...]) -> None:
    y = PixelUnshuffle(2)(torch.zeros(shape))
    assert y.shape == apart
    assert PixelUnshuffle(2).inverse(y).shape == shape


def test_pixel_unshuffle_keeps_the_order_it_documents() -> None:
    x, k = torch.arange(2 * 4 * 6).view(1, 2, 4, 6), 2
    y = PixelUnshuffle(k)(x)
    for c, i, j in ((0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)):
        assert torch.equal(y[:, c * k**2 + i * k + j], x[:, c, i::k, j::k])


def test_pixel_unshuffles_of_two_factors_agree_in_every_mode() -> None:
    chain = Sequential(PixelUnshuffle(2), Inverse(PixelUnshuffle(4)), PixelUnshuffle(2))
    assert_modes_agree(chain, tensor(0, 2, 4, 4, 4, dtype=torch.float64))


def test_pixel_unshuffle_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="PixelUnshuffle needs factor of at least 1, got 0"):
        PixelUnshuffle(0)
    with pytest.raises(ValueError, match=r"PixelUnshuffle\(2\) needs .* multiples of 2, got \(1, 1, 4, 5\)"):
        PixelUnshuffle(2)(torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"PixelUnshuffle\(2\) needs .*, got \(4, 4\)"):
        PixelUnshuffle(2)(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"PixelUnshuffle\(3\)\.inverse needs .* multiple of 9, got \(1, 8, 2, 2\)"):
        PixelUnshuffle(3).inverse(torch.zeros(1, 8, 2, 2))


@pytest.mark.parametrize(("step", "num_bands"), [(Split(1, 2), 2), (Swap(), 1), (PixelUnshuffle(2), 2)])
def test_chains_count_their_bands(step: Split | Swap | PixelUnshuffle, num_bands: int) -> None:
    bands: list[Tensor] = [torch.zeros(1, 3, 2, 2)] * num_bands
    with pytest.raises(
        ValueError, match=rf"step 0 \({type(step).__name__}\) takes {3 - num_bands} band.*got {num_bands}"
    ):
        Sequential(step)(*bands)
