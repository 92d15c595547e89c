"""One level of a named wavelet transform, of lines and of images, and its inverse."""

from collections.abc import Sequence

from torch import Tensor

from liftlayers._checks import four_bands, require_sides
from liftlayers.functional._axes import Details, recompose, transform_of


def dwt1d(x: Tensor, wavelet: str, *, boundary: str = "periodization") -> tuple[Tensor, Tensor]:
    r"""Transforms lines, along the last axis, into approximation and detail.

    .. math::

        a, d = x_{2n}, x_{2n+1}; \qquad d \leftarrow d + S_1(a), \quad a \leftarrow a + S_2(d), \quad \dots; \qquad
        a, d \leftarrow K_a a, K_d d

    with the steps :math:`S_i`, each a `LiftingStep`, and the scales :math:`K` of `scheme`. The scheme says which half
    changes first.

    **Convention.** Order, sign and scale are PyWavelets'. Each boundary rule continues a line beyond its ends:

    - ``"periodization"`` repeats each half, the even and the odd samples;
    - ``"reflect"`` mirrors the line at its first and last sample, which are not repeated;
    - ``"symmetric"`` mirrors the line so that its first and last sample are repeated;
    - ``"periodic"`` repeats the line;
    - ``"constant"`` repeats the first and last sample;
    - ``"zero"`` adds zeros.

    The first two are not expansive: :math:`n` samples have :math:`\lceil n/2 \rceil` approximations and
    :math:`\lfloor n/2 \rfloor` details. The other four return :math:`\lfloor (n + L - 1)/2 \rfloor` of each, with
    :math:`L` the length of PyWavelets' filters.

    Results are those of ``pywt.dwt`` in the mode of the same name, with two exceptions. Under ``"periodization"`` and
    odd :math:`n`, PyWavelets first repeats the last sample. Under ``"reflect"`` PyWavelets returns more coefficients
    than there are samples. Ours are some of those for wavelets that are symmetric about a sample (such as bior2.2,
    bior4.4 and bior6.8). For other wavelets the mirrored lifting steps are a different rule, which is inverted just as
    well.

    Args:
        x: Lines :math:`(\dots, n)`, :math:`n \ge 1`, of any floating-point dtype and range.
        wavelet: A name that `scheme` knows: PyWavelets', or ``"5/3"`` or ``"9/7"``; or an object with such a ``name``,
            as a ``pywt.Wavelet`` is.
        boundary: One of the six rules.

    Returns:
        Approximation and detail, :math:`(\dots, n_a)` and :math:`(\dots, n_d)`.

    Raises:
        TypeError: If `x` is not floating-point.
        ValueError: If a line has no samples, or the wavelet or the rule is unknown.

    References:
        [Daubechies1998]_; [Lee2019]_ is PyWavelets; equation :eq:`polyphase` of :doc:`/mathematics`;
        :doc:`/conventions`.

    Example:
        >>> approx, detail = dwt1d(torch.arange(9.0), "5/3", boundary="reflect")
        >>> approx / 2**0.5, detail.abs()  # a ramp has details only where its mirror image begins
        (tensor([0., 2., 4., 6., 8.]), tensor([0., 0., 0., 0.]))
    """
    require_sides("dwt1d", x, num_axes=1)
    bands = transform_of("dwt1d", wavelet, x, axes=(-1,), boundary=boundary).analyse(x)
    return bands["a"], bands["d"]


def idwt1d(
    approx: Tensor, detail: Tensor, wavelet: str, *, boundary: str = "periodization", size: int | None = None
) -> Tensor:
    r"""Merges approximation and detail into lines: the inverse of `dwt1d`.

    .. math::

        a, d \leftarrow a / K_a, d / K_d; \qquad \dots, \quad a \leftarrow a - S_2(d), \quad d \leftarrow d - S_1(a);
        \qquad x_{2n}, x_{2n+1} = a, d

    with the symbols of `dwt1d`: it undoes the scales, then the steps from the last to the first.

    Args:
        approx: Approximation :math:`(\dots, n_a)`, of any floating-point dtype and range.
        detail: Detail :math:`(\dots, n_d)`, of the dtype of `approx`.
        wavelet: The wavelet that was given to `dwt1d`.
        boundary: The rule that was given to `dwt1d`.
        size: The length :math:`n` of the lines. The first two rules need none: the bands determine it. Under the
            other four rules lines of two lengths have the same number of coefficients, and `None` means the even
            length.

    Returns:
        Lines :math:`(\dots, n)`.

    Raises:
        TypeError: If a band is not floating-point, or their dtypes differ.
        ValueError: If the bands do not fit together or do not fit `size`, the bands are on different devices, or the
            wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> x = torch.rand(2, 7)
        >>> torch.allclose(idwt1d(*dwt1d(x, "db2"), "db2"), x)
        True
        >>> bands = dwt1d(x, "db2", boundary="symmetric")
        >>> torch.allclose(idwt1d(*bands, "db2", boundary="symmetric", size=7), x, atol=1e-6)
        True
    """
    transform = transform_of("idwt1d", wavelet, approx, detail, axes=(-1,), boundary=boundary)
    return transform.synthesise({"a": approx, "d": detail}, [size])


def dwt2d(x: Tensor, wavelet: str, *, boundary: str = "periodization") -> tuple[Tensor, Details]:
    r"""Transforms images, the last two axes, into approximation and horizontal, vertical and diagonal detail.

    .. math:: c_A = A_r A_c x, \qquad c_H = D_r A_c x, \qquad c_V = A_r D_c x, \qquad c_D = D_r D_c x

    :math:`A` and :math:`D` are the approximation and the detail of `dwt1d`, :math:`r` along the rows axis (from one
    row to the next), :math:`c` along the columns axis. Horizontal detail is the difference of rows.

    Args:
        x: Images :math:`(\dots, H, W)` of any size from :math:`1 \times 1` up, any floating-point dtype and range.
        wavelet: As for `dwt1d`.
        boundary: As for `dwt1d`, which says how many coefficients each axis has.

    Returns:
        :math:`(c_A, (c_H, c_V, c_D))`. Along a side of odd length, the bands' sizes differ by one, unless the rule is
        expansive.

    Raises:
        TypeError: If `x` is not floating-point.
        ValueError: If a side is zero, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> approx, (horizontal, vertical, diagonal) = dwt2d(torch.rand(3, 5, 8), "9/7", boundary="reflect")
        >>> approx.shape, horizontal.shape, vertical.shape
        (torch.Size([3, 3, 4]), torch.Size([3, 2, 4]), torch.Size([3, 3, 4]))
    """
    require_sides("dwt2d", x, num_axes=2)
    bands = transform_of("dwt2d", wavelet, x, axes=(-2, -1), boundary=boundary).analyse(x)
    return bands["aa"], (bands["da"], bands["ad"], bands["dd"])


def idwt2d(
    coefficients: tuple[Tensor | None, Sequence[Tensor | None]],
    wavelet: str,
    *,
    boundary: str = "periodization",
    size: tuple[int, int] | None = None,
) -> Tensor:
    r"""Merges the four bands into images: the inverse of `dwt2d`.

    .. math:: x = R_r\bigl(R_c(c_A, c_V), R_c(c_H, c_D)\bigr)

    with :math:`R` the `idwt1d` of an approximation and a detail, first along the columns axis :math:`c`, then along
    the rows axis :math:`r`.

    Args:
        coefficients: :math:`(c_A, (c_H, c_V, c_D))`, of one floating-point dtype and any range. A band that is `None`
            is zero.
        wavelet: The wavelet that was given to `dwt2d`.
        boundary: The rule that was given to `dwt2d`.
        size: Height and width, needed where images of two sizes have the same number of coefficients (see `idwt1d`);
            `None` means the even ones.

    Returns:
        Images :math:`(\dots, H, W)`.

    Raises:
        TypeError: If the bands are nested in another way, a band is not floating-point, or their dtypes differ.
        ValueError: If all bands are `None`, the bands do not fit together or do not fit `size`, the bands are on
            different devices, or the wavelet or the rule is unknown.

    References:
        As for `dwt1d`.

    Example:
        >>> x = torch.rand(3, 5, 7)
        >>> torch.allclose(idwt2d(dwt2d(x, "5/3"), "5/3"), x, atol=1e-6)
        True
    """
    four_bands("idwt2d", coefficients)
    return recompose("idwt2d", coefficients, wavelet, axes=(-2, -1), boundary=boundary, size=size)
