"""Named wavelets agree with PyWavelets under every boundary rule, and every size comes back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liftlayers.functional.dwt import dwt1d, dwt2d, idwt1d, idwt2d
from liftlayers.functional.haar import haar_analysis
from liftlayers.functional.schemes import SCHEMES
from tests.devices import on_each_device
from tests.functional.wavelets import BOUNDARIES, EXPANSIVE, NON_EXPANSIVE, assert_equals, flat, oracle
from tests.strategies import seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")


names = st.sampled_from(list(SCHEMES))


boundaries = st.sampled_from(BOUNDARIES)


leading = st.lists(st.integers(1, 3), max_size=3).map(tuple)


SYMMETRIC = ["bior2.2", "bior2.4", "bior2.6", "bior4.4"]  # about a sample, and even ones in PyWavelets too


# PyWavelets


@given(name=names, shape=leading, size=st.integers(1, 40), boundary=st.sampled_from(EXPANSIVE), seed=seeds())
def test_lines_under_expansive_rules_agree_with_pywavelets(
    name: str, shape: tuple[int, ...], size: int, boundary: str, seed: int
) -> None:
    x = tensor(seed, *shape, size, dtype=torch.float64)
    for band, expected in zip(
        dwt1d(x, name, boundary=boundary), pywt.dwt(x.numpy(), oracle(name), boundary), strict=True
    ):
        assert_equals(band, expected)


@given(name=names, shape=leading, pairs=st.integers(1, 20), seed=seeds())
def test_periodic_lines_agree_with_pywavelets(name: str, shape: tuple[int, ...], pairs: int, seed: int) -> None:
    x = tensor(seed, *shape, 2 * pairs, dtype=torch.float64)
    for band, expected in zip(dwt1d(x, name), pywt.dwt(x.numpy(), oracle(name), "periodization"), strict=True):
        assert_equals(band, expected)


@given(name=st.sampled_from(SYMMETRIC), size=st.integers(2, 40), seed=seeds())
def test_mirrored_lines_are_part_of_what_pywavelets_returns(name: str, size: int, seed: int) -> None:
    x = tensor(seed, 3, size, dtype=torch.float64)
    theirs = pywt.dwt(x.numpy(), oracle(name), "reflect")
    skipped = oracle(name).dec_len // 4
    for band, expected in zip(dwt1d(x, name, boundary="reflect"), theirs, strict=True):
        assert_equals(band, expected[:, skipped : skipped + band.shape[-1]])


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
        assert_equals(band, expected)


@given(name=names, boundary=boundaries, num=st.tuples(*[st.integers(10, 16)] * 2), seed=seeds())
def test_synthesis_of_any_bands_agrees_with_pywavelets(
    name: str, boundary: str, num: tuple[int, int], seed: int
) -> None:
    """Also of bands that are not those of an image."""
    if boundary == "reflect":
        boundary = "zero"
    bands = [tensor(seed + i, 2, *num, dtype=torch.float64) for i in range(4)]
    theirs = pywt.idwt2((bands[0].numpy(), tuple(band.numpy() for band in bands[1:])), oracle(name), boundary)
    assert_equals(idwt2d((bands[0], (bands[1], bands[2], bands[3])), name, boundary=boundary), theirs)
    lines = pywt.idwt(bands[0].numpy(), bands[1].numpy(), oracle(name), boundary)
    assert_equals(idwt1d(bands[0], bands[1], name, boundary=boundary), lines)


def test_nine_seven_agrees_with_the_table_of_pywavelets() -> None:
    """The table has twelve digits."""
    x = tensor(0, 3, 32, 24, dtype=torch.float64, positive=True)
    for boundary in ("periodization", *EXPANSIVE):
        theirs = pywt.dwt2(x.numpy(), "bior4.4", boundary)
        for band, expected in zip(flat(dwt2d(x, "9/7", boundary=boundary)), flat(theirs), strict=True):
            assert_equals(band, expected, atol=5e-12)


def test_haar_is_haar() -> None:
    x = tensor(0, 2, 3, 8, 6, dtype=torch.float64)
    approx, detail = haar_analysis(x)
    mine, details = dwt2d(x, "haar")
    torch.testing.assert_close(mine, approx, rtol=0, atol=1e-15)
    torch.testing.assert_close(torch.cat(details, dim=1), detail, rtol=0, atol=1e-15)


# There and back


KINDS = ("normal", "image", "signs")


@on_each_device
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 2e-14), (torch.float32, 2e-6)], ids=str)
@given(
    name=names,
    sizes=st.tuples(*[st.integers(1, 129)] * 2),
    seed=seeds(),
    boundary=boundaries,
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=100)
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
    x = x.sign() if kind == "signs" else x  # the worst case: all samples are as large as the largest
    size = None if boundary in NON_EXPANSIVE else sizes
    returned = idwt2d(dwt2d(x, name, boundary=boundary), name, boundary=boundary, size=size)
    assert returned.shape == x.shape
    assert returned.dtype == dtype
    error = returned - x
    bound *= 4 if boundary in NON_EXPANSIVE else 1  # bands can be 20 times as large as samples
    assert float(error.norm()) <= bound * float(x.norm())
    assert float(error.abs().max()) <= (2 if kind == "signs" else 1) * bound * float(x.abs().max())


@given(name=names, size=st.integers(1, 129), boundary=st.sampled_from(NON_EXPANSIVE), seed=seeds())
def test_lines_under_non_expansive_rules_come_back(name: str, size: int, boundary: str, seed: int) -> None:
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
