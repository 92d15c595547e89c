"""Band layouts compared with the libraries they are named after, or with their formulas if there is no package."""

import itertools

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional import haar_analysis
from liftlayers.interop import from_layout, from_pywavelets, to_layout, to_pywavelets
from liftlayers.interop.bands import LAYOUTS
from tests.strategies import bands, images, tensor

layouts = st.sampled_from(sorted(LAYOUTS))


def quarters(x: Tensor) -> tuple[Tensor, ...]:
    """Samples by parity of row and column: x00, x01, x10, x11."""
    return tuple(x[:, :, row::2, column::2] for row, column in itertools.product((0, 1), repeat=2))


def hinet(x: Tensor) -> Tensor:
    """`dwt_init` of HiNet, PIRNet and DeepMIH, as a formula."""
    x00, x01, x10, x11 = (quarter / 2 for quarter in quarters(x))
    names = {"LL": x00 + x10 + x01 + x11, "HL": -x00 - x10 + x01 + x11, "LH": -x00 + x10 - x01 + x11}
    return torch.cat([*names.values(), x00 - x10 - x01 + x11], dim=1)


def irn(x: Tensor) -> Tensor:
    """The Haar transform of IRN, as a formula: a quarter of sums and differences."""
    x00, x01, x10, x11 = (quarter / 4 for quarter in quarters(x))
    return torch.cat(
        [x00 + x01 + x10 + x11, x00 - x01 + x10 - x11, x00 + x01 - x10 - x11, x00 - x01 - x10 + x11], dim=1
    )


@given(pair=bands(), layout=layouts)
def test_round_trip_is_exact(pair: tuple[Tensor, Tensor], layout: str) -> None:
    stacked = to_layout(*pair, layout)
    assert stacked.shape[1] == 4 * pair[0].shape[1]
    for band, expected in zip(from_layout(stacked, layout), pair, strict=True):
        assert torch.equal(band, expected)
        assert band.dtype == expected.dtype


@given(pair=bands(), layout=layouts)
def test_round_trip_the_other_way_is_exact(pair: tuple[Tensor, Tensor], layout: str) -> None:
    stacked = torch.cat(pair, dim=1)
    assert torch.equal(to_layout(*from_layout(stacked, layout), layout), stacked)


@given(pair=bands())
def test_round_trip_to_pywavelets_is_exact(pair: tuple[Tensor, Tensor]) -> None:
    for band, expected in zip(from_pywavelets(to_pywavelets(*pair)), pair, strict=True):
        assert torch.equal(band, expected)


@given(pair=bands(), layout=layouts)
def test_inputs_are_unchanged(pair: tuple[Tensor, Tensor], layout: str) -> None:
    before = [band.clone() for band in pair]
    from_layout(to_layout(*pair, layout).mul_(2), layout)[1].add_(1)
    from_pywavelets(to_pywavelets(*pair))[1].add_(1)
    assert all(torch.equal(band, kept) for band, kept in zip(pair, before, strict=True))


@given(x=images(dtype=torch.float64))
def test_hinet_and_irn_equal_their_formulas(x: Tensor) -> None:
    pair = haar_analysis(x)
    torch.testing.assert_close(to_layout(*pair, "hinet"), hinet(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(to_layout(*pair, "irn"), irn(x), rtol=0, atol=1e-12)


def test_approximation_of_irn_is_the_mean() -> None:
    x = tensor(0, 1, 3, 4, 4, dtype=torch.float64)
    mean = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(to_layout(*haar_analysis(x), "irn")[:, :3], mean, rtol=0, atol=1e-12)


@given(x=images(dtype=torch.float64))
def test_pywavelets_equals_pywavelets(x: Tensor) -> None:
    approx, details = pywt.dwt2(x.numpy(), "haar", "periodization")
    ours, our_details = to_pywavelets(*haar_analysis(x))
    for band, expected in zip((ours, *our_details), (approx, *details), strict=True):
        assert np.abs(band.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("order_by_wavelet", [False, True])
@pytest.mark.parametrize("rebalance", [1.0, 0.5])
def test_freia_equals_freia(order_by_wavelet: bool, rebalance: float) -> None:
    modules = pytest.importorskip("FrEIA.modules")
    x = tensor(0, 2, 3, 4, 6, dtype=torch.float64)
    theirs = modules.HaarDownsampling([(3, 4, 6)], order_by_wavelet=order_by_wavelet, rebalance=rebalance).double()
    layout = "freia_wavelet" if order_by_wavelet else "freia"
    (expected,), _ = theirs([x])
    pair = haar_analysis(x)
    torch.testing.assert_close(rebalance * to_layout(*pair, layout), expected, rtol=0, atol=1e-12)
    for band, ours in zip(from_layout(expected / rebalance, layout), pair, strict=True):
        torch.testing.assert_close(band, ours, rtol=0, atol=1e-12)


def test_gradients_pass_through() -> None:
    pair = tuple(tensor(seed, 1, channels, 2, 2, dtype=torch.float64) for seed, channels in enumerate((2, 6)))
    leaves = [band.requires_grad_() for band in pair]
    for layout in LAYOUTS:
        assert torch.autograd.gradcheck(
            lambda a, d, layout=layout: from_layout(2 * to_layout(a, d, layout), layout), leaves
        )


BAND, DETAIL = torch.zeros(1, 2, 4, 4), torch.zeros(1, 6, 4, 4)


def test_unknown_layouts_are_refused() -> None:
    known = "needs a layout of 'freia', 'freia_wavelet', 'hinet', 'irn', got 'haar'"
    with pytest.raises(ValueError, match=f"to_layout {known}"):
        to_layout(BAND, DETAIL, "haar")
    with pytest.raises(ValueError, match=f"from_layout {known}"):
        from_layout(BAND, "haar")


def test_bands_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"to_layout needs a detail of shape \(1, 6, 4, 4\) .*, got \(1, 2, 4, 4\)"):
        to_layout(BAND, BAND, "irn")
    with pytest.raises(ValueError, match=r"to_pywavelets needs a detail of shape \(1, 6, 4, 4\) .*, got \(1, 6, 2"):
        to_pywavelets(BAND, DETAIL[..., :2, :])
    with pytest.raises(ValueError, match="from_layout needs four bands with equally many channels, got 6 channels"):
        from_layout(DETAIL, "irn")
    with pytest.raises(ValueError, match=r"from_layout needs a \(B, C, H, W\) tensor, got \(2, 4, 4\)"):
        from_layout(BAND[0], "irn")
    with pytest.raises(ValueError, match=r"cV to have the shape of cA, \(1, 2, 4, 4\), got \(1, 6, 4, 4\)"):
        from_pywavelets((BAND, (BAND, DETAIL, BAND)))
    with pytest.raises(ValueError, match=r"from_pywavelets needs three details, .*, got 2"):
        from_pywavelets((BAND, (BAND, BAND)))  # type: ignore[arg-type]


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"to_layout needs floating-point tensors, got torch.int64"):
        to_layout(BAND.long(), DETAIL, "irn")
    with pytest.raises(TypeError, match=r"from_layout needs floating-point tensors, got torch.int64"):
        from_layout(BAND.long(), "irn")
    with pytest.raises(TypeError, match="from_pywavelets needs tensors, got ndarray"):
        from_pywavelets(pywt.dwt2(np.zeros((4, 4)), "haar"))  # type: ignore[arg-type]


def test_bands_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="to_layout needs its bands on one device, got cpu and meta"):
        to_layout(BAND, DETAIL.to("meta"), "irn")
    with pytest.raises(ValueError, match="from_pywavelets needs its bands on one device, got cpu and meta and cpu"):
        from_pywavelets((BAND, (BAND.to("meta"), BAND, BAND)))
