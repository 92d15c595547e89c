"""How alike two images are, measured on what an 8-bit file would hold of them."""

__all__ = ["MS_SSIM_SIDE", "ms_ssim", "psnr", "ssim"]

from collections.abc import Callable

import torch
from torch import Tensor

from pirnet.images import check_pixels, grey_levels

SSIM_REACH = 5  # half of the window of 11 that a sigma of 1.5 gets
MS_SSIM_SIDE = 176  # the window still fits in the coarsest of five scales
OPTIONS = {"sigma": 1.5, "data_range": 255.0, "reduction": "none"}


def psnr(a: Tensor, b: Tensor) -> Tensor:
    r"""Peak signal-to-noise ratio in decibels, per image, over all pixels of red, green and blue.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{255^2}{\mathrm{MSE}}, \qquad
              \mathrm{MSE} = \frac{1}{3HW} \sum \bigl(\hat a - \hat b\bigr)^2

    with :math:`\hat a, \hat b` clamped to :math:`[0, 1]` and rounded to 8 bits. Images equal in 8 bits give infinity;
    NaN gives NaN.

    Args:
        a: Images :math:`(B, 3, H, W)` in :math:`[0, 1]`.
        b: Images of the same shape.

    Returns:
        One value an image, of shape :math:`(B,)`.

    Raises:
        TypeError: An image is not floating point.
        ValueError: An image has another shape, or the two shapes differ.

    Example:
        >>> psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 25.5 / 255)).round(decimals=2)
        tensor([19.8300])
    """
    _check_pair("psnr", a, b)
    error = (grey_levels(a.float()) - grey_levels(b.float())).square().mean(dim=(1, 2, 3))  # (B,)
    return 10 * (255**2 / error).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity, per image: Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, mean over RGB.

    Both images are clamped to [0, 1] and rounded to 8 bits first; borders are mirrored, so that every pixel counts.

    Args:
        a: Images :math:`(B, 3, H, W)` in :math:`[0, 1]`, height and width more than 5.
        b: Images of the same shape.

    Returns:
        One value an image, of shape :math:`(B,)`; 1 for equal images.

    Raises:
        TypeError: An image is not floating point.
        ValueError: An image has another shape or is too small, or the two shapes differ.

    References:
        Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
        IEEE Transactions on Image Processing 13(4), 2004.
    """
    _check_pair("ssim", a, b)
    height, width = a.shape[-2:]
    if min(height, width) <= SSIM_REACH:
        raise ValueError(f"ssim needs more than {SSIM_REACH} pixels a side, got {height} x {width}")
    from torchmetrics.functional import image  # here, since it takes as long as torch: hiding a photo needs none of it

    return _per_image(image.structural_similarity_index_measure, a, b)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    r"""Multi-scale structural similarity, per image: what the code released with the PIRNet paper calls SSIM.

    .. math:: \prod_{j=1}^{5} \max\bigl(0, \overline{s_j}\bigr)^{w_j}

    with the contrast and structure term :math:`s_j` of SSIM at scale :math:`j`, at the coarsest scale the whole SSIM,
    each a mean over places and RGB, and weights :math:`w_j` that add up to 1. A scale is the mean of two by two pixels
    of the finer one.

    Args:
        a: Images :math:`(B, 3, H, W)` in :math:`[0, 1]`, height and width at least 176.
        b: Images of the same shape.

    Returns:
        One value an image, of shape :math:`(B,)`; 1 for equal images.

    Raises:
        TypeError: An image is not floating point.
        ValueError: An image has another shape or is too small, or the two shapes differ.

    References:
        Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", Asilomar Conference
        on Signals, Systems and Computers, 2003.
    """
    _check_pair("ms_ssim", a, b)
    height, width = a.shape[-2:]
    if min(height, width) < MS_SSIM_SIDE:
        raise ValueError(f"ms_ssim needs at least {MS_SSIM_SIDE} pixels a side, got {height} x {width}")
    from torchmetrics.functional import image

    return _per_image(image.multiscale_structural_similarity_index_measure, a, b)


def _per_image(similarity: Callable[..., object], a: Tensor, b: Tensor) -> Tensor:
    # A variance of squares rounded to bfloat16 or TF32 would be noise.
    with torch.autocast(a.device.type, enabled=False), torch.backends.cudnn.flags(allow_tf32=False):
        value = similarity(grey_levels(a.float()), grey_levels(b.float()), **OPTIONS)
    assert isinstance(value, Tensor)  # a tuple comes back only with the full map, which is not asked for
    return value.reshape(len(a))


def _check_pair(who: str, a: Tensor, b: Tensor) -> None:
    check_pixels(who, a, batched=True)
    check_pixels(who, b, batched=True)
    if a.shape != b.shape:  # else they might broadcast in silence
        raise ValueError(f"{who} needs two images of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
