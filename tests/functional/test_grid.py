"""The grid: what rounding does, and how far sums and Haar transforms on it are exact."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.functional.grid import grid_limit, round_to_grid
from tests.strategies import dtypes, seeds, tensor

exponents = st.sampled_from([0, 8, 12, 16])


def up_to(limit: float, bits: int, seed: int, *shape: int) -> torch.Tensor:
    """Float32 numbers on a grid below a limit, half of them close to it."""
    size = tensor(seed, *shape, dtype=torch.float64, positive=True)
    size = torch.where(tensor(seed + 1, *shape) > 0, 1 - 1e-3 * size, size)
    x = (limit * size * 2**bits).floor() / 2**bits * tensor(seed + 2, *shape).sign()
    assert torch.equal(x.float().double(), x)
    return x.float()


@given(seed=seeds(), bits=exponents, dtype=dtypes)
def test_rounds_to_the_nearest_multiple_and_stays_there(seed: int, bits: int, dtype: torch.dtype) -> None:
    x = 3 * tensor(seed, 5, 7, dtype=dtype)
    y = round_to_grid(x, bits)
    assert y.dtype == dtype
    assert torch.equal(y * 2.0**bits, (y * 2.0**bits).round())
    assert float((x - y).abs().max()) <= 2.0 ** -(bits + 1)
    assert torch.equal(round_to_grid(y, bits), y)


def test_ties_go_to_even_and_zeros_are_positive() -> None:
    y = round_to_grid(torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5, -0.0, -0.1]), 0)
    assert y.tolist() == [-2, 0, 0, 2, 2, 0, 0]
    assert not torch.signbit(y[1:]).any()


def test_large_numbers_stay() -> None:
    x = torch.tensor([2.0**30 + 2**7, -(2.0**24)])
    assert torch.equal(round_to_grid(x, 4), x)


@pytest.mark.parametrize("bits", [0, 16, 52])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_largest_numbers_stay(dtype: torch.dtype, bits: int) -> None:
    x = torch.tensor([1, -0.3, torch.inf, -torch.inf], dtype=dtype) * torch.finfo(dtype).max
    assert torch.equal(round_to_grid(x, bits), x)
    assert round_to_grid(torch.tensor(torch.nan, dtype=dtype), bits).isnan()


def test_other_exponents_are_refused() -> None:
    for bits in (15.5, torch.tensor(3), "16"):
        got = re.escape(repr(bits))
        with pytest.raises(TypeError, match=f"round_to_grid needs a whole number as bits, got {got}"):
            round_to_grid(torch.zeros(1), bits)  # type: ignore[arg-type]
    for bits in (-1, 53, 200):
        with pytest.raises(ValueError, match=f"round_to_grid needs 0 to 52 bits, got {bits}"):
            round_to_grid(torch.zeros(1), bits)


@given(seed=seeds(), bits=exponents)
def test_gradient_passes_as_it_is(seed: int, bits: int) -> None:
    x, weights = tensor(seed, 4, 4).requires_grad_(), tensor(seed + 1, 4, 4)
    (gradient,) = torch.autograd.grad((round_to_grid(x, bits) * weights).sum(), x)
    assert torch.equal(gradient, weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32], ids=str)
def test_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"round_to_grid needs .*got {dtype}; call .float"):
        round_to_grid(torch.zeros(2, dtype=dtype), 4)
    with pytest.raises(TypeError, match=f"grid_limit needs torch.float32 or torch.float64, got {dtype}"):
        grid_limit(dtype, 4)


def test_limits() -> None:
    assert grid_limit(torch.float32, 16) == 256
    assert grid_limit(torch.float64, 16) == 2.0**37


@given(seed=seeds(), bits=exponents)
def test_sums_below_the_limit_are_exact(seed: int, bits: int) -> None:
    limit = grid_limit(torch.float32, bits)
    before, after = up_to(limit, bits, seed, 100), up_to(limit, bits, seed + 9, 100)
    step = after - before  # any number that leads from the one to the other, up to twice the limit
    exact = step.double() == after.double() - before.double()
    assert torch.equal((before + step)[exact], after[exact])
    assert torch.equal((after - step)[exact], before[exact])
    assert exact.double().mean() > 0.25


def test_sums_at_the_limit_are_not_exact() -> None:
    x, step = torch.tensor(grid_limit(torch.float32, 16)), torch.tensor(2.0**-16)
    assert float(x + step - x) == 0


@given(seed=seeds(), bits=exponents)
def test_haar_is_exact_with_two_digits_to_spare(seed: int, bits: int) -> None:
    limit = grid_limit(torch.float32, bits + 2)
    x = up_to(limit, bits, seed, 1, 1, 16, 16)
    analysed = haar_analysis(x)
    for band, true in zip(analysed, haar_analysis(x.double()), strict=True):
        assert torch.equal(band.double(), true)
    assert torch.equal(haar_synthesis(*analysed), x)
    bands = up_to(limit, bits, seed, 1, 1, 8, 8), up_to(limit, bits, seed + 9, 1, 3, 8, 8)
    for band, returned in zip(bands, haar_analysis(haar_synthesis(*bands)), strict=True):
        assert torch.equal(band, returned)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_haar_is_not_exact_with_one_digit_to_spare(bits: int) -> None:
    x = up_to(grid_limit(torch.float32, bits + 1), bits, 0, 1, 1, 64, 64)
    wrong = (haar_synthesis(*haar_analysis(x)) != x).double().mean()
    assert 0.1 < float(wrong) < 0.4
    assert math.isfinite(float(x.max()))
