"""Several levels of a named wavelet transform, with coefficients nested as in PyWavelets."""

from collections.abc import Sequence

from torch import Tensor

from liftlayers._checks import four_bands, require_sides
from liftlayers.functional._axes import Detail, Details, recompose, transform_of


def wavedec(
    x: Tensor,
    wavelet: str,
    *,
    axes: Sequence[int] = (-1,),
    boundary: str = "periodization",
    level: int | None = None,
) -> list[Tensor | dict[str, Tensor]]:
    r"""Transforms a tensor along any number of axes, then its approximation, level by level.

    .. math:: (a_l, d_l) = \operatorname{dwt}(a_{l-1}), \qquad a_0 = x, \qquad l = 1, \dots, L

    Args:
        x: As for `dwt`.
        wavelet: As for `dwt1d`.
        axes: As for `dwt`.
        boundary: As for `dwt1d`.
        level: The number :math:`L` of levels, as for `wavedec2`.

    Returns:
        :math:`[a_L, d_L, \dots, d_1]`, coarsest first, as from ``pywt.wavedecn``. Every :math:`d_l` has the detail
        bands by name, in the order in which layers stack them (:doc:`/conventions`).

    Raises:
        TypeError: As for `dwt`, or if `level` is neither an integer nor `None`.
        ValueError: As for `dwt`, or if `level` is below one.

    References:
        As for `dwt1d`.

    Example:
        >>> approx, coarse, fine = wavedec(torch.rand(3, 40), "5/3", level=2)
        >>> approx.shape, coarse["d"].shape, fine["d"].shape
        (torch.Size([3, 10]), torch.Size([3, 10]), torch.Size([3, 20]))
    """
    approx, details = transform_of("wavedec", wavelet, x, axes=axes, boundary=boundary).decompose(x, level)
    return [approx, *details]


def waverec(
    coefficients: Sequence[Tensor | Detail],
    wavelet: str,
    *,
    axes: Sequence[int] = (-1,),
    boundary: str = "periodization",
    size: Sequence[int] | None = None,
) -> Tensor:
    r"""Merges the bands of all levels into a tensor: the inverse of `wavedec`.

    .. math:: a_{l-1} = \operatorname{idwt}(a_l, d_l), \qquad x = a_0, \qquad l = L, \dots, 1

    Args:
        coefficients: :math:`[a_L, d_L, \dots, d_1]`, of one floating-point dtype and any range; also as from
            `wavedec2`. A band, or all details of a level, that is `None` or missing is zero, and has the shape that the
            other bands and `size` imply: for an even number of samples if they leave a choice.
        wavelet: The wavelet that was given to `wavedec`.
        axes: The axes that were given to `wavedec`.
        boundary: The rule that was given to `wavedec`.
        size: As for `idwt`. The sizes at the other levels follow from the bands.

    Returns:
        The tensor.

    Raises:
        TypeError: If the coefficients are nested or named in another way, a band is not floating-point, the bands'
            dtypes differ, or the axes are no sequence of integers.
        ValueError: If there are no details, the coarsest level has no band, the bands do not fit together or do not fit
            `size`, they are on different devices, or the axes, the wavelet or the rule are wrong.

    References:
        As for `dwt1d`.

    Example:
        >>> x = torch.rand(3, 40)
        >>> approx, coarse, fine = wavedec(x, "5/3", level=2)
        >>> torch.allclose(waverec([approx, coarse, fine], "5/3"), x, atol=1e-6)
        True
        >>> waverec([approx, coarse, None], "5/3").shape  # without the finest details
        torch.Size([3, 40])
    """
    return recompose("waverec", coefficients, wavelet, axes=axes, boundary=boundary, size=size)


def wavedec2(
    x: Tensor, wavelet: str, *, boundary: str = "periodization", level: int | None = None
) -> list[Tensor | Details]:
    r"""Transforms images, then their approximations, level by level.

    .. math:: (a_l, d_l) = \operatorname{dwt2d}(a_{l-1}), \qquad a_0 = x, \qquad l = 1, \dots, L

    Args:
        x: Images :math:`(\dots, H, W)` of any size from :math:`1 \times 1` up, any floating-point dtype and range.
        wavelet: As for `dwt1d`.
        level: The number :math:`L` of levels, one or more; images of any size have any number of levels. `None` means
            as many as ``pywt.dwt_max_level`` returns for the shorter side, but at least one.
        boundary: As for `dwt1d`.

    Returns:
        :math:`[a_L, d_L, \dots, d_1]`, coarsest first; every :math:`d_l` is :math:`(c_H, c_V, c_D)`.

    Raises:
        TypeError: If `x` is not floating-point, or `level` is neither an integer nor `None`.
        ValueError: If `level` is below one, a side is zero, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> approx, coarse, fine = wavedec2(torch.rand(3, 9, 13), "9/7", level=2, boundary="reflect")
        >>> approx.shape, [tuple(band.shape) for band in fine]
        (torch.Size([3, 3, 4]), [(3, 4, 7), (3, 5, 6), (3, 4, 6)])
    """
    require_sides("wavedec2", x, num_axes=2)
    approx, details = transform_of("wavedec2", wavelet, x, axes=(-2, -1), boundary=boundary).decompose(x, level)
    return [approx, *((detail["da"], detail["ad"], detail["dd"]) for detail in details)]


def waverec2(
    coefficients: Sequence[Tensor | Sequence[Tensor | None] | None],
    wavelet: str,
    *,
    boundary: str = "periodization",
    size: tuple[int, int] | None = None,
) -> Tensor:
    r"""Merges the bands of all levels into images: the inverse of `wavedec2`.

    .. math:: a_{l-1} = \operatorname{idwt2d}(a_l, d_l), \qquad x = a_0, \qquad l = L, \dots, 1

    Args:
        coefficients: :math:`[a_L, d_L, \dots, d_1]`, of one floating-point dtype and any range. `None` instead of
            a band, or of all details of a level, means zeros, of the shape that the other bands and `size` imply: for
            an even number of samples where they leave a choice.
        wavelet: The wavelet that was given to `wavedec2`.
        boundary: The rule that was given to `wavedec2`.
        size: Height and width of the images, needed where images of two sizes have the same number of coefficients (see
            `idwt1d`). The sizes at the other levels follow from the bands.

    Returns:
        Images :math:`(\dots, H, W)`.

    Raises:
        TypeError: If the coefficients are nested in another way, a band is not floating-point, or the bands' dtypes
            differ.
        ValueError: If there are no details, the coarsest level has no band, the bands do not fit together or do not fit
            `size`, the bands are on different devices, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> x = torch.rand(3, 9, 13)
        >>> torch.allclose(waverec2(wavedec2(x, "9/7", level=2), "9/7"), x, atol=1e-6)
        True
        >>> approx, coarse, fine = wavedec2(x, "9/7", level=2)
        >>> waverec2([approx, coarse, None], "9/7", size=(9, 13)).shape  # without the finest details
        torch.Size([3, 9, 13])
    """
    if isinstance(coefficients, Sequence):
        for detail in coefficients[1:]:
            if detail is not None:
                four_bands("waverec2", (coefficients[0], detail))
    return recompose("waverec2", coefficients, wavelet, axes=(-2, -1), boundary=boundary, size=size)
