"""Integer versions of every wavelet: every bit returns, and bands are those of the equations, on any device."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional import dwt1d, wavelets
from liftlayers.functional._integer_steps import FRACTION, WITHOUT_TAPS, rounded_sum
from liftlayers.functional.lossless import lossless_dwt1d, lossless_dwt2d, lossless_idwt1d, lossless_idwt2d
from liftlayers.functional.schemes import SCHEMES
from tests.functional.integers import DTYPES, dtypes, flat, integers
from tests.strategies import seeds

names = st.sampled_from(wavelets())
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def table() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        return importlib.import_module("wavelet_table")


# The reference: Python's integers, which do not overflow, on the extended line.


def reference(line: list[int], name: str, dtype: torch.dtype) -> tuple[list[int], list[int]]:
    last, low = len(line) - 1, torch.iinfo(dtype).min
    values = list(line)
    for step in SCHEMES[name].steps:
        source, before = (0 if step.target == "detail" else 1), list(values)
        for target in range(1 - source, len(line), 2):
            total = 1 << (FRACTION - 1)
            for offset, tap in enumerate(step.taps, step.first):
                position = (target - (1 - source) + 2 * offset + source) % (2 * last) if last else 0
                if last:
                    total += round(tap * 2**FRACTION) * before[min(position, 2 * last - position)]
            changed = values[target] + (total >> FRACTION)
            values[target] = (changed - low) % 2 ** torch.iinfo(dtype).bits + low
    approx = [-value for value in values[0::2]] if SCHEMES[name].scales[0] < 0 else values[0::2]
    return [(value - low) % 2 ** torch.iinfo(dtype).bits + low for value in approx], values[1::2]


@dtypes
@given(name=names.filter(lambda name: name != "haar"), size=st.integers(1, 24), seed=seeds(), data=st.data())
def test_lines_are_those_of_the_equations(
    dtype: torch.dtype, name: str, size: int, seed: int, data: st.DataObject
) -> None:
    """For all values of the dtype: where a result leaves its range, it wraps around, and no sum before it does."""
    limits = torch.iinfo(dtype)
    x = integers(seed, size, dtype=dtype)
    if data.draw(st.booleans()):
        x = torch.where(x > 0, limits.max, limits.min).to(dtype)
    approx, detail = lossless_dwt1d(x, name)
    assert (approx.tolist(), detail.tolist()) == reference(x.tolist(), name, dtype)
    assert torch.equal(lossless_idwt1d(approx, detail, name), x)


@dtypes
@given(name=names, size=st.tuples(*[st.integers(1, 20)] * 2), seed=seeds(), extreme=st.booleans())
def test_every_image_returns(dtype: torch.dtype, name: str, size: tuple[int, int], seed: int, extreme: bool) -> None:
    limits = torch.iinfo(dtype)
    x = integers(seed, 2, *size, dtype=dtype)
    x = torch.where(x % 2 == 0, limits.max, limits.min).to(dtype) if extreme else x
    before = x.clone()
    coefficients = lossless_dwt2d(x, name)
    assert {band.dtype for band in flat(coefficients)} == {dtype}
    assert torch.equal(lossless_idwt2d(coefficients, name), before)
    assert torch.equal(x, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", wavelets())
def test_every_wavelet_returns_every_image(name: str) -> None:
    for dtype in DTYPES:
        limits = torch.iinfo(dtype)
        for size in ((1, 1), (1, 2), (2, 1), (3, 3), (5, 8), (17, 9), (32, 31)):
            x = integers(0, 20, *size, dtype=dtype)
            x[:5] = torch.where(x[:5] % 2 == 0, limits.max, limits.min).to(dtype)
            assert torch.equal(lossless_idwt2d(lossless_dwt2d(x, name), name), x)


def test_taps_leave_room_for_samples_of_32_bits() -> None:
    """A sum of 32-bit samples times taps, plus one half, fits 64 bits."""
    for found in SCHEMES.values():
        for step in found.steps:
            assert 2 ** (31 + FRACTION) * sum(map(abs, step.taps)) + 2**FRACTION < 2**63


@dtypes
@given(size=st.integers(1, 20), seed=seeds())
def test_5_3_is_its_rounded_steps(dtype: torch.dtype, size: int, seed: int) -> None:
    x = integers(seed, size, dtype=dtype)
    halves = {"approx": x[0::2], "detail": x[1::2]}
    for step in SCHEMES["bior2.2"].steps:
        source, num = halves["detail" if step.target == "approx" else "approx"], len(halves[step.target])
        change = rounded_sum(source, step, length=num)
        assert torch.equal(WITHOUT_TAPS["bior2.2"][step.target](source, num), change)
        halves[step.target] = halves[step.target] + change


# The figures of the documentation


@given(name=names.filter(lambda name: name != "haar"), size=st.integers(2, 40), seed=seeds())
def test_bands_differ_from_float_ones_by_rounding(table: ModuleType, name: str, size: int, seed: int) -> None:
    x = integers(seed, 8, size, dtype=torch.int32, bits=16)
    _, *bounds = table.growth(name)
    first, second = SCHEMES[name].scales
    exact = dwt1d(x.double(), name, boundary="reflect")
    for band, expected, scale, bound in zip(lossless_dwt1d(x, name), exact, (abs(first), second), bounds, strict=True):
        assert float((band - expected / scale).abs().max()) <= bound + 1e-3  # taps are rounded too


@given(name=names, size=st.tuples(*[st.integers(1, 24)] * 2), seed=seeds())
def test_int16_holds_8_bit_images(name: str, size: tuple[int, int], seed: int) -> None:
    x = 255 * integers(seed, *size, bits=1)
    for band, expected in zip(flat(lossless_dwt2d(x, name)), flat(lossless_dwt2d(x.long(), name)), strict=True):
        assert torch.equal(band.long(), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", wavelets())
def test_bits_of_8_bit_images_fit_16(table: ModuleType, name: str) -> None:
    assert table.bits(name) <= 16


@pytest.mark.gpu
@dtypes
@given(name=names, seed=seeds())
def test_every_device_has_the_same_bits(dtype: torch.dtype, name: str, seed: int) -> None:
    x = integers(seed, 2, 33, 30, dtype=dtype)
    coefficients = lossless_dwt2d(x.cuda(), name)
    for band, expected in zip(flat(coefficients), flat(lossless_dwt2d(x, name)), strict=True):
        assert torch.equal(band.cpu(), expected)
    assert torch.equal(lossless_idwt2d(coefficients, name).cpu(), x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own warnings
def test_compiles_and_exports() -> None:
    class Transform(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            coefficients = lossless_dwt2d(x, "9/7")
            return (*flat(coefficients), lossless_idwt2d(coefficients, "9/7"))

    x = integers(0, 3, 7, 8)
    expected = Transform()(x)
    for function in (
        torch.compile(Transform(), fullgraph=True, backend="aot_eager"),
        torch.export.export(Transform(), (x,)).module(),
        torch.func.vmap(Transform()),
    ):
        assert all(map(torch.equal, function(x), expected))
