"""One level of a named wavelet transform along any axes, with bands by name, and its inverse."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from liftlayers._checks import require_axes
from liftlayers.functional._axes import PartlyZero, recompose, transform_of


def dwt(x: Tensor, wavelet: str, *, axes: Sequence[int] = (-1,), boundary: str = "periodization") -> dict[str, Tensor]:
    r"""Transforms a tensor along any number of axes into bands, each named by one letter for each axis.

    .. math:: x_{l_1 \dots l_n} = T_{l_n} \cdots T_{l_1} x, \qquad l_i \in \{\mathrm a, \mathrm d\}

    :math:`T_{\mathrm a}` and :math:`T_{\mathrm d}` are the approximation and the detail of `dwt1d`, the :math:`i`-th
    along the :math:`i`-th axis. Names are those of ``pywt.dwtn``. For the axes ``(-2, -1)`` of images, ``"aa"``,
    ``"da"``, ``"ad"`` and ``"dd"`` are the approximation and the horizontal, vertical and diagonal detail of `dwt2d`.

    Args:
        x: Tensor of any floating-point dtype and range; no side along the axes is empty.
        wavelet: As for `dwt1d`.
        axes: The axes to transform, all different: ``(-1,)`` for lines, ``(-2, -1)`` for images, ``(-3, -2, -1)`` for
            volumes, and any others.
        boundary: As for `dwt1d`, which says how many coefficients each axis has.

    Returns:
        The :math:`2^n` bands by name. The first is the approximation.

    Raises:
        TypeError: If `x` is not floating-point, or `axes` is not a sequence of whole numbers.
        ValueError: If an axis does not exist, is named twice or is empty, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`; :doc:`/conventions`.

    Example:
        >>> volume = torch.rand(2, 4, 6, 8)  # depth, height and width are the last axes
        >>> bands = dwt(volume, "db2", axes=(-3, -2, -1))
        >>> list(bands)
        ['aaa', 'aad', 'ada', 'add', 'daa', 'dad', 'dda', 'ddd']
        >>> bands["aad"].shape
        torch.Size([2, 2, 3, 4])
    """
    return transform_of("dwt", wavelet, x, axes=axes, boundary=boundary).analyse(x)


def idwt(
    bands: PartlyZero,
    wavelet: str,
    *,
    axes: Sequence[int] = (-1,),
    boundary: str = "periodization",
    size: Sequence[int] | None = None,
) -> Tensor:
    r"""Merges bands into a tensor: the inverse of `dwt`.

    .. math:: x = R_1 \cdots R_n \, (x_{l_1 \dots l_n})

    with :math:`R_i` the `idwt1d` along the :math:`i`-th axis of all pairs of bands whose :math:`i`-th letters differ.

    Args:
        bands: The bands by name, of one floating-point dtype and any range. A band that is `None` or missing is zero.
        wavelet: The wavelet that was given to `dwt`.
        axes: The axes that were given to `dwt`.
        boundary: The rule that was given to `dwt`.
        size: The size along each of the axes, needed where tensors of two sizes have the same number of coefficients
            (see `idwt1d`); `None` means the even ones.

    Returns:
        The tensor.

    Raises:
        TypeError: If `bands` is not a mapping from these names, a band is not floating-point, their dtypes differ, or
            the axes are no sequence of integers.
        ValueError: If all bands are missing, the bands do not fit together or do not fit `size`, they are on different
            devices, or the axes, the wavelet or the rule are wrong.

    References:
        As for `dwt1d`.

    Example:
        >>> x = torch.rand(5, 6, 7)
        >>> bands = dwt(x, "9/7", axes=(0, 2), boundary="reflect")
        >>> torch.allclose(idwt(bands, "9/7", axes=(0, 2), boundary="reflect"), x, atol=1e-6)
        True
    """
    if not isinstance(bands, Mapping):
        raise TypeError(f"idwt needs bands by name, got {type(bands).__name__}")
    low = "a" * require_axes("idwt", axes)
    detail = {key: band for key, band in bands.items() if key != low}
    return recompose("idwt", (bands.get(low), detail), wavelet, axes=axes, boundary=boundary, size=size)
