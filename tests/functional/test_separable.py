"""Transforms along any axes: PyWavelets' `dwtn` and `wavedecn`, bands that are missing, and what is refused."""

from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional import dwt1d, dwt2d, idwt2d, wavedec2, waverec2
from liftlayers.functional._axes import detail_keys
from liftlayers.functional.schemes import SCHEMES, filter_length, scheme
from liftlayers.functional.separable import dwt, idwt
from liftlayers.functional.wavedec import wavedec, waverec
from tests.functional.wavelets import BOUNDARIES, EXPANSIVE, NON_EXPANSIVE, assert_equals, flat, oracle
from tests.strategies import seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

names = st.sampled_from(list(SCHEMES))
boundaries = st.sampled_from(BOUNDARIES)
ORACLES = st.sampled_from([*EXPANSIVE, "periodization"])  # PyWavelets' own rules


@st.composite
def shapes_and_axes(draw: st.DrawFn, *, largest: int = 9, even: bool = False) -> tuple[tuple[int, ...], Any]:
    """Up to four axes, some of them transformed, in any order, counted from either end."""
    num_axes = draw(st.integers(1, 4))
    axes = draw(st.permutations(range(num_axes)))[: draw(st.integers(1, min(3, num_axes)))]
    sides = [draw(st.integers(1, largest)) for _ in range(num_axes)]
    axes = [axis - num_axes if draw(st.booleans()) else axis for axis in axes]
    for axis in axes if even else ():
        sides[axis] *= 2
    return tuple(sides), tuple(axes)


# PyWavelets


@given(name=names, boundary=ORACLES, seed=seeds(), data=st.data())
def test_bands_agree_with_pywavelets(name: str, boundary: str, seed: int, data: st.DataObject) -> None:
    shape, axes = data.draw(shapes_and_axes(even=boundary == "periodization"))
    x = tensor(seed, *shape, dtype=torch.float64)
    ours = dwt(x, name, axes=axes, boundary=boundary)
    theirs = pywt.dwtn(x.numpy(), oracle(name), boundary, axes)
    assert list(ours) == sorted(theirs)
    for key, band in ours.items():
        assert_equals(band, theirs[key], atol=1e-12 * max(1, abs(theirs[key]).max()))
    size = [shape[axis] for axis in axes]
    back = idwt(ours, name, axes=axes, boundary=boundary, size=size)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Level value")  # PyWavelets warns where few coefficients are free of the boundary
@given(name=names, boundary=ORACLES, level=st.integers(1, 3), seed=seeds(), data=st.data())
def test_levels_agree_with_pywavelets(name: str, boundary: str, level: int, seed: int, data: st.DataObject) -> None:
    shape, axes = data.draw(shapes_and_axes(largest=7))
    if boundary == "periodization":
        shape = tuple(2**level * side for side in shape[:2])
        axes = tuple(range(-len(shape), 0))
    x = tensor(seed, *shape, dtype=torch.float64)
    ours = wavedec(x, name, axes=axes, boundary=boundary, level=level)
    theirs = pywt.wavedecn(x.numpy(), oracle(name), boundary, level, axes)
    assert isinstance(ours, list)
    assert len(ours) == len(theirs) == level + 1
    for mine, other in zip(ours, theirs, strict=True):
        bands = mine if isinstance(mine, dict) else {"": mine}
        expected = other if isinstance(other, dict) else {"": other}
        assert bands.keys() == expected.keys()
        for key, band in bands.items():
            assert_equals(band, expected[key], atol=1e-12 * max(1, abs(expected[key]).max()))
    back = waverec(ours, name, axes=axes, boundary=boundary, size=[shape[axis] for axis in axes])
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)


def test_layers_stack_bands_in_the_order_of_pywavelets() -> None:
    x = tensor(0, 2, 2, 2).numpy()
    assert detail_keys(3) == list(pywt.dwtn(x, "haar"))[1:]
    assert detail_keys(1) == list(pywt.dwtn(x[0, 0], "haar"))[1:]
    _, details = pywt.dwt2(x[0], "haar")  # horizontal, vertical, diagonal
    named = pywt.dwtn(x[0], "haar")
    assert all((named[key] == detail).all() for key, detail in zip(detail_keys(2), details, strict=True))


@given(name=names, boundary=boundaries, size=st.tuples(*[st.integers(1, 9)] * 2), seed=seeds())
def test_lines_and_images_are_cases_of_it(name: str, boundary: str, size: tuple[int, int], seed: int) -> None:
    x = tensor(seed, 2, *size)
    assert all(map(torch.equal, dwt(x, name, boundary=boundary).values(), dwt1d(x, name, boundary=boundary)))
    bands = dwt(x, name, axes=(1, 2), boundary=boundary)
    assert all(
        map(torch.equal, [bands[key] for key in ("aa", *detail_keys(2))], flat(dwt2d(x, name, boundary=boundary)))
    )
    levels = wavedec(x, name, axes=(-2, -1), boundary=boundary, level=2)
    expected = flat(wavedec2(x, name, boundary=boundary, level=2))
    assert all(map(torch.equal, (band for part in levels for band in values(part)), expected))


def values(part: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return list(part.values()) if isinstance(part, dict) else [part]


@given(name=names, boundary=st.sampled_from(NON_EXPANSIVE), level=st.integers(1, 3), seed=seeds(), data=st.data())
def test_every_size_comes_back_without_naming_it(
    name: str, boundary: str, level: int, seed: int, data: st.DataObject
) -> None:
    shape, axes = data.draw(shapes_and_axes())
    x = tensor(seed, *shape, dtype=torch.float64)
    levels = wavedec(x, name, axes=axes, boundary=boundary, level=level)
    assert sum(band.numel() for part in levels for band in values(part)) == x.numel()
    back = waverec(levels, name, axes=axes, boundary=boundary)
    largest = max(float(band.abs().max()) for part in levels for band in values(part) if band.numel())
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12 * max(1, largest))


@pytest.mark.parametrize("axes", list(permutations(range(3), 2)))
def test_derivatives_and_function_transforms(axes: tuple[int, int]) -> None:
    x = tensor(0, 3, 4, 5, dtype=torch.float64).requires_grad_()

    def there_and_back(x: Tensor) -> Tensor:
        bands = dwt(x, "db2", axes=axes)
        return idwt({key: band**2 for key, band in bands.items()}, "db2", axes=axes)

    assert torch.autograd.gradcheck(there_and_back, (x,), fast_mode=True)
    stacked = torch.stack((x.detach(), 2 * x.detach()))
    expected = torch.stack([there_and_back(part) for part in stacked])
    torch.testing.assert_close(torch.func.vmap(there_and_back)(stacked), expected)


# As in PyWavelets: missing bands, the deepest level, wavelets as objects


@given(
    name=names, boundary=boundaries, size=st.tuples(*[st.integers(1, 24)] * 2), level=st.integers(1, 3), data=st.data()
)
def test_missing_bands_are_zero(
    name: str, boundary: str, size: tuple[int, int], level: int, data: st.DataObject
) -> None:
    """Every choice of missing bands, up to all of some levels, gives what zeros give."""
    approx, *details = wavedec2(tensor(0, 3, *size), name, boundary=boundary, level=level)
    kept = [data.draw(st.tuples(*[st.booleans()] * 3)) for _ in details]
    zeros = [
        tuple(b if k else torch.zeros_like(b) for b, k in zip(detail, keep, strict=True))
        for detail, keep in zip(details, kept, strict=True)
    ]
    missing = [
        tuple(b if k else None for b, k in zip(detail, keep, strict=True)) if any(keep) else None
        for detail, keep in zip(details, kept, strict=True)
    ]
    expected = waverec2([approx, *zeros], name, boundary=boundary, size=size)
    assert torch.equal(waverec2([approx, *missing], name, boundary=boundary, size=size), expected)
    named = [
        None if detail is None else {k: b for k, b in zip(detail_keys(2), detail, strict=True) if b is not None}
        for detail in missing
    ]
    again = waverec([approx, *named], name, axes=(1, 2), boundary=boundary, size=size)
    assert torch.equal(again, expected)


@pytest.mark.parametrize("boundary", ["symmetric", "periodization"])
def test_missing_bands_as_in_pywavelets(boundary: str) -> None:
    x = tensor(0, 16, 24, dtype=torch.float64)
    levels = pywt.wavedecn(x.numpy(), "db2", boundary, 2)
    levels[0] = None
    del levels[1]["ad"], levels[2]["da"]
    ours = [None if part is None else {key: torch.from_numpy(band) for key, band in part.items()} for part in levels]
    assert_equals(waverec(ours, "db2", axes=(0, 1), boundary=boundary), pywt.waverecn(levels, "db2", boundary))
    bands = {"aa": None, "dd": torch.from_numpy(levels[2]["dd"])}
    theirs = pywt.idwtn({"dd": levels[2]["dd"]}, "db2", boundary)
    assert_equals(idwt(bands, "db2", axes=(0, 1), boundary=boundary), theirs)
    assert_equals(
        idwt2d((bands["dd"], (None, None, bands["dd"])), "db2", boundary=boundary),
        pywt.idwt2((levels[2]["dd"], (None, None, levels[2]["dd"])), "db2", boundary),
    )


@given(name=names, size=st.tuples(*[st.integers(1, 200)] * 2))
def test_the_deepest_level_is_that_of_pywavelets_but_at_least_one(name: str, size: tuple[int, int]) -> None:
    x = torch.zeros(size)
    deepest = max(1, pywt.dwt_max_level(min(size), filter_length(scheme(name))))
    assert len(wavedec2(x, name)) == len(wavedec(x, name, axes=(0, 1))) == 1 + deepest
    assert len(wavedec(x, name)) == 1 + max(1, pywt.dwt_max_level(size[1], filter_length(scheme(name))))


def test_an_object_of_pywavelets_is_a_name() -> None:
    x = tensor(0, 8, 6)
    wavelet = pywt.Wavelet("db2")
    assert torch.equal(idwt2d(dwt2d(x, wavelet), wavelet), idwt2d(dwt2d(x, "db2"), "db2"))
    assert torch.equal(waverec2(wavedec2(x, wavelet), wavelet), waverec2(wavedec2(x, "db2"), "db2"))
    assert scheme(wavelet) == scheme("db2")
    with pytest.raises(ValueError, match=r"dwt1d needs a wavelet that .*, got 'dmey'$"):
        dwt1d(x, pywt.Wavelet("dmey"))


# Errors


@pytest.mark.parametrize("function", [dwt, wavedec])
def test_axes_that_do_not_fit_are_refused(function: Any) -> None:
    x, who = torch.zeros(3, 0, 4), function.__name__
    for axes in ((0, 0), (0, -3), (3,), (-4,)):
        with pytest.raises(ValueError, match=rf"{who} needs different axes of a tensor of 3 axes, got \({axes[0]},"):
            function(x, "haar", axes=axes)
    for axes, got in ((1, "1"), ("ab", "'ab'"), ((), r"\(\)")):
        with pytest.raises(TypeError, match=f"{who} needs a sequence of axes, got {got}$"):
            function(x, "haar", axes=axes)
    with pytest.raises(TypeError, match=rf"{who} needs a whole number as axis, got 0\.5"):
        function(x, "haar", axes=(0.5,))
    with pytest.raises(
        ValueError, match=rf"{who} needs a tensor without empty sides along \(-3, -2\), got \(3, 0, 4\)"
    ):
        function(x, "haar", axes=(0, 1))


def test_bands_that_do_not_fit_are_refused() -> None:
    x = torch.zeros(2, 2)
    with pytest.raises(TypeError, match="idwt needs bands by name, got Tensor"):
        idwt(x, "haar")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"idwt needs the details of a level as a mapping from d, got h$"):
        idwt({"a": x, "h": x}, "haar")
    with pytest.raises(
        TypeError, match=r"waverec needs the details of a level as a mapping from da, ad, dd, got Tensor$"
    ):
        waverec([x, x], "haar", axes=(0, 1))
    with pytest.raises(ValueError, match="waverec needs at least one band on the coarsest level, got None for all"):
        waverec([None, None, {"d": x}], "haar")  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"idwt needs bands that fit together, got shapes \(2, 2\), \(2,\)"):
        idwt({"a": x, "d": x[0]}, "haar")
    with pytest.raises(ValueError, match="waverec needs a size of 1 numbers, one for each axis, got 4"):
        waverec([x, {"d": x}], "haar", size=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="idwt needs size along axis -1 of at least 1, got 0"):
        idwt({"a": x, "d": x}, "haar", size=(0,))
    with pytest.raises(TypeError, match="idwt needs a sequence of axes, got 1"):
        idwt({"a": x}, "haar", axes=1)  # type: ignore[arg-type]
