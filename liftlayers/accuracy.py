"""A measurement of how exactly the inverse of a module undoes its forward."""

__all__ = ["InverseCheck", "check_inverse"]

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands, as_tuple, is_differentiable
from liftlayers.invertible import Invertible, require_invertible

WIDE_UNSIGNED = torch.uint16, torch.uint32, torch.uint64


class InverseCheck(NamedTuple):
    r"""The result of `check_inverse`.

    .. math:: (e, \; e / (\varepsilon A), \; A / \max |x|)

    with the symbols of `check_inverse`.

    References:
        [Behrmann2021]_; equation :eq:`chain-rounding` of :doc:`/mathematics`.

    Example:
        >>> check_inverse(Haar(), torch.ones(1, 1, 2, 2))
        InverseCheck(error=0.0, units=0.0, growth=2.0)
    """

    error: float
    """Largest absolute difference between the input and what the inverse returned."""
    units: float
    r"""The error in units of :math:`\varepsilon A`: at most 32 is usual for additive chains, see `check_inverse`."""
    growth: float
    """Largest absolute value of any intermediate band, divided by the largest absolute value of the input."""


@torch.no_grad()
def check_inverse(module: Invertible, *bands: Tensor, condition: Tensor | None = None) -> InverseCheck:
    r"""Measures how exactly the inverse of a module undoes its forward on given bands.

    .. math::

        e = \max |x - f^{-1}(f(x))|, \qquad \text{units} = \frac{e}{\varepsilon A}, \qquad
        \text{growth} = \frac{A}{\max |x|}

    where :math:`A` is the largest absolute value of any band (inputs, and outputs of all invertible modules inside) and
    :math:`\varepsilon` the unit roundoff: :math:`2^{-24}` in float32, :math:`2^{-53}` in float64. For additive chains
    of up to 96 blocks and a growth of at most 4, expect at most 32 units. Integers have no roundoff: an error in a band
    of integers is infinitely many units. If some inputs are floating-point, bands of integers do not count in :math:`A`
    and :math:`\max |x|`.

    Args:
        module: The module :math:`f`, evaluated in its current mode (training or evaluation), without gradients.
        bands: Its input :math:`x`, floating-point, complex or integers.
        condition: The condition for its networks in both directions, if they take one.

    Returns:
        The error, the error in units of :math:`\varepsilon A`, and the growth.

    Raises:
        TypeError: If `module` is not `Invertible`.
        ValueError: If no band is given, or the inverse returns other shapes than the input's.

    References:
        [Behrmann2021]_ on how inverses of invertible networks lose digits; equations :eq:`rounding` and
        :eq:`chain-rounding` of :doc:`/mathematics`.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> check_inverse(chain, torch.rand(1, 3, 16, 16)).units < 32
        True
    """
    require_invertible("check_inverse", module)
    if not bands:
        raise ValueError("check_inverse needs at least one band, got none")
    without_integers = any(map(is_differentiable, bands))
    largest: list[float] = []
    options = {} if condition is None else {"condition": condition}

    def record(_module: nn.Module, _inputs: object, outputs: Bands) -> None:
        counted = (band for band in as_tuple(outputs) if is_differentiable(band) or not without_integers)
        largest.append(_largest(counted))

    record(module, None, bands)
    # Hooks run in forward only, which is enough: the inverse passes through the same bands.
    hooks = [step.register_forward_hook(record) for step in module.modules() if isinstance(step, Invertible)]
    try:
        outputs = as_tuple(module(*bands, **options))
        returned = as_tuple(module.inverse(*outputs, **options))
    finally:
        for hook in hooks:
            hook.remove()
    if [band.shape for band in returned] != [band.shape for band in bands]:
        needed, got = ([tuple(band.shape) for band in side] for side in (bands, returned))
        raise ValueError(f"check_inverse needs an inverse that returns bands of shapes {needed}, got {got}")
    differences = [_difference(x, y) for x, y in zip(bands, returned, strict=True)]
    error = _largest(differences)
    wrong_integer = any(bool(d.any()) for x, d in zip(bands, differences, strict=True) if not is_differentiable(x))
    amplitude = _max(largest)
    unit = amplitude * max(torch.finfo(band.dtype).eps / 2 if is_differentiable(band) else 0 for band in bands)
    # With bands of zeros alone, the unit is zero: an error is then infinitely many units, too.
    units = math.inf if wrong_integer or (error and not unit) else error / (unit or 1.0)
    return InverseCheck(error, units, amplitude / largest[0] if largest[0] else 1.0)


def _largest(bands: Iterable[Tensor]) -> float:
    """Returns the largest absolute value, without `abs` of integers, which overflows for the lowest one."""
    real = [band.abs() if band.is_complex() else band for band in bands if band.numel()]
    real = [band.double() if band.dtype in WIDE_UNSIGNED else band for band in real]  # torch cannot order them
    return _max([0.0, *(abs(float(limit)) for band in real for limit in band.aminmax())])


def _difference(x: Tensor, y: Tensor) -> Tensor:
    """Subtracts bands, integers in 64 bits: differences of narrower ones wrap around, and float32 rounds large ones."""
    x, y = (band if is_differentiable(band) else band.long() for band in (x, y))
    if is_differentiable(y) and not is_differentiable(x):
        return x.cpu() - y.cpu().double()  # not every GPU has float64
    return x - y


def _max(values: list[float]) -> float:
    """Returns the greatest value, or nan if any value is nan; `max` alone ignores a nan that is not first."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)
