"""A measure of how exactly an invertible module undoes itself."""

__all__ = ["InverseCheck", "check_inverse"]

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands, as_tuple, is_differentiable
from liftlayers.invertible import Invertible


class InverseCheck(NamedTuple):
    r"""What `check_inverse` measured.

    .. math:: (e, \; e / (\varepsilon A), \; A / \max |x|)

    with the symbols of `check_inverse`.

    References:
        [Behrmann2021]_; equation :eq:`chain-rounding` of :doc:`/mathematics`.

    Example:
        >>> check_inverse(Haar(), torch.ones(1, 1, 2, 2))
        InverseCheck(error=0.0, units=0.0, growth=2.0)
    """

    error: float
    """Largest absolute difference between a band and what came back of it."""
    units: float
    r"""The same in units of :math:`\varepsilon A`: at most 32 is usual for additive chains, see `check_inverse`."""
    growth: float
    """Largest absolute value of any band on the way over the largest one of the input."""


@torch.no_grad()
def check_inverse(module: Invertible, *bands: Tensor, condition: Tensor | None = None) -> InverseCheck:
    r"""Measures how exactly a module undoes itself on given bands.

    .. math::

        e = \max |x - f^{-1}(f(x))|, \qquad \text{units} = \frac{e}{\varepsilon A}, \qquad
        \text{growth} = \frac{A}{\max |x|}

    where :math:`A` is the largest absolute value of any band on the way (inputs and outputs of all invertible modules
    inside included) and :math:`\varepsilon` the unit roundoff: :math:`2^{-24}` in float32, :math:`2^{-53}` in
    float64. For additive chains of up to 96 blocks and a growth of at most 4, expect at most 32 units. Integers have no
    roundoff: zero units, or infinitely many.

    Args:
        module: The module :math:`f`, evaluated in the mode it is in, without gradients.
        bands: Its input :math:`x`, floating-point, complex or integers.
        condition: What its networks see beside the bands, in both directions, if they take one.

    Returns:
        The error, the same in units of :math:`\varepsilon A`, and the growth.

    Raises:
        TypeError: If `module` is not `Invertible`.
        ValueError: If no band is given, or the inverse returns other shapes than it was to rebuild.

    References:
        [Behrmann2021]_ on how inverses of invertible networks lose digits; equations :eq:`rounding` and
        :eq:`chain-rounding` of :doc:`/mathematics`.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> check_inverse(chain, torch.rand(1, 3, 16, 16)).units < 32
        True
    """
    if not isinstance(module, Invertible):
        raise TypeError(f"check_inverse needs an Invertible module, got {type(module).__name__}")
    if not bands:
        raise ValueError("check_inverse needs at least one band, got none")
    largest = [_largest(bands)]
    options = {} if condition is None else {"condition": condition}

    def record(_module: nn.Module, _inputs: object, outputs: Bands) -> None:
        largest.append(_largest(as_tuple(outputs)))

    # Methods named inverse have no hooks, but what a module does in one direction it undoes in the other.
    hooks = [step.register_forward_hook(record) for step in module.modules() if isinstance(step, Invertible)]
    try:
        outputs = as_tuple(module(*bands, **options))
        returned = as_tuple(module.inverse(*outputs, **options))
    finally:
        for hook in hooks:
            hook.remove()
    if [band.shape for band in returned] != [band.shape for band in bands]:
        shapes = [[tuple(band.shape) for band in side] for side in (bands, returned)]
        raise ValueError(f"check_inverse needs bands of shapes {shapes[0]} back, got {shapes[1]}")
    error = _largest(tuple(_wide(x) - _wide(y) for x, y in zip(bands, returned, strict=True)))
    amplitude = _max(largest)
    unit = amplitude * max(torch.finfo(band.dtype).eps / 2 if is_differentiable(band) else 0 for band in bands)
    # Neither an all-zero pass nor integers have a scale: any error is then infinitely many units, none is zero.
    units = error / unit if unit else (math.inf if error else 0.0)
    return InverseCheck(error, units, amplitude / largest[0] if largest[0] else 1.0)


def _largest(bands: tuple[Tensor, ...]) -> float:
    """Largest absolute value; not by `abs`, whose result an integer's dtype may not hold."""
    real = [band.abs() if band.is_complex() else band for band in bands if band.numel()]
    return _max([0.0, *(abs(float(limit)) for band in real for limit in band.aminmax())])


def _wide(band: Tensor) -> Tensor:
    """Integers in 64 bits, where the difference of narrower ones does not wrap around."""
    return band if is_differentiable(band) else band.long()


def _max(values: list[float]) -> float:
    """The greatest value, nan if one is: `max` alone passes over a nan that does not come first."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)
