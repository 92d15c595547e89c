"""The data structures of a lifting scheme: its steps and its scales."""

from typing import Literal, NamedTuple


class LiftingStep(NamedTuple):
    r"""One lifting step: adds to every sample of one half a weighted sum of samples of the other half.

    .. math:: t_n \leftarrow t_n + \sum_j c_j \, o_{n + f + j}

    References:
        [Sweldens1998]_; [Daubechies1998]_.

    Example:
        >>> LiftingStep("detail", (-0.5, -0.5), 0)  # subtracts the mean of both neighbours from every odd sample
        LiftingStep(target='detail', taps=(-0.5, -0.5), first=0)
    """

    target: Literal["approx", "detail"]
    """The half :math:`t` that changes; :math:`o` is the other half. Odd samples are the detail."""
    taps: tuple[float, ...]
    """The weights :math:`c_j`."""
    first: int
    """The offset :math:`f` of the first tap."""


class Scheme(NamedTuple):
    r"""A wavelet transform of a line: split into even and odd samples, the steps in order, then the scales.

    .. math::

        \begin{pmatrix} a \\ d \end{pmatrix} = \begin{pmatrix} K_a & 0 \\ 0 & K_d \end{pmatrix} S_n \cdots S_1
        \begin{pmatrix} x_{2n} \\ x_{2n+1} \end{pmatrix}, \qquad K_a K_d = \pm 1

    References:
        [Daubechies1998]_; equation :eq:`polyphase` of :doc:`/mathematics`.

    Example:
        >>> scheme("5/3").scales
        (1.4142135623730951, -0.7071067811865475)
    """

    name: str
    """The wavelet's name in PyWavelets."""
    steps: tuple[LiftingStep, ...]
    """The steps :math:`S_i`, from first to last."""
    scales: tuple[float, float]
    """The factors :math:`K_a` and :math:`K_d` of approximation and detail."""
