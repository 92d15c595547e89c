"""Conversion of the bands of one level to and from the layouts of other libraries."""

import torch
from einops import rearrange
from torch import Tensor

from liftlayers._checks import require_alike, require_image, require_image_bands

Coefficients = tuple[Tensor, tuple[Tensor, Tensor, Tensor]]


# All of these order the bands as approximation, vertical, horizontal and diagonal detail. For each layout: the factors,
# theirs = factor * ours, and how band k and channel c are stacked.
LAYOUTS = {
    "freia": ((1.0, 1.0, 1.0, 1.0), "b (c k) h w"),
    "freia_wavelet": ((1.0, 1.0, 1.0, 1.0), "b (k c) h w"),
    "hinet": ((1.0, -1.0, -1.0, 1.0), "b (k c) h w"),
    "irn": ((0.5, 0.5, 0.5, 0.5), "b (k c) h w"),
}


def to_layout(approx: Tensor, detail: Tensor, layout: str) -> Tensor:
    r"""Arranges our bands in one tensor as another library does.

    .. math:: y_{\pi(k, c)} = s_k \, b_{\sigma(k), c}, \qquad b = (c_A, c_H, c_V, c_D)

    ================= ============================================================================ =================
    `layout`          :math:`s_k b_{\sigma(k)}`, :math:`k = 0, \dots, 3`                           :math:`\pi(k, c)`
    ================= ============================================================================ =================
    ``freia``         :math:`c_A, c_V, c_H, c_D`                                                   :math:`4c + k`
    ``freia_wavelet`` :math:`c_A, c_V, c_H, c_D`                                                   :math:`kC + c`
    ``hinet``         :math:`c_A, -c_V, -c_H, c_D`                                                 :math:`kC + c`
    ``irn``           :math:`\tfrac12 c_A, \tfrac12 c_V, \tfrac12 c_H, \tfrac12 c_D`               :math:`kC + c`
    ================= ============================================================================ =================

    ``hinet`` is the layout of HiNet, PIRNet and DeepMIH. ``irn`` is that of IRN, whose approximation is the mean.
    ``freia`` is that of FrEIA's ``HaarDownsampling``, and ``freia_wavelet`` the same with ``order_by_wavelet=True``;
    with ``rebalance=r`` FrEIA's bands are :math:`r` times these.

    Args:
        approx: Approximation of shape :math:`(B, C, H, W)`, of any floating-point dtype and range.
        detail: Horizontal, vertical and diagonal detail, stacked band by band to :math:`(B, 3C, H, W)`.
        layout: Name of the layout.

    Returns:
        Bands of shape :math:`(B, 4C, H, W)`.

    Raises:
        TypeError: If a band is not floating-point, or their dtypes differ.
        ValueError: If the layout is unknown, the shapes of the bands do not fit together, or the bands are on different
            devices.

    References:
        :doc:`/conventions`.

    Example:
        >>> x = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).view(1, 1, 2, 2)
        >>> to_layout(*haar_analysis(x), "hinet").flatten()
        tensor([7.5000, 2.5000, 4.5000, 1.5000])
    """
    factors, stacking = _named("to_layout", layout)
    require_image_bands("to_layout", approx, detail)
    horizontal, vertical, diagonal = detail.chunk(3, dim=1)
    ordered = zip(factors, (approx, vertical, horizontal, diagonal), strict=True)
    return rearrange([factor * band for factor, band in ordered], f"k b c h w -> {stacking}")


def from_layout(bands: Tensor, layout: str) -> tuple[Tensor, Tensor]:
    r"""Arranges another library's bands as ours: the inverse of `to_layout`, bit for bit.

    .. math:: b_{\sigma(k), c} = y_{\pi(k, c)} / s_k

    with the symbols of `to_layout`.

    Args:
        bands: Bands of shape :math:`(B, 4C, H, W)`.
        layout: Name of their layout: ``"freia"``, ``"freia_wavelet"``, ``"hinet"`` or ``"irn"``.

    Returns:
        Approximation of shape :math:`(B, C, H, W)` and detail of shape :math:`(B, 3C, H, W)`.

    Raises:
        TypeError: If `bands` is not floating-point.
        ValueError: If the layout is unknown, or the number of channels is not a multiple of four.

    References:
        :doc:`/conventions`.

    Example:
        >>> approx, detail = from_layout(torch.tensor([7.5, 2.5, 4.5, 1.5]).view(1, 4, 1, 1), "hinet")
        >>> haar_synthesis(approx, detail).flatten()
        tensor([1., 2., 4., 8.])
    """
    factors, stacking = _named("from_layout", layout)
    require_image("from_layout", bands)
    if bands.shape[1] % 4:
        raise ValueError(f"from_layout needs four bands with equally many channels, got {bands.shape[1]} channels")
    stacked = rearrange(bands, f"{stacking} -> k b c h w", k=4)
    approx, vertical, horizontal, diagonal = (band / factor for factor, band in zip(factors, stacked, strict=True))
    return approx, torch.cat((horizontal, vertical, diagonal), dim=1)


def to_pywavelets(approx: Tensor, detail: Tensor) -> Coefficients:
    r"""Splits our bands into ``(cA, (cH, cV, cD))``, as ``pywt.dwt2`` returns them.

    .. math:: c_A = a, \qquad (c_H, c_V, c_D) = (d_{0 \dots C}, d_{C \dots 2C}, d_{2C \dots 3C})

    Order, sign and scale are the same; only the stacking changes.

    Args:
        approx: Approximation :math:`a` of shape :math:`(B, C, H, W)`.
        detail: Detail :math:`d` of shape :math:`(B, 3C, H, W)`.

    Returns:
        ``(cA, (cH, cV, cD))``, each of shape :math:`(B, C, H, W)`.

    Raises:
        TypeError: If a band is not floating-point, or their dtypes differ.
        ValueError: If the shapes of the bands do not fit together, or they are on different devices.

    References:
        [Lee2019]_ is PyWavelets; :doc:`/conventions`.

    Example:
        >>> cA, (cH, cV, cD) = to_pywavelets(*haar_analysis(torch.rand(2, 3, 8, 8)))
        >>> cA.shape, cH.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 3, 4, 4]))
    """
    require_image_bands("to_pywavelets", approx, detail)
    horizontal, vertical, diagonal = detail.chunk(3, dim=1)
    return approx, (horizontal, vertical, diagonal)


def from_pywavelets(coefficients: Coefficients) -> tuple[Tensor, Tensor]:
    r"""Stacks ``(cA, (cH, cV, cD))``: the inverse of `to_pywavelets`.

    .. math:: a = c_A, \qquad d = (c_H, c_V, c_D)

    Args:
        coefficients: ``(cA, (cH, cV, cD))`` as tensors, each of shape :math:`(B, C, H, W)`.

    Returns:
        Approximation :math:`a` of shape :math:`(B, C, H, W)` and detail :math:`d` of shape :math:`(B, 3C, H, W)`.

    Raises:
        TypeError: If a band is not a floating-point tensor, or their dtypes differ.
        ValueError: If there are not three details, a detail has another shape than the approximation, or they are on
            different devices.

    References:
        [Lee2019]_ is PyWavelets; :doc:`/conventions`.

    Example:
        >>> band = torch.ones(1, 2, 4, 4)
        >>> approx, detail = from_pywavelets((band, (band, band, band)))
        >>> approx.shape, detail.shape
        (torch.Size([1, 2, 4, 4]), torch.Size([1, 6, 4, 4]))
    """
    approx, details = coefficients
    require_image("from_pywavelets", approx)
    if len(details) != 3:
        raise ValueError(f"from_pywavelets needs three details, (cH, cV, cD), got {len(details)}")
    for name, band in zip(("cH", "cV", "cD"), details, strict=True):
        require_image("from_pywavelets", band)
        if band.shape != approx.shape:
            needed = f"{name} to have the shape of cA, {tuple(approx.shape)}"
            raise ValueError(f"from_pywavelets needs {needed}, got {tuple(band.shape)}")
    require_alike("from_pywavelets", approx, *details)
    return approx, torch.cat(details, dim=1)


def _named(who: str, layout: str) -> tuple[tuple[float, ...], str]:
    if layout not in LAYOUTS:
        raise ValueError(f"{who} needs a layout of {', '.join(map(repr, LAYOUTS))}, got {layout!r}")
    return LAYOUTS[layout]
