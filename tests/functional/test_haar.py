"""Haar: PyWavelets agrees, energy stays, derivatives of every kind are right, bad input is refused."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional import haar_analysis, haar_synthesis
from tests.devices import on_each_device
from tests.strategies import bands, images, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")


@given(x=images(dtype=torch.float64))
def test_analysis_agrees_with_pywavelets(x: Tensor) -> None:
    approx, detail = haar_analysis(x)
    expected, expected_details = pywt.dwt2(x.numpy(), "haar", "periodization")
    np.testing.assert_allclose(approx.numpy(), expected, rtol=0, atol=1e-12)
    # (horizontal, vertical, diagonal), with their signs, stacked band by band
    np.testing.assert_allclose(detail.numpy(), np.concatenate(expected_details, axis=1), rtol=0, atol=1e-12)


@given(pair=bands(dtype=torch.float64))
def test_synthesis_agrees_with_pywavelets(pair: tuple[Tensor, Tensor]) -> None:
    approx, detail = pair
    details = tuple(band.numpy() for band in detail.chunk(3, dim=1))
    expected = pywt.idwt2((approx.numpy(), details), "haar", "periodization")
    np.testing.assert_allclose(haar_synthesis(approx, detail).numpy(), expected, rtol=0, atol=1e-12)


def test_order_sign_and_stacking_of_the_bands() -> None:
    """Written out for two channels of four samples."""
    x = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    approx, detail = haar_analysis(x)
    assert approx.flatten().tolist() == [5.5, 4.0]
    horizontal, vertical, diagonal = [-2.5, -4.0], [-1.5, -4.0], [0.5, 4.0]  # rows, columns, both; channel by channel
    assert detail.flatten().tolist() == horizontal + vertical + diagonal


@on_each_device
@given(x=images(dtype=torch.float64))
def test_round_trip_and_energy(device: str, x: Tensor) -> None:
    x = x.to(device)
    approx, detail = haar_analysis(x)
    torch.testing.assert_close(haar_synthesis(approx, detail), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(approx.square().sum() + detail.square().sum(), x.square().sum(), rtol=1e-12, atol=0)


@given(pair=bands(dtype=torch.float64))
def test_synthesis_is_the_transpose_of_analysis(pair: tuple[Tensor, Tensor]) -> None:
    x = tensor(5, *haar_synthesis(*pair).shape, dtype=torch.float64)
    there = sum((y * z).sum() for y, z in zip(haar_analysis(x), pair, strict=True))
    torch.testing.assert_close(there, (x * haar_synthesis(*pair)).sum(), rtol=1e-12, atol=1e-12)


@given(
    value=st.floats(-1e6, 1e6, width=32),
    size=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)
def test_a_constant_image_has_exactly_zero_detail(value: float, size: tuple[int, int, int, int]) -> None:
    batch, channels, rows, columns = size
    x = torch.full((batch, channels, 2 * rows, 2 * columns), value)
    approx, detail = haar_analysis(x)
    assert torch.equal(detail, torch.zeros_like(detail))
    assert torch.equal(approx, torch.full_like(approx, 2 * value))


def test_an_empty_batch_has_empty_bands() -> None:
    approx, detail = haar_analysis(torch.zeros(0, 3, 4, 6))
    assert (approx.shape, detail.shape) == ((0, 3, 2, 3), (0, 9, 2, 3))
    assert haar_synthesis(approx, detail).shape == (0, 3, 4, 6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layout_changes_nothing(memory_format: torch.memory_format) -> None:
    x = tensor(0, 2, 3, 6, 8)
    for band, expected in zip(haar_analysis(x.contiguous(memory_format=memory_format)), haar_analysis(x), strict=True):
        assert torch.equal(band, expected)
    assert torch.equal(haar_analysis(x.mT)[1], haar_analysis(x.mT.contiguous())[1])  # a transposed view
    padded = tensor(0, 2, 3, 8, 10)
    assert torch.equal(haar_analysis(padded[..., 1:7, 1:9])[1], haar_analysis(padded[..., 1:7, 1:9].clone())[1])


# Derivatives


def test_gradients_of_first_and_second_order() -> None:
    x = tensor(0, 1, 2, 4, 6, dtype=torch.float64).requires_grad_()
    pair = tuple(band.detach().requires_grad_() for band in haar_analysis(x))
    assert torch.autograd.gradcheck(haar_analysis, (x,))
    assert torch.autograd.gradcheck(haar_synthesis, pair)
    assert torch.autograd.gradgradcheck(haar_analysis, (x,))
    assert torch.autograd.gradgradcheck(haar_synthesis, pair)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on the first jvp
def test_forward_mode_derivative_is_the_transform_itself() -> None:
    x, direction = tensor(0, 1, 2, 4, 6, dtype=torch.float64), tensor(1, 1, 2, 4, 6, dtype=torch.float64)
    tangent = torch.func.jvp(haar_analysis, (x,), (direction,))[1]
    for actual, expected in zip(tangent, haar_analysis(direction), strict=True):
        assert torch.equal(actual, expected)
    bands_of_x, bands_of_direction = haar_analysis(x), haar_analysis(direction)
    tangent = torch.func.jvp(haar_synthesis, bands_of_x, bands_of_direction)[1]
    assert torch.equal(tangent, haar_synthesis(*bands_of_direction))


def test_vmap_maps_over_a_further_axis() -> None:
    stack = tensor(0, 5, 2, 3, 4, 6)
    approx, detail = torch.func.vmap(haar_analysis)(stack)
    for i, x in enumerate(stack):
        assert torch.equal(approx[i], haar_analysis(x)[0])
        assert torch.equal(detail[i], haar_analysis(x)[1])
    torch.testing.assert_close(torch.func.vmap(haar_synthesis)(approx, detail), stack)


# Precision


@on_each_device
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_accuracy_in_every_dtype(dtype: torch.dtype, device: str) -> None:
    """Bands in [-2, 2] take two additions: they are within two units in the last place of 2, and images within four."""
    x = tensor(0, 2, 3, 16, 16, positive=True).to(device, dtype)
    eps = torch.finfo(dtype).eps
    approx, detail = haar_analysis(x)
    assert approx.dtype == detail.dtype == dtype
    for band, exact in zip((approx, detail), haar_analysis(x.double()), strict=True):
        assert float((band.double() - exact).abs().max()) <= 2 * eps
    returned = haar_synthesis(approx, detail)
    assert returned.dtype == dtype
    assert float((returned.double() - x.double()).abs().max()) <= 4 * eps


# Errors


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (5, 7), (1, 1)])
def test_odd_sizes_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=rf"haar_analysis needs an even height and width, got {height} x {width}$"):
        haar_analysis(torch.zeros(1, 1, height, width))


@pytest.mark.parametrize("shape", [(4,), (4, 4), (3, 4, 4), (1, 1, 3, 4, 4)])
def test_other_ranks_are_refused(shape: tuple[int, ...]) -> None:
    numbers = re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"haar_analysis needs a \(B, C, H, W\) tensor, got {numbers}$"):
        haar_analysis(torch.zeros(shape))
    with pytest.raises(ValueError, match=rf"haar_synthesis needs a \(B, C, H, W\) tensor, got {numbers}$"):
        haar_synthesis(torch.zeros(shape), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=rf"haar_synthesis needs a \(B, C, H, W\) tensor, got {numbers}$"):
        haar_synthesis(torch.zeros(1, 1, 4, 4), torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.bool, torch.complex64], ids=str)
def test_dtypes_that_hold_no_fractions_are_refused(dtype: torch.dtype) -> None:
    advice = r"pass \.real and \.imag separately" if dtype.is_complex else r"call \.float\(\) first"
    x, message = torch.zeros(1, 3, 4, 4, dtype=dtype), rf"needs floating-point tensors, got {dtype}; {advice}$"
    with pytest.raises(TypeError, match=f"haar_analysis {message}"):
        haar_analysis(x)
    with pytest.raises(TypeError, match=f"haar_synthesis {message}"):
        haar_synthesis(x, torch.zeros(1, 9, 4, 4))
    with pytest.raises(TypeError, match=f"haar_synthesis {message}"):
        haar_synthesis(torch.zeros(1, 1, 4, 4), x)


def test_other_objects_than_tensors_are_refused() -> None:
    with pytest.raises(TypeError, match="haar_analysis needs tensors, got ndarray"):
        haar_analysis(np.zeros((1, 3, 4, 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (1, 8, 4, 4), (2, 9, 4, 4), (1, 9, 4, 5), (1, 9, 2, 4)])
def test_bands_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    numbers = re.escape(str(shape))
    message = (
        rf"haar_synthesis needs a detail of shape \(1, 9, 4, 4\) for an approximation of shape \(1, 3, 4, 4\), "
        rf"got {numbers}$"
    )
    with pytest.raises(ValueError, match=message):
        haar_synthesis(torch.zeros(1, 3, 4, 4), torch.zeros(shape))


def test_bands_of_two_dtypes_are_refused() -> None:
    message = r"haar_synthesis needs bands of one dtype, got torch\.float32 and torch\.bfloat16"
    with pytest.raises(TypeError, match=message):
        haar_synthesis(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4).bfloat16())


def test_bands_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="haar_synthesis needs its bands on one device, got cpu and meta"):
        haar_synthesis(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4, device="meta"))
