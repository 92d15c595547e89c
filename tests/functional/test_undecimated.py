"""The undecimated transform: PyWavelets at its sizes, every size inverted, shifts, derivatives."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional._inplace_lifting import lift_in_place, unlift_in_place
from liftlayers.functional.lifting import lift, unlift
from liftlayers.functional.schemes import SCHEMES, scheme
from liftlayers.functional.undecimated import iswt, swt
from tests.functional.wavelets import assert_equals, oracle
from tests.strategies import seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

names = st.sampled_from(list(SCHEMES))
ORTHOGONAL = [name for name in SCHEMES if name.startswith(("haar", "db", "sym", "coif"))]
sizes = st.tuples(*[st.integers(1, 20)] * 2)


def flat(levels: list[Any]) -> list[Tensor]:
    return [band for part in levels for band in (part.values() if isinstance(part, dict) else [part])]


# PyWavelets


@given(name=names, size=st.integers(1, 4), level=st.integers(1, 3), seed=seeds())
def test_lines_agree_with_pywavelets(name: str, size: int, level: int, seed: int) -> None:
    x = tensor(seed, 3, size << level, dtype=torch.float64)
    theirs = pywt.swt(x.numpy(), oracle(name), level, trim_approx=True)
    ours = flat(swt(x, name, level=level))
    for band, expected in zip(ours, theirs, strict=True):
        assert_equals(band, expected, atol=1e-12 * max(1, abs(expected).max()))
    changed = [band.sin() for band in ours]  # the bands of no line
    back = iswt([changed[0], *({"d": band} for band in changed[1:])], name)
    assert_equals(back, pywt.iswt([band.numpy() for band in changed], oracle(name)), atol=1e-11)


@pytest.mark.filterwarnings("ignore:norm=True")  # PyWavelets does not know that a given filter bank is orthogonal
@given(name=names, norm=st.booleans(), size=st.tuples(*[st.integers(1, 3)] * 2), level=st.integers(1, 3), seed=seeds())
def test_images_agree_with_pywavelets(name: str, norm: bool, size: tuple[int, int], level: int, seed: int) -> None:
    norm = norm and name in ORTHOGONAL  # PyWavelets takes the biorthogonal ones for not normalised
    x = tensor(seed, size[0] << level, size[1] << level, 2, dtype=torch.float64)
    theirs = pywt.swt2(x.numpy(), oracle(name), level, trim_approx=True, norm=norm, axes=(0, 1))
    ours = swt(x, name, axes=(0, 1), level=level, norm=norm)
    expected = [theirs[0], *(band for detail in theirs[1:] for band in detail)]
    for band, other in zip(flat(ours), expected, strict=True):
        assert_equals(band, other, atol=1e-12 * max(1, abs(other).max()))
    changed: list[Any] = [ours[0], *({key: band.sin() for key, band in d.items()} for d in ours[1:])]  # type: ignore[union-attr]
    nested = [changed[0].numpy(), *(tuple(band.numpy() for band in detail.values()) for detail in changed[1:])]
    back = iswt(changed, name, axes=(0, 1), norm=norm)
    assert_equals(back, pywt.iswt2(nested, oracle(name), norm=norm, axes=(0, 1)), atol=1e-11)


# Laws, at every size


@given(name=names, norm=st.booleans(), size=sizes, level=st.integers(1, 4), seed=seeds())
def test_every_size_comes_back(name: str, norm: bool, size: tuple[int, int], level: int, seed: int) -> None:
    x = tensor(seed, 2, *size, dtype=torch.float64)
    levels = swt(x, name, axes=(-2, -1), level=level, norm=norm)
    assert {band.shape for band in flat(levels)} == {x.shape}
    torch.testing.assert_close(iswt(levels, name, axes=(-2, -1), norm=norm), x, rtol=0, atol=1e-12)


@given(name=names, size=sizes, shift=st.tuples(*[st.integers(-20, 20)] * 2), level=st.integers(1, 3), seed=seeds())
def test_a_shift_of_the_image_shifts_every_band(
    name: str, size: tuple[int, int], shift: tuple[int, int], level: int, seed: int
) -> None:
    x = tensor(seed, *size, dtype=torch.float64)
    shifted = flat(swt(x.roll(shift, (0, 1)), name, axes=(0, 1), level=level))
    for band, other in zip(flat(swt(x, name, axes=(0, 1), level=level)), shifted, strict=True):
        torch.testing.assert_close(other, band.roll(shift, (0, 1)), rtol=0, atol=1e-12)


@given(name=st.sampled_from(ORTHOGONAL), size=sizes, level=st.integers(1, 3), seed=seeds())
def test_normalised_bands_of_orthogonal_wavelets_keep_energy(
    name: str, size: tuple[int, int], level: int, seed: int
) -> None:
    x = tensor(seed, *size, dtype=torch.float64)
    energy = sum(float(band.square().sum()) for band in flat(swt(x, name, axes=(0, 1), level=level, norm=True)))
    assert energy == pytest.approx(float(x.square().sum()))


def test_missing_bands_are_zero() -> None:
    approx, coarse, fine = swt(tensor(0, 6, 5), "db2", axes=(0, 1), level=2)
    assert isinstance(coarse, dict)
    zeros = {key: torch.zeros_like(band) for key, band in fine.items()}  # type: ignore[union-attr]
    expected = iswt([approx, coarse | {"dd": zeros["dd"]}, zeros], "db2", axes=(0, 1))
    del coarse["dd"]
    assert torch.equal(iswt([approx, coarse, None], "db2", axes=(0, 1)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    x = tensor(0, 3, 12, 10, positive=True).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        levels = swt(x, "9/7", axes=(1, 2), level=2)
        back = iswt(levels, "9/7", axes=(1, 2))
    assert {band.dtype for band in flat(levels)} == {back.dtype} == {dtype}
    assert float((back.double() - x.double()).abs().max()) <= 32 * torch.finfo(dtype).eps


# Derivatives, and the plain form for compilers


def there_and_back(x: Tensor) -> Tensor:
    approx, *details = swt(x, "db2", axes=(-1, -2), level=2)
    squared = [{key: band**2 for key, band in detail.items()} for detail in details]  # type: ignore[union-attr]
    return iswt([approx, *squared], "db2", axes=(-1, -2))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on the first jvp
def test_derivatives_of_both_directions() -> None:
    x = tensor(0, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(there_and_back, (x,), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(there_and_back, (x,), fast_mode=True)
    stacked = torch.stack((x.detach(), 2 * x.detach()))
    torch.testing.assert_close(torch.func.vmap(there_and_back)(stacked), there_and_back(stacked))


@given(name=names, size=st.integers(1, 24), spacing=st.sampled_from([1, 2, 4]), axis=st.sampled_from([-1, -2]))
def test_both_forms_agree(name: str, size: int, spacing: int, axis: int) -> None:
    shape = (2, size, 3) if axis == -2 else (2, 3, size)
    x = tensor(size, *shape, dtype=torch.float64).requires_grad_()
    options: dict[str, Any] = {"dim": axis, "boundary": "periodization", "spacing": spacing}
    results = []
    for forth, back in ((lift, unlift), (lift_in_place, unlift_in_place)):
        approx, detail = forth(x, scheme(name), **options)
        merged = back(approx.square(), detail.square(), scheme(name), **options)
        results.append((approx, detail, merged, *torch.autograd.grad(merged.square().sum(), x)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-11, atol=1e-11)


def test_nothing_is_saved_for_the_backward_pass() -> None:
    saved: list[Tensor] = []
    x = tensor(0, 3, 16, 15).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        iswt(swt(x, "9/7", axes=(1, 2), level=2), "9/7", axes=(1, 2)).sum().backward()
    assert saved == []
    torch.testing.assert_close(x.grad, torch.ones_like(x))


# Errors


def test_bands_of_several_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"iswt needs bands of one shape, got \(4,\), \(3,\)"):
        iswt([torch.zeros(4), {"d": torch.zeros(3)}], "haar")
    with pytest.raises(ValueError, match="iswt needs an approximation and at least one level of details, got 1"):
        iswt([torch.zeros(4)], "haar")
    with pytest.raises(ValueError, match="swt needs level of at least 1, got 0"):
        swt(torch.zeros(4), "haar", level=0)
    with pytest.raises(ValueError, match=r"swt needs a tensor without empty sides along \(-1,\), got \(4, 0\)"):
        swt(torch.zeros(4, 0), "haar")
