"""Similarity of two images, measured on the values that an 8-bit file would hold."""

import torch
from torch import Tensor

from pirnet.pixels import check_images, grey_levels

SSIM_REACH = 5  # half of the window of 11 pixels that sigma 1.5 gives
MS_SSIM_SIDE = 176  # the window still fits into the coarsest of five scales
OPTIONS = {"sigma": 1.5, "data_range": 255.0, "reduction": "none"}


def psnr(a: Tensor, b: Tensor) -> Tensor:
    r"""Peak signal-to-noise ratio in decibels, per image, over all pixels of red, green and blue.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{255^2}{\mathrm{MSE}}, \qquad
              \mathrm{MSE} = \frac{1}{3HW} \sum \bigl(\hat a - \hat b\bigr)^2

    with :math:`\hat a, \hat b` clamped to :math:`[0, 1]` and rounded to 8 bits. Images that are equal in 8 bits give
    infinity; NaN gives NaN.

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
    check_images("psnr", a, b)
    error = (grey_levels(a.float()) - grey_levels(b.float())).square().mean(dim=(1, 2, 3))  # (B,)
    return 10 * (255**2 / error).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity, per image: Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, mean over RGB.

    Both images are clamped to [0, 1] and rounded to 8 bits first; borders are mirrored, so that every pixel counts.
    Arguments, shapes and errors are those of `psnr`; height and width are more than 5; equal images give 1.

    References:
        Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
        IEEE Transactions on Image Processing 13(4), 2004.
    """
    return _similarity("ssim", a, b, least=SSIM_REACH + 1)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    r"""Multi-scale structural similarity, per image; the code released with the PIRNet paper calls it SSIM.

    .. math:: \prod_{j=1}^{5} \max\bigl(0, \overline{s_j}\bigr)^{w_j}

    with the contrast and structure term :math:`s_j` of SSIM at scale :math:`j` (at the coarsest scale the whole SSIM),
    averaged over positions and RGB, and weights :math:`w_j` that add up to 1. Each scale is the mean of two by two
    pixels of the finer one. Arguments, shapes and errors are those of `psnr`; height and width are at least 176; equal
    images give 1.

    References:
        Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", Asilomar Conference
        on Signals, Systems and Computers, 2003.
    """
    return _similarity("ms_ssim", a, b, least=MS_SSIM_SIDE)


def _similarity(name: str, a: Tensor, b: Tensor, *, least: int) -> Tensor:
    check_images(name, a, b, least=least)
    from torchmetrics.functional import image  # imported late: it takes as long as torch, and hiding does not need it

    measures = {
        "ssim": image.structural_similarity_index_measure,
        "ms_ssim": image.multiscale_structural_similarity_index_measure,
    }
    # A variance of squares rounded to bfloat16 or TF32 would be noise.
    with torch.autocast(a.device.type, enabled=False), torch.backends.cudnn.flags(allow_tf32=False):
        value = measures[name](grey_levels(a.float()), grey_levels(b.float()), **OPTIONS)
    assert isinstance(value, Tensor)  # a tuple is returned only with the full map, which is not requested
    return value.reshape(len(a))
