"""PSNR and SSIM agree with scikit-image, for each image and on 8 bits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pirnet.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim
from pirnet.pixels import to_uint8
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor


def noisy_pair(seed: int, strength: float, height: int = 24, width: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 3, height, width, generator=generator)
    return a, a + strength * torch.randn(a.shape, generator=generator)


def as_array(image: Tensor) -> np.ndarray:
    return to_uint8(image).permute(1, 2, 0).numpy()


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.floats(0.01, 2))
def test_psnr_agrees_with_scikit_image(seed: int, strength: float) -> None:
    a, b = noisy_pair(seed, strength)
    expected = [peak_signal_noise_ratio(as_array(x), as_array(y)) for x, y in zip(a, b, strict=True)]
    assert psnr(a, b).tolist() == pytest.approx(expected, abs=1e-4)
    assert torch.equal(psnr(a, b), psnr(b, a))


def test_psnr_closed_forms() -> None:
    zero = torch.zeros(1, 3, 8, 8)
    assert psnr(zero, zero + 1).tolist() == [0]
    assert psnr(zero, zero + 1 / 255).tolist() == pytest.approx([20 * math.log10(255)])
    assert psnr(zero, zero + 0.4 / 255).tolist() == [math.inf]  # equal in 8 bits
    assert psnr(zero - 3, zero).tolist() == [math.inf]  # clamped
    assert psnr(zero, zero + math.nan).isnan().all()


def test_ssim_agrees_with_scikit_image() -> None:
    a, b = noisy_pair(0, 0.1, 96, 128)
    expected = [
        structural_similarity(
            as_array(x),
            as_array(y),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
        for x, y in zip(a, b, strict=True)
    ]
    # scikit-image leaves out the outermost five pixels, ours mirrors them
    assert ssim(a, b).tolist() == pytest.approx(expected, abs=2e-3)


def textured_pair(strength: float) -> tuple[Tensor, Tensor]:
    a, b = noisy_pair(3, strength, 192, 208)
    a = torch.nn.functional.interpolate(a[..., :24, :26], (192, 208), mode="bicubic")
    return a, a + (b - b.mean()) * strength


def test_ms_ssim_orders_images_and_needs_room() -> None:
    """MS-SSIM is 1 for equal images, smaller for larger differences, 0 for an inverted image, and needs 176 pixels."""
    a, b = textured_pair(0.2)
    assert ms_ssim(a, a).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert (ms_ssim(a, a + 0.3 * (b - a)) > ms_ssim(a, b)).all()
    assert ms_ssim(a, 1 - a).tolist() == [0, 0]  # negative structure counts as none
    flat = torch.zeros(1, 3, MS_SSIM_SIDE, MS_SSIM_SIDE)
    assert ms_ssim(flat, flat).tolist() == [1]
    with pytest.raises(ValueError, match="ms_ssim needs at least 176 pixels a side, got 175 x 176"):
        ms_ssim(flat[:, :, 1:], flat[:, :, 1:])


def test_ssim_is_one_for_equal_images_whatever_the_autocast() -> None:
    """SSIM is 1 for equal images and does not change under autocast."""
    a, b = noisy_pair(1, 0.2)
    assert ssim(a[:1], a[:1] + 0.3 / 255).shape == (1,)
    assert ssim(a, a).tolist() == pytest.approx([1, 1], abs=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ssim(a, b)
    assert torch.equal(inside, ssim(a, b))


@pytest.mark.parametrize(("name", "metric"), [("psnr", psnr), ("ssim", ssim), ("ms_ssim", ms_ssim)])
def test_wrong_images_are_refused(name: str, metric: Callable[[Tensor, Tensor], Tensor]) -> None:
    good = torch.zeros(1, 3, 8, 8)
    with pytest.raises(TypeError, match=rf"{name} needs a floating-point image, got torch.uint8"):
        metric(good, good.byte())
    with pytest.raises(ValueError, match=rf"{name} needs an RGB image of shape \(B, 3, H, W\), got \(3, 8, 8\)"):
        metric(good[0], good)
    with pytest.raises(ValueError, match=rf"{name} needs an RGB image .* got \(1, 1, 8, 8\)"):
        metric(good, good[:, :1])
    with pytest.raises(ValueError, match=rf"{name} needs images of one shape, got \(1, 3, 8, 8\) and \(1, 3, 8, 1\)"):
        metric(good, good[..., :1])


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(ValueError, match="ssim needs at least 6 pixels a side, got 5 x 8"):
        ssim(torch.zeros(1, 3, 5, 8), torch.zeros(1, 3, 5, 8))
