"""How secrets are degraded before they are hidden: noise, blur and low resolution."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pirnet.pixels import check_images
from pirnet.support.seeds import random_below
from pirnet.tasks import Degradation


def add_noise(x: Tensor, sigma: float, *, generator: torch.Generator) -> Tensor:
    r"""Adds white Gaussian noise, unclipped: the sum may leave :math:`[0, 1]`.

    .. math:: y = x + \tfrac{\sigma}{255}\, n, \qquad n \sim \mathcal N(0, 1)

    Args:
        x: An image :math:`(B, 3, H, W)` in :math:`[0, 1]`.
        sigma: The standard deviation :math:`\sigma` in 8-bit grey levels.
        generator: Draws the noise on its own device: a CPU generator gives the same noise for any `x`.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: `x` has another shape, or `sigma` is negative or not finite.
    """
    check_images("add_noise", x)
    if not 0 <= sigma < math.inf:
        raise ValueError(f"add_noise needs a finite sigma of at least 0, got {sigma}")
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return x + noise.to(x) * (sigma / 255)


def gaussian_blur(x: Tensor, kernel_size: int, sigma: float) -> Tensor:
    r"""Blurs every channel with a truncated Gaussian; borders are mirrored about the outermost pixel.

    .. math:: y_{ij} = \sum_{s,t=-r}^{r} g_s g_t\, x_{i+s,\,j+t}, \qquad
              g_s = \frac{e^{-s^2 / 2\sigma^2}}{\sum_{t=-r}^{r} e^{-t^2 / 2\sigma^2}}, \qquad r = \tfrac{k - 1}{2}

    Args:
        x: An image :math:`(B, 3, H, W)`, height and width more than :math:`r`.
        kernel_size: The odd number of taps :math:`k` along each axis.
        sigma: The standard deviation :math:`\sigma` in pixels.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: `x` has another shape or is too small, `kernel_size` is even, or `sigma` is not positive.
    """
    check_images("gaussian_blur", x)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"gaussian_blur needs an odd kernel size, got {kernel_size}")
    if not 0 < sigma < math.inf:
        raise ValueError(f"gaussian_blur needs a finite sigma above 0, got {sigma}")
    radius = kernel_size // 2
    if min(x.shape[-2:]) <= radius:
        raise ValueError(
            f"gaussian_blur with a kernel of {kernel_size} needs more than {radius} pixels a side, "
            f"got {x.shape[-2]} x {x.shape[-1]}"
        )
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    taps = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (taps / taps.sum()).to(x).expand(3, 1, 1, -1)
    y = F.pad(x, (radius, radius, radius, radius), mode="reflect")
    with torch.autocast(x.device.type, enabled=False):  # it would round the photo to bfloat16
        y = F.conv2d(y, kernel, groups=3)
        return F.conv2d(y, kernel.transpose(-1, -2), groups=3)


def low_resolution(x: Tensor, factor: int, *, antialias: bool = True) -> Tensor:
    r"""Reduces the resolution and enlarges the image again, both bicubic.

    .. math:: y = \mathrm{up}\bigl(\mathrm{down}(x)\bigr), \qquad
              \mathrm{down}: (H, W) \to (\lceil H / f \rceil, \lceil W / f \rceil)

    Args:
        x: An image :math:`(B, 3, H, W)` in :math:`[0, 1]`; the result may overshoot the range a little.
        factor: The factor :math:`f`.
        antialias: Whether the kernel widens with the factor, as MATLAB's `imresize` does (its parameter a = -0.5);
            otherwise each pixel is computed from four neighbours a side and aliases (a = -0.75).

    Raises:
        TypeError: `x` is not floating point.
        ValueError: `x` has another shape, or `factor` is less than 1.
    """
    check_images("low_resolution", x)
    if factor < 1:
        raise ValueError(f"low_resolution needs a factor of at least 1, got {factor}")
    height, width = x.shape[-2:]
    small = _bicubic(x, (-(-height // factor), -(-width // factor)), antialias=antialias)  # (B, 3, H/f, W/f)
    return _bicubic(small, (height, width), antialias=antialias)


def noisy(x: Tensor, degradation: Degradation, generator: torch.Generator) -> Tensor:
    """Degrades by `add_noise`: (B, 3, H, W) to the same shape."""
    return add_noise(x, _uniform(degradation.noise_sigma, generator), generator=generator)


def blurred(x: Tensor, degradation: Degradation, generator: torch.Generator) -> Tensor:
    """Degrades by `gaussian_blur`: (B, 3, H, W) to the same shape."""
    sizes = degradation.kernel_sizes()
    return gaussian_blur(x, sizes[random_below(len(sizes), generator)], _uniform(degradation.blur_sigma, generator))


def small(x: Tensor, degradation: Degradation, generator: torch.Generator) -> Tensor:
    """Degrades by `low_resolution`: (B, 3, H, W) to the same shape."""
    factor = degradation.factors[random_below(len(degradation.factors), generator)]
    return low_resolution(x, factor, antialias=degradation.protocol == "paper")


def _bicubic(x: Tensor, size: tuple[int, int], *, antialias: bool) -> Tensor:
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=antialias)


def _uniform(bounds: tuple[float, float], generator: torch.Generator) -> float:
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))
