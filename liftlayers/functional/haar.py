"""One level of the orthonormal Haar transform of images, lines and volumes, and its inverse."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from liftlayers._bands import Bands, as_tuple
from liftlayers._checks import require_even, require_image, require_image_bands, require_spatial_dims
from liftlayers.functional import _haar_backends as backends


def haar_analysis(x: Tensor, *, spatial_dims: int = 2) -> tuple[Tensor, Tensor]:
    r"""Splits an image into its Haar approximation and detail bands.

    With :math:`x_{rs}` the samples of row parity :math:`r` and column parity :math:`s`,

    .. math::

        c_A &= \tfrac12 (x_{00} + x_{01} + x_{10} + x_{11}) &\quad
        c_H &= \tfrac12 (x_{00} + x_{01} - x_{10} - x_{11}) \\
        c_V &= \tfrac12 (x_{00} - x_{01} + x_{10} - x_{11}) &\quad
        c_D &= \tfrac12 (x_{00} - x_{01} - x_{10} + x_{11})

    The transform is orthonormal: it keeps the sum of squares, and a constant image has zero detail.

    **Convention.** Order and sign of the bands are those of ``pywt.dwt2(x, "haar", "periodization")``: horizontal
    detail (the difference of rows), vertical (the difference of columns), diagonal. They are stacked band by band,
    ``b (k c) h w``. The approximation of a constant image is twice that constant.

    With one or three spatial axes, each band is a sum of :math:`2` or :math:`8` samples with signs, divided by
    :math:`\sqrt 2` or :math:`\sqrt 8`.

    Args:
        x: Image of shape :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, any floating-point dtype and range.
        spatial_dims: 2 for images, 1 for lines :math:`(B, C, W)`, 3 for volumes :math:`(B, C, D, H, W)`.

    Returns:
        Approximation of shape :math:`(B, C, H/2, W/2)` and detail of shape :math:`(B, 3C, H/2, W/2)`, with channels
        last in memory if `x` has channels last. The details of lines have :math:`C` channels, those of volumes
        :math:`7C`.

    Raises:
        TypeError: If `x` is not floating-point.
        ValueError: If `x` has another number of axes, a side is odd, or `spatial_dims` is not 1, 2 or 3.

    References:
        [Haar1910]_; [Mallat2009]_, section 7.7; equation :eq:`haar` of :doc:`/mathematics`; :doc:`/conventions`.

    Example:
        >>> approx, detail = haar_analysis(torch.ones(1, 3, 4, 6))
        >>> approx.shape, detail.shape
        (torch.Size([1, 3, 2, 3]), torch.Size([1, 9, 2, 3]))
        >>> float(approx.max()), float(detail.abs().max())
        (2.0, 0.0)
    """
    require_spatial_dims("haar_analysis", spatial_dims)
    require_image("haar_analysis", x, spatial_dims=spatial_dims)
    require_even("haar_analysis", x, spatial_dims=spatial_dims)
    if backends.must_be_plain(x):
        return backends.plain_analysis(x)
    return _Orthogonal.apply(backends.analysis, partial(haar_synthesis, spatial_dims=spatial_dims), x)


def haar_synthesis(approx: Tensor, detail: Tensor, *, spatial_dims: int = 2) -> Tensor:
    r"""Merges Haar bands into the image: the inverse, and the transpose, of `haar_analysis`.

    .. math::

        x_{rs} = \tfrac12 \left(c_A + (-1)^r c_H + (-1)^s c_V + (-1)^{r + s} c_D\right)

    Args:
        approx: Approximation of shape :math:`(B, C, H, W)`, of any floating-point dtype and range.
        detail: Horizontal, vertical and diagonal detail, stacked band by band to :math:`(B, 3C, H, W)`, of the dtype
            of `approx`.
        spatial_dims: As for `haar_analysis`.

    Returns:
        Image of shape :math:`(B, C, 2H, 2W)` and the same dtype, contiguous.

    Raises:
        TypeError: If a band is not floating-point, or their dtypes differ.
        ValueError: If the shapes of the bands do not fit together, the bands are on different devices, or
            `spatial_dims` is not 1, 2 or 3.

    References:
        As for `haar_analysis`.

    Example:
        >>> x = torch.rand(1, 3, 4, 6)
        >>> torch.allclose(haar_synthesis(*haar_analysis(x)), x, atol=1e-6)
        True
    """
    require_spatial_dims("haar_synthesis", spatial_dims)
    require_image_bands("haar_synthesis", approx, detail, spatial_dims=spatial_dims)
    if backends.must_be_plain(approx, detail):
        return backends.plain_synthesis(approx, detail)
    return _Orthogonal.apply(backends.synthesis, partial(haar_analysis, spatial_dims=spatial_dims), approx, detail)


class _Orthogonal(torch.autograd.Function):
    """Runs a function that is linear and orthogonal, with its inverse as its gradient: no tensor is saved."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Bands], inverse: Callable[..., Bands], *tensors: Tensor) -> Bands:
        ctx.inverse = inverse
        return function(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *as_tuple(ctx.inverse(*gradients))
