"""The Wavelet layer: the bands of its functional form, stacked; every name and boundary rule; what it refuses."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import Haar, Inverse, LiftingPyramid, Sequential
from liftlayers.functional.dwt import dwt2d
from liftlayers.functional.schemes import SCHEMES
from liftlayers.functional.wavedec import wavedec2
from liftlayers.wavelets.named import Wavelet
from tests.functional.wavelets import NON_EXPANSIVE, flat
from tests.laws import assert_inverts_both_ways, assert_log_dets, assert_modes_agree, flat_jacobian
from tests.strategies import images, tensor

names = st.sampled_from(list(SCHEMES))
boundaries = st.sampled_from(NON_EXPANSIVE)


@given(x=images(), name=names, boundary=boundaries)
def test_layer_equals_function(x: Tensor, name: str, boundary: str) -> None:
    approx, detail = Wavelet(name, boundary=boundary)(x)
    expected, details = dwt2d(x, name, boundary=boundary)
    assert torch.equal(approx, expected)
    assert torch.equal(detail, torch.cat(details, dim=1))


@given(x=images(), boundary=boundaries)
def test_haar_is_haar(x: Tensor, boundary: str) -> None:
    layer, bands = Wavelet("haar", boundary=boundary), Haar()(x)
    for band, expected in zip(layer(x), bands, strict=True):
        torch.testing.assert_close(band, expected, rtol=0, atol=4 * torch.finfo(x.dtype).eps)
    torch.testing.assert_close(layer.inverse(*bands), x, rtol=0, atol=4 * torch.finfo(x.dtype).eps)


@given(name=names, boundary=boundaries)
@settings(max_examples=8)
def test_every_name_inverts_and_keeps_volume(name: str, boundary: str) -> None:
    layer = Wavelet(name, boundary=boundary)
    assert_inverts_both_ways(layer, tensor(0, 2, 3, 8, 6))
    assert not assert_log_dets(layer, tensor(0, 1, 1, 4, 6, dtype=torch.float64)).any()


def test_two_wavelets_agree_in_every_memory_mode() -> None:
    chain = Sequential(Wavelet("9/7"), Inverse(Wavelet("db2", boundary="reflect")))
    assert_modes_agree(chain, tensor(0, 2, 1, 8, 6, dtype=torch.float64))


def test_has_no_parameters_and_no_state() -> None:
    assert list(Wavelet("9/7").parameters()) == []
    assert Wavelet("9/7").state_dict() == {}


def test_a_pyramid_is_wavedec2() -> None:
    x = tensor(0, 2, 3, 16, 24)
    bands = LiftingPyramid([Wavelet("9/7"), Wavelet("9/7")])(x)
    expected = [torch.cat(flat([part]), dim=1) for part in wavedec2(x, "9/7", level=2)]
    assert all(map(torch.equal, bands, expected))


def test_repr() -> None:
    assert repr(Wavelet("9/7", boundary="reflect")) == "Wavelet('bior4.4', boundary='reflect')"
    assert repr(Wavelet("haar", spatial_dims=3)) == "Wavelet('haar', boundary='periodization', spatial_dims=3)"
    assert (repr(Haar()), repr(Haar(spatial_dims=1))) == ("Haar()", "Haar(spatial_dims=1)")


# Lines and volumes


@pytest.mark.parametrize("spatial_dims", [1, 3])
def test_lines_and_volumes_have_the_bands_of_pywavelets(spatial_dims: int) -> None:
    pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")
    x = tensor(0, 2, 3, *[4, 6, 8][-spatial_dims:], dtype=torch.float64)
    theirs = list(pywt.dwtn(x.numpy(), "haar", "periodization", range(2, x.ndim)).values())
    for layer in (Haar(spatial_dims=spatial_dims), Wavelet(pywt.Wavelet("haar"), spatial_dims=spatial_dims)):
        approx, detail = layer(x)
        expected = torch.cat([torch.from_numpy(band) for band in theirs], dim=1)
        torch.testing.assert_close(torch.cat((approx, detail), dim=1), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(layer.inverse(approx, detail), x, rtol=0, atol=1e-12)


def test_haar_of_volumes_is_orthogonal_and_doubles_more_than_that_of_images() -> None:
    matrix = flat_jacobian(Haar(spatial_dims=3), tensor(0, 1, 1, 4, 2, 4, dtype=torch.float64))
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(32).double(), rtol=0, atol=1e-12)
    approx, detail = Haar(spatial_dims=3)(torch.ones(1, 1, 2, 2, 2))
    assert float(approx) == pytest.approx(2**1.5)
    assert not detail.any()


def test_pyramids_of_volumes_invert() -> None:
    pyramid = LiftingPyramid([Wavelet("db2", spatial_dims=3), Haar(spatial_dims=3)])
    assert [band.shape[1] for band in pyramid(tensor(0, 1, 2, 4, 8, 4))] == [2, 14, 14]
    assert_inverts_both_ways(pyramid, tensor(0, 1, 2, 4, 8, 4))


@pytest.mark.slow
def test_wavelets_of_volumes_compile_for_any_size() -> None:
    layer = Wavelet("5/3", spatial_dims=3)
    compiled = torch.compile(layer, fullgraph=True, backend="eager", dynamic=True)
    for sides in ((4, 8, 6), (2, 12, 10)):
        x = tensor(0, 2, 1, *sides)
        torch.testing.assert_close(compiled(x), layer(x))


# Errors


def test_unknown_names_and_expansive_rules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Wavelet needs a wavelet .*, got 'db99'"):
        Wavelet("db99")
    with pytest.raises(ValueError, match="Wavelet needs a boundary of 'periodization' or 'reflect', got 'zero'"):
        Wavelet("haar", boundary="zero")


def test_lines_and_volumes_that_do_not_fit_are_refused() -> None:
    for kind in (lambda dims: Haar(spatial_dims=dims), lambda dims: Wavelet("haar", spatial_dims=dims)):
        for dims in (0, 4):
            with pytest.raises(ValueError, match=rf"(Haar|Wavelet) needs spatial_dims of 1, 2 or 3, got {dims}$"):
                kind(dims)
        with pytest.raises(ValueError, match=r"needs a \(B, C, D, H, W\) tensor, got \(1, 1, 4, 4\)"):
            kind(3)(torch.zeros(1, 1, 4, 4))
        with pytest.raises(ValueError, match=r"needs an even depth, height and width, got 4 x 3 x 2"):
            kind(3)(torch.zeros(1, 1, 4, 3, 2))
        with pytest.raises(ValueError, match=r"needs an even width, got 3"):
            kind(1)(torch.zeros(1, 1, 3))
        with pytest.raises(ValueError, match=r"needs a detail of shape \(1, 7, 2, 2, 2\) for .*, got \(1, 3, 2"):
            kind(3).inverse(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 3, 2, 2, 2))
    with pytest.raises(
        ValueError, match=r"haar_analysis needs a tensor of shape \(\.\.\., D, H, W\) without empty sides"
    ):
        Haar(spatial_dims=3)(torch.zeros(1, 1, 4, 0, 2))


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Wavelet needs an even height and width, got 3 x 4$"):
        Wavelet("9/7")(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match=r"Wavelet needs a \(B, C, H, W\) tensor, got \(4, 4\)"):
        Wavelet("9/7")(torch.zeros(4, 4))
    with pytest.raises(TypeError, match=r"Wavelet needs floating-point tensors, got torch\.uint8"):
        Wavelet("9/7")(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 9, 4, 4), (1, 9, 4, 5)])
def test_bands_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    message = (
        f"Wavelet.inverse needs a detail of shape (1, 9, 4, 4) for an approximation of shape (1, 3, 4, 4), got {shape}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        Wavelet("9/7").inverse(torch.zeros(1, 3, 4, 4), torch.zeros(shape))


def test_bands_on_two_devices_or_of_two_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Wavelet\.inverse needs its bands on one device, got cpu and meta"):
        Wavelet("9/7").inverse(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4, device="meta"))
    with pytest.raises(TypeError, match=r"^Wavelet\.inverse needs bands of one dtype, got torch\.float32 and torch\.f"):
        Wavelet("9/7").inverse(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4).double())
