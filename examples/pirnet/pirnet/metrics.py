"""How alike two images are, measured on what an 8-bit file would hold of them."""

__all__ = ["psnr", "ssim"]

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from pirnet.images import check_pixels, grey_levels

SSIM_REACH = 5  # half of the window of 11 that a sigma of 1.5 gets


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
    with torch.autocast(a.device.type, enabled=False):  # a variance from bfloat16 squares would be noise
        value = structural_similarity_index_measure(
            grey_levels(a.float()), grey_levels(b.float()), sigma=1.5, data_range=255.0, reduction="none"
        )
    assert isinstance(value, Tensor)  # a tuple comes back only with the full map, which is not asked for
    return value.reshape(len(a))


def _check_pair(who: str, a: Tensor, b: Tensor) -> None:
    check_pixels(who, a, batched=True)
    check_pixels(who, b, batched=True)
    if a.shape != b.shape:  # else they might broadcast in silence
        raise ValueError(f"{who} needs two images of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
