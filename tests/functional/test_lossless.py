"""Lossless wavelets: every bit returns, also where sums wrap around; bands are those of the standard and of a codec."""

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liftlayers.functional.lossless import lossless_dwt1d, lossless_dwt2d, lossless_idwt1d, lossless_idwt2d
from tests.devices import on_each_device
from tests.functional.integers import dtypes, flat, integers, wavelets
from tests.strategies import seeds

# The reference: the standard's equations, term by term, in Python's integers, on the extended line.


def reference_1d(line: list[int], wavelet: str) -> tuple[list[int], list[int]]:
    last = len(line) - 1

    def x(i: int) -> int:
        if wavelet == "haar":
            return line[min(i, last)]
        i = i % (2 * last) if last else 0
        return line[min(i, 2 * last - i)]

    def d(n: int) -> int:
        return x(2 * n + 1) - (x(2 * n) if wavelet == "haar" else (x(2 * n) + x(2 * n + 2)) // 2)

    def a(n: int) -> int:
        return x(2 * n) + (d(n) // 2 if wavelet == "haar" else (d(n - 1) + d(n) + 2) // 4)

    return [a(n) for n in range((last + 2) // 2)], [d(n) for n in range((last + 1) // 2)]


def reference_2d(image: list[list[int]], wavelet: str) -> list[list[list[int]]]:
    """Approximation, horizontal, vertical and diagonal detail: columns first, then rows."""

    def along_rows(rows: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        pairs = [reference_1d(row, wavelet) for row in rows]
        return [low for low, _ in pairs], [high for _, high in pairs]

    def transposed(rows: list[list[int]]) -> list[list[int]]:
        return [list(column) for column in zip(*rows, strict=True)]

    low, high = along_rows(transposed(image))
    (approx, vertical), (horizontal, diagonal) = along_rows(transposed(low)), along_rows(transposed(high))
    return [approx, horizontal, vertical, diagonal]


@wavelets
@pytest.mark.parametrize("size", range(1, 130))
def test_lines_agree_with_the_standard_and_return(wavelet: str, size: int) -> None:
    x = integers(size, 3, size, dtype=torch.int32, bits=16) - 2**15
    approx, detail = lossless_dwt1d(x, wavelet)
    for line, *bands in zip(x.tolist(), approx.tolist(), detail.tolist(), strict=True):
        assert tuple(bands) == reference_1d(line, wavelet)
    assert torch.equal(lossless_idwt1d(approx, detail, wavelet), x)


@wavelets
@pytest.mark.parametrize("size", [*itertools.product(range(1, 8), repeat=2), (31, 32), (33, 2)], ids=str)
def test_images_agree_with_the_standard_and_return(wavelet: str, size: tuple[int, int]) -> None:
    x = integers(0, *size, bits=8)
    coefficients = lossless_dwt2d(x, wavelet)
    for band, expected in zip(flat(coefficients), reference_2d(x.tolist(), wavelet), strict=True):
        rows, columns = band.shape
        assert [band[i].tolist() for i in range(rows)] == expected or not columns * rows
    assert torch.equal(lossless_idwt2d(coefficients, wavelet), x)


@pytest.mark.parametrize("size", [(16, 24), (15, 18), (22, 11), (7, 8)], ids=str)
def test_approximations_are_those_of_a_jpeg_2000_codec(size: tuple[int, int]) -> None:
    """A codec that decodes at a half and a quarter of the size returns its approximations, clipped to 8 bits.

    Sizes of one more than a multiple of four are left out: Pillow rounds a quarter of them down by one sample.
    """
    features = pytest.importorskip("PIL.features", reason="needs Pillow, from the extra `test`")
    if not features.check("jpg_2000"):
        pytest.skip("needs Pillow built with OpenJPEG")
    from PIL import Image

    x = integers(3, *size, bits=8)
    file = io.BytesIO()
    Image.fromarray(x.numpy().astype(np.uint8)).save(file, "JPEG2000", irreversible=False, num_resolutions=3)
    approx = x
    for level in (1, 2):
        approx, _ = lossless_dwt2d(approx, "5/3")
        with Image.open(io.BytesIO(file.getvalue())) as image:
            image.reduce = level  # type: ignore[attr-defined]
            decoded = np.asarray(image)
        np.testing.assert_array_equal(approx.clamp(0, 255).numpy(), decoded)


def test_order_sign_and_scale_of_the_bands() -> None:
    """Written out: rows differ by 8, columns by 2, and there is no gain."""
    x = torch.tensor([[10, 12], [18, 20]])
    for wavelet in ("haar", "5/3"):
        approx, (horizontal, vertical, diagonal) = lossless_dwt2d(x, wavelet)
        assert [int(band) for band in (approx, horizontal, vertical, diagonal)] == [15, 8, 2, 0]


@wavelets
def test_float_bands_differ_by_scale_sign_and_rounding(wavelet: str) -> None:
    pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")
    x = integers(0, 32, 48, bits=8)
    if wavelet == "haar":
        approx, details = pywt.dwt2(x.numpy(), "haar", "periodization")
    else:
        approx, details = pywt.dwt2(x.numpy(), "bior2.2", "reflect")
    first = 0 if wavelet == "haar" else 1  # where its longer output begins to differ from the border
    ours = flat(lossless_dwt2d(x, wavelet))
    for band, theirs, scale in zip(ours, [approx, *details], [0.5, -1.0, -1.0, 2.0], strict=True):
        rows, columns = band.shape
        expected = scale * theirs[first : first + rows, first : first + columns]
        assert np.abs(band.numpy() - expected).max() <= 2


@pytest.mark.parametrize("alias", ["bior2.2", "5/3"])
def test_aliases(alias: str) -> None:
    x = integers(0, 9, 7)
    for band, expected in zip(flat(lossless_dwt2d(x, alias)), flat(lossless_dwt2d(x, "5/3")), strict=True):
        assert torch.equal(band, expected)


# Every value


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8], ids=str)
@wavelets
def test_every_pair_of_8_bits_returns(wavelet: str, dtype: torch.dtype) -> None:
    limits = torch.iinfo(dtype)
    values = torch.arange(limits.min, limits.max + 1)
    pairs = torch.cartesian_prod(values, values)
    bands = lossless_dwt1d(pairs.to(dtype), wavelet)
    assert len(torch.cat(bands, dim=-1).unique(dim=0)) == 2**16  # a permutation of all pairs
    assert torch.equal(lossless_idwt1d(*bands, wavelet), pairs.to(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8], ids=str)
def test_every_pair_of_8_bits_is_as_the_s_transform_says(dtype: torch.dtype) -> None:
    limits = torch.iinfo(dtype)
    values = torch.arange(limits.min, limits.max + 1)
    pairs = torch.cartesian_prod(values, values)
    details = pairs[:, 1:] - pairs[:, :1]
    exact = torch.cat((pairs[:, :1] + torch.div(details, 2, rounding_mode="floor"), details), dim=1)
    assert torch.equal(torch.cat(lossless_dwt1d(pairs.to(torch.int16), "haar"), dim=1).long(), exact)
    fit = ((details >= limits.min) & (details <= limits.max)).flatten()
    assert torch.equal(torch.cat(lossless_dwt1d(pairs[fit].to(dtype), "haar"), dim=1).long(), exact[fit])


@dtypes
@wavelets
def test_extremes_return(wavelet: str, dtype: torch.dtype) -> None:
    """Every line of up to five samples out of those where sums leave the range."""
    low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    values = torch.tensor([low, low + 1, high // 2, high // 2 + 1, high - 1, high], dtype=dtype)
    for size in range(1, 6):
        x = torch.cartesian_prod(*[values] * size).reshape(-1, size)
        assert torch.equal(lossless_idwt1d(*lossless_dwt1d(x, wavelet), wavelet), x)


@dtypes
@wavelets
@given(size=st.integers(1, 9), data=st.data())
def test_bands_that_fit_are_those_of_the_equations(
    wavelet: str, dtype: torch.dtype, size: int, data: st.DataObject
) -> None:
    """Also where a sum in between does not fit: near the limits, with small details."""
    low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    start = data.draw(st.sampled_from([low, low + (high - low) // 2, high - 40]))
    line = [start + step for step in data.draw(st.lists(st.integers(0, 40), min_size=size, max_size=size))]
    approx, detail = lossless_dwt1d(torch.tensor(line, dtype=dtype), wavelet)
    expected = reference_1d(line, wavelet)
    if all(low <= value <= high for band in expected for value in band):
        assert (approx.tolist(), detail.tolist()) == expected


@dtypes
@wavelets
def test_details_as_large_as_they_fit_are_those_of_the_equations(wavelet: str, dtype: torch.dtype) -> None:
    """Two of them, added up, do not fit, but their mean does."""
    line = [0, torch.iinfo(dtype).max] * 2 + [0]
    approx, detail = lossless_dwt1d(torch.tensor(line, dtype=dtype), wavelet)
    assert (approx.tolist(), detail.tolist()) == reference_1d(line, wavelet)


@on_each_device
@dtypes
@wavelets
@given(lead=st.lists(st.integers(0, 3), max_size=3), size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=seeds())
def test_every_shape_returns(
    wavelet: str, dtype: torch.dtype, device: str, lead: list[int], size: tuple[int, int], seed: int
) -> None:
    x = integers(seed, *lead, *size, dtype=dtype).to(device)
    before = x.clone()
    coefficients = lossless_dwt2d(x, wavelet)
    returned = lossless_idwt2d(coefficients, wavelet)
    assert torch.equal(returned, x)
    assert torch.equal(x, before)
    assert {band.dtype for band in flat(coefficients)} == {returned.dtype} == {dtype}
    rows, columns = size
    few, many = (rows // 2, columns // 2), (-(-rows // 2), -(-columns // 2))
    sizes = [many, (few[0], many[1]), (many[0], few[1]), few]
    assert [band.shape for band in flat(coefficients)] == [(*lead, *size) for size in sizes]
    line = x.flatten(-2)
    assert torch.equal(lossless_idwt1d(*lossless_dwt1d(line, wavelet), wavelet), line)


@wavelets
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=seeds())
def test_bands_return_too(wavelet: str, size: tuple[int, int], seed: int) -> None:
    """Any bands are those of an image: the transform is a permutation of all images."""
    bands = [
        integers(seed + i, *band.shape)
        for i, band in enumerate(flat(lossless_dwt2d(torch.zeros(size).short(), wavelet)))
    ]
    returned = lossless_dwt2d(lossless_idwt2d((bands[0], (bands[1], bands[2], bands[3])), wavelet), wavelet)
    assert all(torch.equal(a, b) for a, b in zip(flat(returned), bands, strict=True))


@wavelets
def test_layout_changes_nothing(wavelet: str) -> None:
    x = integers(0, 2, 3, 6, 9)
    for other in (
        x.contiguous(memory_format=torch.channels_last),
        x.mT.contiguous().mT,
        x.repeat(1, 1, 2, 1)[:, :, 6:],
    ):
        for band, expected in zip(flat(lossless_dwt2d(other, wavelet)), flat(lossless_dwt2d(x, wavelet)), strict=True):
            assert torch.equal(band, expected)


def test_vmap_maps_over_a_further_axis() -> None:
    x = integers(0, 4, 5, 6)
    mapped = torch.func.vmap(lambda image: lossless_dwt2d(image, "5/3"))(x)
    for band, expected in zip(flat(mapped), flat(lossless_dwt2d(x, "5/3")), strict=True):
        assert torch.equal(band, expected)
