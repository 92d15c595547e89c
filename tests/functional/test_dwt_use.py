"""Named wavelets in use: low precision, autocast, and what they refuse."""

import re

import pytest
import torch
from torch import Tensor

from liftlayers.functional.dwt import dwt1d, dwt2d, idwt1d, idwt2d
from liftlayers.functional.lossless import lossless_idwt2d
from liftlayers.functional.schemes import SCHEMES
from liftlayers.functional.wavedec import wavedec2, waverec2
from tests.functional.wavelets import assert_equals, flat
from tests.strategies import tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")


# Precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", list(SCHEMES))
def test_accuracy_in_half_precision(dtype: torch.dtype, name: str) -> None:
    """Relative to the largest value, bands are within 16 units of rounding and round trips within 64."""
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
def test_other_names_rules_and_dtypes_are_refused(function) -> None:
    x, who = torch.zeros(4, 4), function.__name__
    with pytest.raises(ValueError, match=rf"{who} needs a wavelet .*, got 'bior5\.5'$"):
        function(x, "bior5.5")
    with pytest.raises(ValueError, match=rf"{who} needs a wavelet .*, got \['haar'\]$"):
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
    with pytest.raises(ValueError, match="idwt2d needs a size of 2 numbers, one for each axis, got 8"):
        idwt2d((approx, (detail, detail, detail)), "haar", size=8)  # type: ignore[arg-type]


def test_bands_of_two_dtypes_or_devices_are_refused() -> None:
    with pytest.raises(TypeError, match=r"idwt1d needs bands of one dtype, got torch\.float32 and torch\.float64"):
        idwt1d(torch.zeros(4), torch.zeros(4).double(), "haar")
    with pytest.raises(ValueError, match="idwt1d needs its bands on one device, got cpu and meta"):
        idwt1d(torch.zeros(4), torch.zeros(4, device="meta"), "haar")
    with pytest.raises(TypeError, match=r"idwt1d needs floating-point tensors, got torch\.int64; call \.float\(\)"):
        idwt1d(torch.zeros(4), torch.zeros(4).long(), "haar")


def test_bands_and_images_may_be_written_into() -> None:
    """Also while autograd records, as when details are shrunk in place."""
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


def test_other_nests_in_the_functions_around_it_are_refused() -> None:
    x = torch.rand(4, 4)
    with pytest.raises(TypeError, match=r"lossless_idwt2d needs \(approx, .*, got \(Tensor, Tensor\)"):
        lossless_idwt2d((x.int(), x.int()), "5/3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"wavedec2 needs a whole number as level, got 2.0"):
        wavedec2(x, "haar", level=2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"waverec2 needs \[approx, details, \.\.\.\], coarsest first, got Tensor"):
        waverec2(x, "haar")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"waverec2 needs \(approx, .*, got \(Tensor, dict\)"):
        waverec2([x, {}], "haar")  # type: ignore[list-item]


@pytest.mark.parametrize("alias", ["db1", "bior1.1"])
def test_aliases_of_haar_in_pywavelets(alias: str) -> None:
    x = tensor(0, 8, 6, dtype=torch.float64)
    mine, theirs = dwt2d(x, alias), pywt.dwt2(x.numpy(), alias, "periodization")
    assert_equals(mine[0], theirs[0], atol=1e-12)
    assert torch.equal(mine[0], dwt2d(x, "haar")[0])
