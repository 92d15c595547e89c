"""Named wavelets agree with PyWavelets under every boundary rule, and come back from every size."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional.dwt import dwt1d, dwt2d, idwt1d, idwt2d
from liftlayers.functional.haar import haar_analysis
from liftlayers.functional.lossless import lossless_idwt2d
from liftlayers.functional.schemes import SCHEMES
from liftlayers.functional.wavedec import wavedec2, waverec2
from tests.devices import on_each_device
from tests.functional.wavelets import BOUNDARIES, EXPANSIVE, NON_EXPANSIVE, flat, oracle
from tests.strategies import seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

names = st.sampled_from(list(SCHEMES))
boundaries = st.sampled_from(BOUNDARIES)
leading = st.lists(st.integers(1, 3), max_size=3).map(tuple)
SYMMETRIC = ["bior2.2", "bior2.4", "bior2.6", "bior4.4"]  # about a sample, and even ones in PyWavelets too


def close(actual: Tensor, expected: np.ndarray, *, atol: float = 1e-12) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol)


# PyWavelets


@given(name=names, shape=leading, size=st.integers(1, 40), boundary=st.sampled_from(EXPANSIVE), seed=seeds())
def test_lines_that_grow_agree_with_pywavelets(
    name: str, shape: tuple[int, ...], size: int, boundary: str, seed: int
) -> None:
    x = tensor(seed, *shape, size, dtype=torch.float64)
    for band, expected in zip(
        dwt1d(x, name, boundary=boundary), pywt.dwt(x.numpy(), oracle(name), boundary), strict=True
    ):
        close(band, expected)


@given(name=names, shape=leading, pairs=st.integers(1, 20), seed=seeds())
def test_lines_that_repeat_agree_with_pywavelets(name: str, shape: tuple[int, ...], pairs: int, seed: int) -> None:
    x = tensor(seed, *shape, 2 * pairs, dtype=torch.float64)
    for band, expected in zip(dwt1d(x, name), pywt.dwt(x.numpy(), oracle(name), "periodization"), strict=True):
        close(band, expected)


@given(name=st.sampled_from(SYMMETRIC), size=st.integers(2, 40), seed=seeds())
def test_mirrored_lines_are_part_of_what_pywavelets_returns(name: str, size: int, seed: int) -> None:
    x = tensor(seed, 3, size, dtype=torch.float64)
    theirs = pywt.dwt(x.numpy(), oracle(name), "reflect")
    skipped = oracle(name).dec_len // 4
    for band, expected in zip(dwt1d(x, name, boundary="reflect"), theirs, strict=True):
        close(band, expected[:, skipped : skipped + band.shape[-1]])


@given(name=names, shape=leading, boundary=boundaries, sizes=st.tuples(*[st.integers(1, 20)] * 2), seed=seeds())
def test_images_agree_with_pywavelets(
    name: str, shape: tuple[int, ...], boundary: str, sizes: tuple[int, int], seed: int
) -> None:
    if boundary == "reflect":
        boundary = "symmetric"
    if boundary == "periodization":
        sizes = 2 * sizes[0], 2 * sizes[1]
    x = tensor(seed, *shape, *sizes, dtype=torch.float64)
    theirs = pywt.dwt2(x.numpy(), oracle(name), boundary)
    for band, expected in zip(flat(dwt2d(x, name, boundary=boundary)), flat(theirs), strict=True):
        close(band, expected)


@given(name=names, boundary=boundaries, num=st.tuples(*[st.integers(10, 16)] * 2), seed=seeds())
def test_synthesis_of_any_bands_agrees_with_pywavelets(
    name: str, boundary: str, num: tuple[int, int], seed: int
) -> None:
    """Also of bands that no image has."""
    if boundary == "reflect":
        boundary = "zero"
    bands = [tensor(seed + i, 2, *num, dtype=torch.float64) for i in range(4)]
    theirs = pywt.idwt2((bands[0].numpy(), tuple(band.numpy() for band in bands[1:])), oracle(name), boundary)
    close(idwt2d((bands[0], (bands[1], bands[2], bands[3])), name, boundary=boundary), theirs)
    lines = pywt.idwt(bands[0].numpy(), bands[1].numpy(), oracle(name), boundary)
    close(idwt1d(bands[0], bands[1], name, boundary=boundary), lines)


def test_nine_seven_agrees_with_the_table_of_pywavelets() -> None:
    """Which holds its filters to twelve digits."""
    x = tensor(0, 3, 32, 24, dtype=torch.float64, positive=True)
    for boundary in ("periodization", *EXPANSIVE):
        theirs = pywt.dwt2(x.numpy(), "bior4.4", boundary)
        for band, expected in zip(flat(dwt2d(x, "9/7", boundary=boundary)), flat(theirs), strict=True):
            close(band, expected, atol=5e-12)


def test_haar_is_haar() -> None:
    x = tensor(0, 2, 3, 8, 6, dtype=torch.float64)
    approx, detail = haar_analysis(x)
    mine, details = dwt2d(x, "haar")
    torch.testing.assert_close(mine, approx, rtol=0, atol=1e-15)
    torch.testing.assert_close(torch.cat(details, dim=1), detail, rtol=0, atol=1e-15)


# There and back

KINDS = ("normal", "image", "signs")


@on_each_device
@pytest.mark.parametrize("name", list(SCHEMES))
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-14), (torch.float32, 1e-6)], ids=str)
@given(sizes=st.tuples(*[st.integers(1, 129)] * 2), seed=seeds(), boundary=boundaries, kind=st.sampled_from(KINDS))
@settings(max_examples=8)
def test_every_size_comes_back(
    name: str,
    dtype: torch.dtype,
    bound: float,
    device: str,
    sizes: tuple[int, int],
    seed: int,
    boundary: str,
    kind: str,
) -> None:
    x = tensor(seed, *sizes, dtype=dtype, positive=kind == "image").to(device)
    x = x.sign() if kind == "signs" else x  # nothing is worse: all samples are as large as the largest
    size = None if boundary in NON_EXPANSIVE else sizes
    returned = idwt2d(dwt2d(x, name, boundary=boundary), name, boundary=boundary, size=size)
    assert returned.shape == x.shape
    assert returned.dtype == dtype
    error = returned - x
    assert float(error.norm()) <= bound * float(x.norm())
    assert float(error.abs().max()) <= (2 if kind == "signs" else 1) * bound * float(x.abs().max())


@given(name=names, size=st.integers(1, 129), boundary=st.sampled_from(NON_EXPANSIVE), seed=seeds())
def test_lines_that_do_not_grow(name: str, size: int, boundary: str, seed: int) -> None:
    x = tensor(seed, 2, size, dtype=torch.float64)
    approx, detail = dwt1d(x, name, boundary=boundary)
    assert (approx.shape, detail.shape) == ((2, (size + 1) // 2), (2, size // 2))
    for size_again in (None, size):
        returned = idwt1d(approx, detail, name, boundary=boundary, size=size_again)
        torch.testing.assert_close(returned, x, rtol=0, atol=1e-13)


@given(name=names, num=st.integers(1, 20), missing=st.integers(0, 1), boundary=st.sampled_from(NON_EXPANSIVE))
def test_bands_come_back_too(name: str, num: int, missing: int, boundary: str) -> None:
    """The two rules are one-to-one: any bands are those of an image."""
    bands = tensor(0, 3, num, dtype=torch.float64), tensor(1, 3, num - missing, dtype=torch.float64)
    again = dwt1d(idwt1d(*bands, name, boundary=boundary), name, boundary=boundary)
    for band, expected in zip(again, bands, strict=True):
        torch.testing.assert_close(band, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["haar", "bior2.2", "bior2.4", "bior1.3"])
@given(value=st.floats(-1e6, 1e6, width=32), size=st.integers(1, 20), boundary=st.sampled_from(NON_EXPANSIVE))
def test_a_constant_has_exactly_zero_detail(name: str, value: float, size: int, boundary: str) -> None:
    if name == "bior2.4" and size < 2:
        return
    _, detail = dwt1d(torch.full((size,), value), name, boundary=boundary)
    assert not detail.any()


def test_an_empty_batch_has_empty_bands() -> None:
    bands = dwt2d(torch.zeros(0, 3, 5, 6), "9/7")
    assert [tuple(band.shape) for band in flat(bands)] == [(0, 3, 3, 3), (0, 3, 2, 3), (0, 3, 3, 3), (0, 3, 2, 3)]
    assert idwt2d(bands, "9/7").shape == (0, 3, 5, 6)


@given(name=names, boundary=boundaries)
def test_inputs_are_never_written_to(name: str, boundary: str) -> None:
    x = tensor(0, 2, 8, 10)
    before = x.clone()
    bands = dwt2d(x, name, boundary=boundary)
    copies = [band.clone() for band in flat(bands)]
    idwt2d(bands, name, boundary=boundary)
    assert torch.equal(x, before)
    assert x._version == 0
    assert all(torch.equal(band, copy) for band, copy in zip(flat(bands), copies, strict=True))


@given(name=names, boundary=boundaries)
def test_layout_changes_nothing(name: str, boundary: str) -> None:
    x = tensor(0, 2, 3, 8, 10)
    expected = flat(dwt2d(x, name, boundary=boundary))
    padded = torch.zeros(2, 3, 10, 14)
    padded[..., 1:9, 2:12] = x
    for other in (x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT, padded[..., 1:9, 2:12]):
        assert all(map(torch.equal, flat(dwt2d(other, name, boundary=boundary)), expected))


# Precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", list(SCHEMES))
def test_accuracy_in_half_precision(dtype: torch.dtype, name: str) -> None:
    """Relative to the largest value: bands within 16 units of rounding, there and back within 64."""
    x = tensor(0, 3, 32, 32, positive=True).to(dtype)
    eps = torch.finfo(dtype).eps
    bands = dwt2d(x, name)
    exact = flat(dwt2d(x.double(), name))
    for band, expected in zip(flat(bands), exact, strict=True):
        assert band.dtype == dtype
        assert float((band.double() - expected).abs().max()) <= 16 * eps * float(exact[0].abs().max())
    returned = idwt2d(bands, name)
    assert returned.dtype == dtype
    assert float((returned.double() - x.double()).abs().max()) <= 64 * eps


def test_autocast_changes_nothing() -> None:
    x = tensor(0, 3, 9, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bands = dwt2d(x, "9/7")
        returned = idwt2d(bands, "9/7")
    assert all(map(torch.equal, flat(bands), flat(dwt2d(x, "9/7"))))
    assert torch.equal(returned, idwt2d(bands, "9/7"))


# Errors


@pytest.mark.parametrize("function", [dwt1d, dwt2d])
def test_names_rules_and_kinds_that_are_refused(function) -> None:
    x, who = torch.zeros(4, 4), function.__name__
    with pytest.raises(ValueError, match=rf"{who} needs a wavelet among haar, db2, .*, 9/7, got 'bior5\.5'$"):
        function(x, "bior5.5")
    with pytest.raises(ValueError, match=rf"{who} needs a wavelet among haar, .*, got \['haar'\]$"):
        function(x, ["haar"])
    with pytest.raises(ValueError, match=f"{who} needs a boundary among 'periodization', 'reflect', .*, got 'wrap'$"):
        function(x, "haar", boundary="wrap")
    with pytest.raises(TypeError, match=rf"{who} needs floating-point tensors, got torch\.uint8; call \.float\(\)"):
        function(x.byte(), "haar")
    with pytest.raises(TypeError, match=rf"{who} needs .*, got torch\.complex64; pass \.real and \.imag separately$"):
        function(torch.complex(x, x), "haar")
    with pytest.raises(TypeError, match=f"{who} needs tensors, got ndarray"):
        function(x.numpy(), "haar")


@pytest.mark.parametrize(
    ("function", "shape", "needed"),
    [
        (dwt1d, (), "(..., N)"),
        (dwt1d, (3, 0), "(..., N)"),
        (dwt2d, (4,), "(..., H, W)"),
        (dwt2d, (2, 0, 3), "(..., H, W)"),
    ],
)
def test_empty_sides_and_missing_axes_are_refused(function, shape: tuple[int, ...], needed: str) -> None:
    message = f"{function.__name__} needs a tensor of shape {needed} without empty sides, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        function(torch.zeros(shape), "haar")


def bands_of(*shapes: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    approx, *details = (torch.zeros(shape) for shape in shapes)
    return approx, (details[0], details[1], details[2])


def test_bands_that_do_not_fit_are_refused() -> None:
    message = r"needs as many details as approximations or one fewer, got {} for {}$"
    for approx, detail in ((3, 1), (3, 4), (0, 0)):
        with pytest.raises(ValueError, match="idwt1d " + message.format(detail, approx)):
            idwt1d(torch.zeros(approx), torch.zeros(detail), "haar")
    with pytest.raises(ValueError, match=r"idwt1d needs bands that fit together, got shapes \(2, 3\), \(3, 3\)"):
        idwt1d(torch.zeros(2, 3), torch.zeros(3, 3), "haar")
    with pytest.raises(
        ValueError, match=r"idwt2d needs bands that fit together, got shapes \(4, 4\), \(4, 4\), \(4, 3\)"
    ):
        idwt2d(bands_of((4, 4), (4, 4), (4, 3), (4, 4)), "haar")
    with pytest.raises(
        ValueError, match=r"idwt1d needs as many details .*, at least 5, .* 'bior4\.4' .*, got 4 and 4$"
    ):
        idwt1d(torch.zeros(4), torch.zeros(4), "9/7", boundary="zero")
    with pytest.raises(ValueError, match=r"idwt1d needs as many details .*, at least 2, .*, got 4 and 5$"):
        idwt1d(torch.zeros(5), torch.zeros(4), "db2", boundary="zero")


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"idwt1d needs a size of 7 for 4 \+ 3 coefficients, got 8$"):
        idwt1d(torch.zeros(4), torch.zeros(3), "haar", size=8)
    with pytest.raises(ValueError, match=r"idwt2d needs a size of 7 or 8 for 5 coefficients, got 6$"):
        idwt2d(bands_of(*[(5, 5)] * 4), "db2", boundary="symmetric", size=(8, 6))


def test_other_nests_are_refused() -> None:
    approx, detail = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    message = r"idwt2d needs \(approx, \(horizontal, vertical, diagonal\)\), got "
    with pytest.raises(TypeError, match=message + r"\(Tensor, Tensor\)$"):  # three images are not three bands
        idwt2d((approx, detail), "haar")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message + r"\(Tensor, \(Tensor, Tensor\)\)$"):
        idwt2d((approx, (detail, detail)), "haar")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message + "Tensor$"):
        idwt2d(approx, "haar")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="idwt2d needs a size of two numbers, height and width, got 8"):
        idwt2d((approx, (detail, detail, detail)), "haar", size=8)  # type: ignore[arg-type]


def test_bands_of_two_kinds_or_devices_are_refused() -> None:
    with pytest.raises(TypeError, match=r"idwt1d needs bands of one dtype, got torch\.float32 and torch\.float64"):
        idwt1d(torch.zeros(4), torch.zeros(4).double(), "haar")
    with pytest.raises(ValueError, match="idwt1d needs its bands on one device, got cpu and meta"):
        idwt1d(torch.zeros(4), torch.zeros(4, device="meta"), "haar")
    with pytest.raises(TypeError, match=r"idwt1d needs floating-point tensors, got torch\.int64; call \.float\(\)"):
        idwt1d(torch.zeros(4), torch.zeros(4).long(), "haar")


def test_bands_and_images_may_be_written_into() -> None:
    """Also while autograd looks on, as whoever shrinks details does."""
    x = tensor(0, 3, 9, 12, dtype=torch.float64).requires_grad_()
    approx, details = dwt2d(x, "9/7", boundary="reflect")
    for band in (approx, *details):
        band.mul_(2)
    returned = idwt2d((approx, details), "9/7", boundary="reflect")
    torch.testing.assert_close(returned, 2 * x)
    returned.mul_(0.5)
    returned.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_nests_of_another_shape_are_refused() -> None:
    x = torch.rand(4, 4)
    with pytest.raises(TypeError, match=r"lossless_idwt2d needs \(approx, .*, got \(Tensor, Tensor\)"):
        lossless_idwt2d((x.int(), x.int()), "5/3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"wavedec2 needs a whole number of levels, got 2.0"):
        wavedec2(x, "haar", level=2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"waverec2 needs \[approx, details, \.\.\.\], coarsest first, got Tensor"):
        waverec2(x, "haar")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"waverec2 needs \(approx, .*, got \(Tensor, dict\)"):
        waverec2([x, {}], "haar")  # type: ignore[list-item]


@pytest.mark.parametrize("alias", ["db1", "bior1.1"])
def test_names_that_pywavelets_has_for_haar(alias: str) -> None:
    x = tensor(0, 8, 6, dtype=torch.float64)
    mine, theirs = dwt2d(x, alias), pywt.dwt2(x.numpy(), alias, "periodization")
    close(mine[0], theirs[0], atol=1e-12)
    assert torch.equal(mine[0], dwt2d(x, "haar")[0])
