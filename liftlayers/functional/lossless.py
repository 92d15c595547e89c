"""Wavelet transforms from integers to integers, whose inverses are exact, bit for bit."""

from collections.abc import Sequence

import torch
from torch import Tensor

from liftlayers._checks import four_bands, require_sides, require_tensors
from liftlayers.functional._axes import Transform
from liftlayers.functional._integer_steps import lift_integers, unlift_integers
from liftlayers.functional.schemes import require_scheme

DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)  # those that torch can add and shift


def lossless_dwt1d(x: Tensor, wavelet: str) -> tuple[Tensor, Tensor]:
    r"""Splits lines of integers into approximation and detail, which are integers too.

    It takes the lifting steps of `dwt1d`, in the order of `scheme`, and rounds what each of them adds,

    .. math::

        a, d = x_{2n}, x_{2n+1}; \qquad d \leftarrow d + \left\lfloor S_1(a) + \tfrac12 \right\rfloor, \quad
        a \leftarrow a + \left\lfloor S_2(d) + \tfrac12 \right\rfloor, \quad \dots

    with lines that are mirrored about their first and their last sample. For ``"5/3"``, also called ``"bior2.2"``, this
    is the reversible transform of JPEG 2000,

    .. math::

        d_n = x_{2n + 1} - \left\lfloor \tfrac12 (x_{2n} + x_{2n + 2}) \right\rfloor, \qquad
        a_n = x_{2n} + \left\lfloor \tfrac14 (d_{n - 1} + d_n + 2) \right\rfloor

    ``"haar"`` is an exception: it is the S-transform,

    .. math:: d_n = x_{2n + 1} - x_{2n}, \qquad a_n = x_{2n} + \left\lfloor \tfrac12 d_n \right\rfloor

    in which the last of an odd number of samples has no partner and is its own approximation.

    **Exactness.** Taps are multiples of :math:`2^{-30}` and sums are sums of integers, so the bands have the same bits
    on every device. The inverse computes the same sums, so it returns every bit of **every** input.

    **Range.** The dtype does not change. Results that leave its range wrap around, and the inverse undoes this. The
    bands are the integers of the equations as long as these and all values between the steps fit the dtype:
    :doc:`/conventions` has the number of bits for every wavelet. For samples of :math:`b` bits,
    :math:`0 \le x < 2^b`, it is :math:`b + 1` signed bits with ``"haar"`` and :math:`b + 2` with ``"5/3"``. To see the
    true bands of 8-bit samples, call ``.to(torch.int16)`` first.

    **Convention.** The scales :math:`K` of the scheme are left out, because they are no integers. Only their sign
    remains, for the approximation. The bands of `dwt1d` under ``"reflect"`` are about :math:`|K_a| a` and
    :math:`K_d d`, and a constant :math:`c` has an approximation of about :math:`\sqrt2 \, c / |K_a|`.
    :doc:`/conventions` says how much rounding can change each wavelet's bands.

    Args:
        x: Lines of shape :math:`(\dots, N)` in uint8, int8, int16, int32 or int64.
        wavelet: A name that `wavelets` lists, or an alias.

    Returns:
        Approximation :math:`(\dots, \lceil N / 2 \rceil)` and detail :math:`(\dots, \lfloor N / 2 \rfloor)`.

    Raises:
        TypeError: If `x` has none of these dtypes.
        ValueError: If `x` has no axis or no samples, or the wavelet is unknown.

    References:
        [T800]_, annex F; [Calderbank1998]_.

    Example:
        >>> lossless_dwt1d(torch.tensor([1, 3, 6, 8, 7]), "5/3")
        (tensor([1, 7, 8]), tensor([0, 2]))
    """
    bands = _transform("lossless_dwt1d", wavelet, x, num_axes=1).analyse(x)
    return bands["a"], bands["d"]


def lossless_idwt1d(approx: Tensor, detail: Tensor, wavelet: str) -> Tensor:
    r"""Merges bands of integers into lines: the inverse of `lossless_dwt1d`, bit for bit.

    The same sums are computed again and undone in reverse order:

    .. math::

        \dots, \quad a \leftarrow a - \left\lfloor S_2(d) + \tfrac12 \right\rfloor, \quad
        d \leftarrow d - \left\lfloor S_1(a) + \tfrac12 \right\rfloor; \qquad x_{2n}, x_{2n+1} = a, d

    Args:
        approx: Approximation of shape :math:`(\dots, \lceil N / 2 \rceil)`, of one of the integer dtypes and any range.
        detail: Detail of shape :math:`(\dots, \lfloor N / 2 \rfloor)` and the same dtype.
        wavelet: The wavelet of the forward transform.

    Returns:
        Lines of shape :math:`(\dots, N)`.

    Raises:
        TypeError: If a band does not hold integers, or the bands' dtypes differ.
        ValueError: If the shapes do not fit together, the bands are on different devices, or the wavelet is unknown.

    References:
        As for `lossless_dwt1d`.

    Example:
        >>> lossless_idwt1d(torch.tensor([1, 7, 8]), torch.tensor([0, 2]), "5/3")
        tensor([1, 3, 6, 8, 7])
    """
    transform = _transform("lossless_idwt1d", wavelet, approx, detail, num_axes=1)
    return transform.synthesise({"a": approx, "d": detail}, [None])


def lossless_dwt2d(x: Tensor, wavelet: str) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    r"""Splits images of integers into approximation and detail: `lossless_dwt1d` of the columns, then of the rows.

    .. math:: c_A = A_c A_r x, \qquad c_H = A_c D_r x, \qquad c_V = D_c A_r x, \qquad c_D = D_c D_r x

    :math:`A` and :math:`D` are the approximation and the detail of `lossless_dwt1d`, :math:`r` from one row to the
    next, which comes first, and :math:`c` from one column to the next. Rounding makes the order matter; it is that of
    JPEG 2000.

    **Range.** As for lines. int16 holds the bands of 8-bit images for every wavelet. Those of ``"5/3"`` and ``"haar"``
    are the integers of the equations if the dtype holds the following ranges, for samples of :math:`b` bits with
    :math:`M = 2^b - 1` and :math:`q = 2^{b - 2}`, :math:`b \ge 3`. Each limit is reached:

    ===========  =================================  ========  ======================  ========
    band         ``"5/3"``                          8 bits    ``"haar"``              8 bits
    ===========  =================================  ========  ======================  ========
    :math:`c_A`  :math:`2 - 5q/2, \dots, M + 5q/2`  −158…415  :math:`0, \dots, M`     0…255
    :math:`c_H`  :math:`2 - 6q, \dots, 6q - 1`      −382…383  :math:`-M, \dots, M`    −255…255
    :math:`c_V`  :math:`2 - 6q, \dots, 6q - 2`      −382…382  :math:`-M, \dots, M`    −255…255
    :math:`c_D`  :math:`-2M, \dots, 2M`             −510…510  :math:`-2M, \dots, 2M`  −510…510
    ===========  =================================  ========  ======================  ========

    **Convention.** Names and order are those of the other transforms of this library: horizontal detail is the
    difference of rows. Scales are left out as for lines: with ``"haar"`` and ``"5/3"`` the bands of `dwt2d` are about
    :math:`2 c_A, -c_H, -c_V, c_D / 2`.

    Args:
        x: Images of shape :math:`(\dots, H, W)` in uint8, int8, int16, int32 or int64.
        wavelet: As for `lossless_dwt1d`.

    Returns:
        :math:`(c_A, (c_H, c_V, c_D))`: with :math:`\lceil H / 2 \rceil` rows in :math:`c_A, c_V`,
        :math:`\lfloor H / 2 \rfloor` in :math:`c_H, c_D`; :math:`\lceil W / 2 \rceil` columns in :math:`c_A, c_H`,
        :math:`\lfloor W / 2 \rfloor` in :math:`c_V, c_D`.

    Raises:
        TypeError: If `x` has none of these dtypes.
        ValueError: If `x` has fewer than two axes, a side is zero, or the wavelet is unknown.

    References:
        As for `lossless_dwt1d`.

    Example:
        >>> x = torch.randint(256, (3, 5, 7), dtype=torch.uint8)
        >>> cA, (cH, cV, cD) = lossless_dwt2d(x.to(torch.int16), "5/3")
        >>> cA.shape, cH.shape, cV.shape, cD.shape
        (torch.Size([3, 3, 4]), torch.Size([3, 2, 4]), torch.Size([3, 3, 3]), torch.Size([3, 2, 3]))
    """
    bands = _transform("lossless_dwt2d", wavelet, x, num_axes=2).analyse(x)
    return bands["aa"], (bands["da"], bands["ad"], bands["dd"])


def lossless_idwt2d(coefficients: tuple[Tensor, tuple[Tensor, Tensor, Tensor]], wavelet: str) -> Tensor:
    r"""Merges four bands of integers into images: the inverse of `lossless_dwt2d`, bit for bit.

    .. math:: x = R_r\bigl(R_c(c_A, c_V), R_c(c_H, c_D)\bigr)

    with :math:`R` the `lossless_idwt1d` of an approximation and a detail, first along the columns axis :math:`c`, then
    along the rows axis :math:`r`.

    Args:
        coefficients: :math:`(c_A, (c_H, c_V, c_D))`, of the shapes and the integer dtype that `lossless_dwt2d` returns,
            of any range.
        wavelet: The wavelet of the forward transform.

    Returns:
        Images of shape :math:`(\dots, H, W)`.

    Raises:
        TypeError: If the bands are nested in another way, a band does not hold integers, or the bands' dtypes differ.
        ValueError: If the shapes do not fit together, the bands are on different devices, or the wavelet is unknown.

    References:
        As for `lossless_dwt1d`.

    Example:
        >>> x = torch.randint(256, (3, 5, 7), dtype=torch.uint8)
        >>> torch.equal(lossless_idwt2d(lossless_dwt2d(x, "5/3"), "5/3"), x)
        True
    """
    bands = four_bands("lossless_idwt2d", coefficients)
    transform = _transform("lossless_idwt2d", wavelet, *bands, num_axes=2)
    return transform.synthesise(dict(zip(("aa", "da", "ad", "dd"), bands, strict=True)), [None, None])


class IntegerTransform(Transform):
    """A wavelet transform of integers along several axes, by lifting steps from integers to integers."""

    def split(self, x: Tensor, dim: int) -> Sequence[Tensor]:
        return lift_integers(x, self.scheme, dim=dim)

    def join(self, approx: Tensor, detail: Tensor, dim: int) -> Tensor:
        return unlift_integers(approx, detail, self.scheme, dim=dim)


def _transform(who: str, wavelet: str, *bands: Tensor, num_axes: int) -> IntegerTransform:
    """Returns a transform; raises unless it is known, all bands are integers, and the first is not empty."""
    scheme = require_scheme(who, wavelet)
    require_integers(who, *bands, advice="; for floats use the layer Wavelet")
    require_sides(who, bands[0], num_axes=num_axes)
    return IntegerTransform(who, scheme, tuple(range(-num_axes, 0)))


def require_integers(who: str, *tensors: Tensor, advice: str = "") -> None:
    """Raises `TypeError` unless every tensor holds integers of a dtype that torch can add and shift."""
    require_tensors(who, *tensors)
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            needed = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise TypeError(f"{who} needs integers ({needed}), got {tensor.dtype}{advice}")
