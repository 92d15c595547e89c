"""The undecimated wavelet transform, also called stationary, and its left inverse."""

from collections.abc import Sequence

from torch import Tensor

from liftlayers.functional._axes import Detail, Transform, inverse_of, present, transform_of


def swt(
    x: Tensor, wavelet: str, *, axes: Sequence[int] = (-1,), level: int | None = None, norm: bool = False
) -> list[Tensor | dict[str, Tensor]]:
    r"""Transforms a tensor without decimation: every band has its shape, and a shift of it shifts all bands.

    .. math::

        a_n, d_n = x_n, x_{n+s}; \qquad d_n \leftarrow d_n + \sum_j c_j \, a_{n + 2s(f + j)}, \quad \dots; \qquad
        a, d \leftarrow K_a a, K_d d, \qquad s = 2^{l-1}

    Each level :math:`l` takes the lifting steps of `dwt1d` along each axis for every :math:`n`, and reads samples that
    are :math:`s` apart (*à trous*). The next level transforms the approximation. Results are those of ``pywt.swtn``
    with ``trim_approx=True``. Lines are periodic. PyWavelets needs sizes that are multiples of :math:`2^L`. Here, any
    size has any number of levels; the inverse and the behaviour under shifts are the same.

    Args:
        x: As for `dwt`.
        wavelet: As for `dwt1d`.
        axes: As for `dwt`.
        level: The number :math:`L` of levels, as for `wavedec2`.
        norm: Whether the scales of every level are divided by :math:`\sqrt 2` for each axis. With an orthogonal wavelet
            (haar, db, sym, coif), the sum of squares of all bands is then that of `x`. Without it, white noise has the
            same variance in all bands.

    Returns:
        :math:`[a_L, d_L, \dots, d_1]`, nested as from `wavedec`, all of the shape of `x`.

    Raises:
        TypeError: As for `wavedec`.
        ValueError: As for `wavedec`.

    References:
        [Nason1995]_; [Mallat2009]_, section 5.2.

    Example:
        >>> x = torch.rand(5, 7)
        >>> approx, coarse, fine = swt(x, "db2", axes=(0, 1), level=2)
        >>> approx.shape, list(fine)
        (torch.Size([5, 7]), ['da', 'ad', 'dd'])
        >>> shifted, _, _ = swt(x.roll(1, 0), "db2", axes=(0, 1), level=2)
        >>> torch.allclose(shifted, approx.roll(1, 0), atol=1e-6)
        True
    """
    transform = _without_decimation(transform_of("swt", wavelet, x, axes=axes), norm)
    approx, details = transform.decompose(x, level)
    return [approx, *details]


def iswt(
    coefficients: Sequence[Tensor | Detail], wavelet: str, *, axes: Sequence[int] = (-1,), norm: bool = False
) -> Tensor:
    r"""Merges undecimated bands into a tensor: a left inverse of `swt`.

    .. math::

        a, d \leftarrow a / K_a, d / K_d; \qquad \dots, \quad d_n \leftarrow d_n - \sum_j c_j \, a_{n + 2s(f + j)};
        \qquad x_n = \tfrac12 (a_n + d_{n-s})

    The bands hold every sample :math:`2^k` times for :math:`k` axes, and each level takes the mean. So
    ``iswt(swt(x))`` is `x`, but bands that were changed, such as thresholded ones, are in general not the bands of the
    result: the transform is redundant.

    Args:
        coefficients: :math:`[a_L, d_L, \dots, d_1]`, of one shape, one floating-point dtype and any range. A band, or
            all details of a level, that is `None` or missing is zero.
        wavelet: The wavelet that was given to `swt`.
        axes: The axes that were given to `swt`.
        norm: The value that was given to `swt`.

    Returns:
        The tensor.

    Raises:
        TypeError: As for `waverec`.
        ValueError: As for `waverec`, or if the bands have several shapes.

    References:
        As for `swt`.

    Example:
        >>> x = torch.rand(5, 7)
        >>> torch.allclose(iswt(swt(x, "9/7", level=2), "9/7"), x, atol=1e-6)
        True
    """
    transform, levels = inverse_of("iswt", coefficients, wavelet, axes=axes)
    bands = present(levels)
    if any(band.shape != bands[0].shape for band in bands):
        shapes = ", ".join(str(tuple(band.shape)) for band in bands)
        raise ValueError(f"iswt needs bands of one shape, got {shapes}")
    return _without_decimation(transform, norm).recompose(*levels)


def _without_decimation(transform: Transform, norm: bool) -> Transform:
    approx, detail = (scale / 2**0.5 if norm else scale for scale in transform.scheme.scales)
    return transform._replace(scheme=transform.scheme._replace(scales=(approx, detail)), spacing=1)
