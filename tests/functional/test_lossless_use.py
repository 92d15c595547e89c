"""Lossless wavelets in use: the ranges of their bands, devices, and what they refuse."""

import re
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional.lossless import lossless_dwt1d, lossless_dwt2d, lossless_idwt1d, lossless_idwt2d
from tests.functional.integers import dtypes, flat, integers, wavelets
from tests.strategies import seeds

# Ranges


LOW, HIGH = [0, 1, 1, 1, 0], [0, 1, 0]  # what raises an approximation and a detail most; their complements lower it


def extreme(down: list[int], across: list[int], top: int) -> Iterable[Tensor]:
    """Images of zeros and a greatest value that drive one band as far up, and as far down, as they can."""
    for flipped in (False, True):
        rows = [[int((v == w) != flipped) for w in across] for v in down]
        yield top * torch.tensor(rows)


@pytest.mark.parametrize("bits", [3, 8, 10, 16])
def test_ranges_of_the_5_3_bands_are_reached(bits: int) -> None:
    most, q = 2**bits - 1, 2 ** (bits - 2)
    half = 5 * q // 2
    ranges = [(2 - half, most + half), (2 - 6 * q, 6 * q - 1), (2 - 6 * q, 6 * q - 2), (-2 * most, 2 * most)]
    if bits == 8:
        assert ranges == [(-158, 415), (-382, 383), (-382, 382), (-510, 510)]
    patterns = [(LOW, LOW), (HIGH, LOW), (LOW, HIGH), (HIGH, HIGH)]
    for band, ((down, across), limits) in enumerate(zip(patterns, ranges, strict=True)):
        values = [flat(lossless_dwt2d(x, "5/3"))[band] for x in extreme(down, across, most)]
        assert (min(int(v.min()) for v in values), max(int(v.max()) for v in values)) == limits


@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=seeds(), saturated=st.booleans())
def test_ranges_of_8_bits_are_kept(size: tuple[int, int], seed: int, saturated: bool) -> None:
    x = 255 * integers(seed, *size, bits=1) if saturated else integers(seed, *size, bits=8)
    ranges = {
        "5/3": [(-158, 415), (-382, 383), (-382, 382), (-510, 510)],
        "haar": [(0, 255), (-255, 255), (-255, 255), (-510, 510)],
    }
    for wavelet, limits in ranges.items():
        for band, (low, high) in zip(flat(lossless_dwt2d(x, wavelet)), limits, strict=True):
            assert band.numel() == 0 or (low <= int(band.min()) and int(band.max()) <= high)


@wavelets
def test_int16_holds_pyramids_of_8_bit_images(wavelet: str) -> None:
    narrow = 255 * integers(0, 128, 128, bits=1)
    wide = narrow.long()
    for _ in range(7):
        for band, expected in zip(
            flat(lossless_dwt2d(narrow, wavelet)), flat(lossless_dwt2d(wide, wavelet)), strict=True
        ):
            assert torch.equal(band.long(), expected)
        narrow, wide = lossless_dwt2d(narrow, wavelet)[0], lossless_dwt2d(wide, wavelet)[0]


@pytest.mark.gpu
@dtypes
@wavelets
@pytest.mark.parametrize("size", [(64, 96), (65, 31), (1, 1)], ids=str)
def test_every_device_has_the_same_bits(wavelet: str, dtype: torch.dtype, size: tuple[int, int]) -> None:
    x = integers(0, 2, *size, dtype=dtype)
    coefficients = lossless_dwt2d(x.cuda(), wavelet)
    for band, expected in zip(flat(coefficients), flat(lossless_dwt2d(x, wavelet)), strict=True):
        assert torch.equal(band.cpu(), expected)
    assert torch.equal(lossless_idwt2d(coefficients, wavelet).cpu(), x)


# Errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.complex64, torch.uint16], ids=str)
def test_other_dtypes_than_integers_are_refused(dtype: torch.dtype) -> None:
    x, good = torch.zeros(4, 4, dtype=dtype), torch.zeros(4, 4, dtype=torch.int16)
    kinds = r"needs integers \(uint8, int8, int16, int32, int64\)"
    message = rf"{kinds}, got {dtype}; for floats use the layer Wavelet$"
    with pytest.raises(TypeError, match=f"lossless_dwt1d {message}"):
        lossless_dwt1d(x, "haar")
    with pytest.raises(TypeError, match=f"lossless_dwt2d {message}"):
        lossless_dwt2d(x, "haar")
    with pytest.raises(TypeError, match=f"lossless_idwt1d {message}"):
        lossless_idwt1d(good, x, "haar")
    with pytest.raises(TypeError, match=f"lossless_idwt2d {message}"):
        lossless_idwt2d((good, (good, good, x)), "haar")


def test_other_objects_than_tensors_are_refused() -> None:
    with pytest.raises(TypeError, match="lossless_dwt2d needs tensors, got ndarray"):
        lossless_dwt2d(np.zeros((4, 4), dtype=np.int16), "haar")  # type: ignore[arg-type]


def test_bands_of_two_dtypes_are_refused() -> None:
    short, long = torch.zeros(4, dtype=torch.int16), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(TypeError, match=r"lossless_idwt1d needs bands of one dtype, got torch\.int16 and torch\.int64"):
        lossless_idwt1d(short, long, "haar")


def test_missing_axes_and_empty_sides_are_refused() -> None:
    line, image = (rf"needs a tensor of shape \(\.\.\., {axes}\) without empty sides" for axes in ("N", "H, W"))
    with pytest.raises(ValueError, match=rf"lossless_dwt1d {line}, got \(\)"):
        lossless_dwt1d(torch.tensor(1), "haar")
    with pytest.raises(ValueError, match=rf"lossless_dwt2d {image}, got \(4,\)"):
        lossless_dwt2d(torch.zeros(4).int(), "haar")
    with pytest.raises(ValueError, match=rf"lossless_dwt1d {line}, got \(3, 0\)"):
        lossless_dwt1d(torch.zeros(3, 0).int(), "5/3")
    with pytest.raises(ValueError, match=rf"lossless_dwt2d {image}, got \(0, 3\)"):
        lossless_dwt2d(torch.zeros(0, 3).int(), "5/3")


def test_unknown_wavelets_are_refused() -> None:
    x = torch.zeros(4, 4).int()
    message = "needs a wavelet that .* lists, such as .*, got 'dmey'$"
    with pytest.raises(ValueError, match=f"^lossless_dwt1d {message}"):
        lossless_dwt1d(x, "dmey")
    with pytest.raises(ValueError, match=f"^lossless_dwt2d {message}"):
        lossless_dwt2d(x, "dmey")
    with pytest.raises(ValueError, match=f"^lossless_idwt1d {message}"):
        lossless_idwt1d(x, x, "dmey")
    with pytest.raises(ValueError, match=f"^lossless_idwt2d {message}"):
        lossless_idwt2d((x, (x, x, x)), "dmey")


def not_fitting(*shapes: tuple[int, ...]) -> str:
    return f"needs bands that fit together, got shapes {', '.join(map(str, shapes))}"


def not_halves(num_details: int, num_approximations: int) -> str:
    return f"needs as many details as approximations or one fewer, got {num_details} for {num_approximations}"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3,), (4,)), not_halves(4, 3)),
        (((5,), (3,)), not_halves(3, 5)),
        (((2, 4), (4,)), not_fitting((2, 4), (4,))),
        (((2, 4), (3, 4)), not_fitting((2, 4), (3, 4))),
    ],
    ids=str,
)
def test_lines_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]], message: str) -> None:
    approx, detail = (torch.zeros(shape).int() for shape in shapes)
    with pytest.raises(ValueError, match=f"^lossless_idwt1d {re.escape(message)}$"):
        lossless_idwt1d(approx, detail, "5/3")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 4), (2, 4), (4, 4), (2, 4)), not_halves(2, 4)),
        (((4, 4), (4, 2), (4, 4), (4, 4)), None),
        (((4, 4), (5, 4), (4, 4), (5, 4)), not_halves(5, 4)),
        (((4, 4), (4, 4), (4, 4), (4, 3)), None),
        (((2, 4, 4), (4, 4), (2, 4, 4), (2, 4, 4)), None),
        (((1, 4, 4), (2, 4, 4), (1, 4, 4), (1, 4, 4)), None),
    ],
    ids=str,
)
def test_images_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...], message: str | None) -> None:
    approx, *details = (torch.zeros(shape).int() for shape in shapes)
    with pytest.raises(ValueError, match=f"^lossless_idwt2d {re.escape(message or not_fitting(*shapes))}$"):
        lossless_idwt2d((approx, (details[0], details[1], details[2])), "5/3")


def test_bands_on_two_devices_are_refused() -> None:
    here = torch.zeros(4).int()
    with pytest.raises(ValueError, match="lossless_idwt1d needs its bands on one device, got cpu and meta"):
        lossless_idwt1d(here, here.to("meta"), "haar")
