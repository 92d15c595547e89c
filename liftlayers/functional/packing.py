"""All bands of a transform in one tensor of the shape of what was transformed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from liftlayers._checks import require_whole
from liftlayers.functional._axes import Detail, Transform, inverse_of, transform_of


def pack(coefficients: Sequence[Tensor | Detail], *, axes: Sequence[int] = (-2, -1)) -> Tensor:
    r"""Puts the bands of all levels into one tensor: the approximation in the first corner, details beyond it.

    .. math::

        \operatorname{pack}(a_L, d_L, \dots, d_1) = \begin{pmatrix}
        \operatorname{pack}(a_L, d_L, \dots, d_2) & c_V \\ c_H & c_D \end{pmatrix}, \qquad d_1 = (c_H, c_V, c_D)

    Along every axis, approximation comes before detail, for any number of axes. The layout is that of
    ``pywt.coeffs_to_array``. The bands fill the tensor, so `unpack` needs no slices.

    Args:
        coefficients: :math:`[a_L, d_L, \dots, d_1]` from `wavedec2` or `wavedec`, under a boundary rule that is not
            expansive; of one floating-point dtype and any range. A band that is `None` is zero, as for `waverec`.
        axes: The axes of the transform.

    Returns:
        Tensor of the shape of what was transformed.

    Raises:
        TypeError: If the coefficients are nested or named in another way, a band is not floating-point, the bands'
            dtypes differ, or the axes are no sequence of integers.
        ValueError: If there are no details, the coarsest level has no band, the bands do not fit together, as those of
            several levels do not under an expansive rule, they are on different devices, or the axes are wrong.

    References:
        [Lee2019]_; [Mallat2009]_, section 7.7.

    Example:
        >>> bands = wavedec2(torch.rand(3, 9, 13), "9/7", level=2)
        >>> pack(bands).shape
        torch.Size([3, 9, 13])
    """
    transform, levels = inverse_of("pack", coefficients, "haar", axes=axes)
    return _Packing(*transform).recompose(*levels)


def unpack(x: Tensor, *, level: int, axes: Sequence[int] = (-2, -1)) -> list[Tensor | dict[str, Tensor]]:
    r"""Takes the bands of all levels out of a tensor: the inverse of `pack`.

    .. math:: (a_l, d_l) \text{ from the first } \lceil n / 2 \rceil \text{ and the other } \lfloor n / 2 \rfloor
        \text{ samples of } a_{l-1}

    The bands are views of the tensor.

    Args:
        x: What `pack` returned.
        level: The number :math:`L` of levels.
        axes: The axes that were given to `pack`.

    Returns:
        :math:`[a_L, d_L, \dots, d_1]`, nested as from `wavedec`; `waverec` takes it.

    Raises:
        TypeError: If `x` is not floating-point, `level` is no integer, or the axes are no sequence of integers.
        ValueError: If `level` is below one, or the axes are wrong.

    References:
        As for `pack`.

    Example:
        >>> bands = unpack(pack(wavedec2(torch.rand(3, 9, 13), "9/7", level=2)), level=2)
        >>> bands[0].shape, bands[1]["da"].shape
        (torch.Size([3, 3, 4]), torch.Size([3, 2, 4]))
    """
    require_whole("unpack", level=level)
    approx, details = _Packing(*transform_of("unpack", "haar", x, axes=axes)).decompose(x, level)
    return [approx, *details]


class _Packing(Transform):
    """Splits lines in the middle and joins them again, instead of a wavelet transform."""

    def split(self, x: Tensor, dim: int) -> Sequence[Tensor]:
        return x.tensor_split([(x.shape[dim] + 1) // 2], dim)

    def join(self, approx: Tensor, detail: Tensor, dim: int) -> Tensor:
        return torch.cat((approx, detail), dim)
