"""Several levels of a named wavelet transform of images, with coefficients nested as in PyWavelets."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from liftlayers._checks import four_bands, require_positive
from liftlayers.functional._transform1d import EXPANSIVE
from liftlayers.functional.dwt import Details, Size, analysis2d, synthesis2d


def wavedec2(x: Tensor, wavelet: str, *, boundary: str = "periodization", level: int) -> list[Tensor | Details]:
    r"""Transforms images, then their approximations, level by level.

    .. math:: (a_l, d_l) = \operatorname{dwt2d}(a_{l-1}), \qquad a_0 = x, \qquad l = 1, \dots, L

    Args:
        x: Images :math:`(\dots, H, W)` of any size from :math:`1 \times 1` up, any floating-point dtype and range.
        wavelet: As for `dwt1d`.
        level: The number :math:`L` of levels, one or more; images of any size have any number of levels.
        boundary: As for `dwt1d`.

    Returns:
        :math:`[a_L, d_L, \dots, d_1]`, coarsest first; every :math:`d_l` is :math:`(c_H, c_V, c_D)`.

    Raises:
        TypeError: If `x` is not floating-point, or `level` is not an integer.
        ValueError: If `level` is below one, a side is zero, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> approx, coarse, fine = wavedec2(torch.rand(3, 9, 13), "9/7", level=2, boundary="reflect")
        >>> approx.shape, [tuple(band.shape) for band in fine]
        (torch.Size([3, 3, 4]), [(3, 4, 7), (3, 5, 6), (3, 4, 6)])
    """
    require_positive("wavedec2", level=level)
    details: list[Details] = []
    for _ in range(level):
        x, detail = analysis2d("wavedec2", x, wavelet, boundary=boundary)
        details.append(detail)
    return [x, *reversed(details)]


def waverec2(
    coefficients: Sequence[Tensor | Details], wavelet: str, *, boundary: str = "periodization", size: Size | None = None
) -> Tensor:
    r"""Merges the bands of all levels into images: the inverse of `wavedec2`.

    .. math:: a_{l-1} = \operatorname{idwt2d}(a_l, d_l), \qquad x = a_0, \qquad l = L, \dots, 1

    Args:
        coefficients: :math:`[a_L, d_L, \dots, d_1]`, of one floating-point dtype and any range.
        wavelet: The wavelet that was given to `wavedec2`.
        boundary: The rule that was given to `wavedec2`.
        size: Height and width of the images, needed where images of two sizes have the same number of coefficients (see
            `idwt1d`). The sizes at the other levels follow from the bands.

    Returns:
        Images :math:`(\dots, H, W)`.

    Raises:
        TypeError: If the coefficients are nested in another way, a band is not floating-point, or the bands' dtypes
            differ.
        ValueError: If there are no details, the bands do not fit together or do not fit `size`, the bands are on
            different devices, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> x = torch.rand(3, 9, 13)
        >>> torch.allclose(waverec2(wavedec2(x, "9/7", level=2), "9/7"), x, atol=1e-6)
        True
    """
    if not isinstance(coefficients, Sequence):
        raise TypeError(f"waverec2 needs [approx, details, ...], coarsest first, got {type(coefficients).__name__}")
    if len(coefficients) < 2:
        raise ValueError(f"waverec2 needs an approximation and at least one level of details, got {len(coefficients)}")
    x, *details = cast("tuple[Tensor, *tuple[Details, ...]]", coefficients)
    for detail in details:
        four_bands("waverec2", (x, detail))
    sizes = [(finer[0].shape[-2], finer[0].shape[-1]) if boundary in EXPANSIVE else None for finer in details[1:]]
    for detail, target in zip(details, [*sizes, size], strict=True):
        x = synthesis2d("waverec2", (x, detail), wavelet, boundary=boundary, size=target)
    return x
