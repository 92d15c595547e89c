"""Several levels: nested as in PyWavelets and undone at every size; errors that users met in other libraries."""

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional.dwt import dwt2d, idwt2d
from liftlayers.functional.schemes import SCHEMES
from liftlayers.functional.wavedec import wavedec2, waverec2
from tests.functional.wavelets import BOUNDARIES, EXPANSIVE, NON_EXPANSIVE, flat, oracle
from tests.strategies import seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

names = st.sampled_from(list(SCHEMES))
sizes = st.tuples(*[st.integers(1, 40)] * 2)


@given(name=names, boundary=st.sampled_from(EXPANSIVE), size=sizes, level=st.integers(1, 3), seed=seeds())
@pytest.mark.filterwarnings("ignore:Level value")  # PyWavelets warns where few coefficients are free of the boundary
def test_levels_under_expansive_rules_agree_with_pywavelets(
    name: str, boundary: str, size: tuple[int, int], level: int, seed: int
) -> None:
    x = tensor(seed, 2, *size, dtype=torch.float64)
    bands = wavedec2(x, name, boundary=boundary, level=level)
    assert_nested_alike(bands, pywt.wavedec2(x.numpy(), oracle(name), boundary, level))
    returned = waverec2(bands, name, boundary=boundary, size=size)
    torch.testing.assert_close(returned, x, rtol=0, atol=1e-12)


@given(name=names, blocks=st.tuples(*[st.integers(1, 4)] * 2), seed=seeds())
@pytest.mark.filterwarnings("ignore:Level value")
def test_periodic_levels_agree_with_pywavelets(name: str, blocks: tuple[int, int], seed: int) -> None:
    x = tensor(seed, 2, 8 * blocks[0], 8 * blocks[1], dtype=torch.float64)
    bands = wavedec2(x, name, level=3)
    assert_nested_alike(bands, pywt.wavedec2(x.numpy(), oracle(name), "periodization", 3))


def assert_nested_alike(bands: Any, expected: Any) -> None:
    assert isinstance(bands, list)
    assert [type(part) for part in bands] == [Tensor] + [tuple] * (len(expected) - 1)
    for band, other in zip(flat(bands), flat(expected), strict=True):
        torch.testing.assert_close(band, torch.from_numpy(other), rtol=0, atol=1e-12 * max(1, abs(other).max()))


@given(name=names, boundary=st.sampled_from(NON_EXPANSIVE), size=sizes, level=st.integers(1, 6), seed=seeds())
def test_levels_under_non_expansive_rules_come_back(
    name: str, boundary: str, size: tuple[int, int], level: int, seed: int
) -> None:
    x = tensor(seed, *size, dtype=torch.float64)
    bands = wavedec2(x, name, boundary=boundary, level=level)
    assert sum(band.numel() for band in flat(bands)) == x.numel()
    returned = waverec2(bands, name, boundary=boundary)
    assert returned.shape == x.shape
    largest = max(float(band.abs().max()) for band in flat(bands) if band.numel())  # db5, mirrored: twenty times x
    torch.testing.assert_close(returned, x, rtol=0, atol=1e-12 * level * max(1, largest))


@pytest.mark.parametrize("boundary", EXPANSIVE)
def test_without_a_size_the_even_size_is_taken(boundary: str) -> None:
    bands = wavedec2(torch.zeros(3, 9, 13), "db2", boundary=boundary, level=2)
    assert waverec2(bands, "db2", boundary=boundary).shape == (3, 10, 14)
    assert waverec2(bands, "db2", boundary=boundary, size=(9, 13)).shape == (3, 9, 13)


# Errors that users met in other libraries


def test_float64_filters_are_not_rounded_to_float32() -> None:
    x = tensor(0, 1, 3, 64, 64, dtype=torch.float64)
    returned = waverec2(wavedec2(x, "bior4.4", level=3), "bior4.4")
    assert float((returned - x).abs().max()) < 1e-13


def test_db4_on_a_small_image_comes_back() -> None:
    x = tensor(0, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(idwt2d(dwt2d(x, "db4"), "db4"), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_half_precision_works_under_every_rule_and_autocast(dtype: torch.dtype, boundary: str) -> None:
    x = tensor(0, 3, 12, 10, positive=True).to(dtype)
    size = (12, 10) if boundary in EXPANSIVE else None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bands = wavedec2(x, "5/3", boundary=boundary, level=2)
        returned = waverec2(bands, "5/3", boundary=boundary, size=size)
    assert {band.dtype for band in flat(bands)} == {returned.dtype} == {dtype}
    assert float((returned.double() - x.double()).abs().max()) <= 16 * torch.finfo(dtype).eps


# Errors


@pytest.mark.parametrize("level", [0, -1])
def test_levels_below_one_are_refused(level: int) -> None:
    with pytest.raises(ValueError, match=f"wavedec2 needs level of at least 1, got {level}$"):
        wavedec2(torch.zeros(4, 4), "haar", level=level)


def test_errors_name_the_function_of_several_levels() -> None:
    """They do not name the function of one level."""
    with pytest.raises(ValueError, match=r"^wavedec2 needs a wavelet .*, got 'sym'$"):
        wavedec2(torch.zeros(4, 4), "sym", level=2)
    with pytest.raises(TypeError, match=r"^wavedec2 needs floating-point tensors, got torch\.int64; "):
        wavedec2(torch.zeros(4, 4).long(), "haar", level=2)
    with pytest.raises(ValueError, match="waverec2 needs an approximation and at least one level of details, got 1"):
        waverec2([torch.zeros(4, 4)], "haar")


@pytest.mark.parametrize("detail", [torch.zeros(9, 4, 4), {"da": torch.zeros(3, 4, 4)}])
def test_details_nested_in_another_way_are_refused(detail: Any) -> None:
    nesting = f"(Tensor, {type(detail).__name__})"
    message = re.escape(f"waverec2 needs (approx, (horizontal, vertical, diagonal)), got {nesting}")
    with pytest.raises(TypeError, match=message):
        waverec2([torch.zeros(3, 4, 4), detail], "haar")


def test_errors_of_a_level_name_the_function_of_several_levels() -> None:
    approx, coarse, fine = wavedec2(torch.zeros(9, 13), "db2", level=2)
    shapes = re.escape("got shapes (2, 4), (2, 4), (3, 3), (2, 3)")
    with pytest.raises(ValueError, match=f"waverec2 needs bands that fit together, {shapes}"):
        waverec2([torch.zeros(2, 4), coarse, fine], "db2")
    with pytest.raises(ValueError, match=r"waverec2 needs a boundary among .*, got 'wrap'"):
        waverec2([approx, coarse, fine], "db2", boundary="wrap")
    with pytest.raises(ValueError, match=r"waverec2 needs a size of 13 for 7 \+ 6 coefficients, got 12$"):
        waverec2([approx, coarse, fine], "db2", size=(9, 12))
