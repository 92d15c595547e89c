"""The protocol that every layer here keeps, chains of such layers, and a measure of how exactly one inverts.

An invertible module has two methods, `forward` and `inverse`, and no direction flag. Its bands are positional tensors:
one tensor is returned bare, several as a tuple. Three laws hold for every one of them:

1. ``module.inverse(*module(*bands))`` returns `bands`, up to rounding, and ``module(*module.inverse(*bands))`` too.
2. Neither direction writes into its inputs.
3. No size is fixed at construction: shapes are checked when a tensor arrives, by the layer that needs them.
"""

__all__ = ["InverseCheck", "Inverse", "Invertible", "Sequential", "check_inverse"]

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor, nn

from liftlayers.functional._checks import require_float

Bands = Tensor | tuple[Tensor, ...]


def as_tuple(bands: Bands) -> tuple[Tensor, ...]:
    """Several bands as they are, a bare one as a tuple of one."""
    return bands if isinstance(bands, tuple) else (bands,)


class Invertible(nn.Module, ABC):
    r"""A module with a forward map and its inverse.

    .. math:: y = f(x), \qquad x = f^{-1}(y)

    Subclasses define `forward` and `inverse`, both from positional tensors to a tensor or a tuple of tensors, and
    write into none of them. :doc:`/extending` shows one in twenty lines, put through the laws of `liftlayers.testing`.

    Example:
        >>> class Negate(Invertible):
        ...     def forward(self, x):
        ...         return -x
        ...     def inverse(self, x):
        ...         return -x
        >>> Negate().inverse(Negate()(torch.ones(2)))
        tensor([1., 1.])
    """

    # How many bands a layer takes is its own affair: `Any` tells type checkers that any signature may override these.
    @abstractmethod
    def forward(self, *bands: Any, **options: Any) -> Bands:
        """Maps the bands forward."""

    @abstractmethod
    def inverse(self, *bands: Any, **options: Any) -> Bands:
        """Maps the bands back: the inverse of `forward`."""


class Sequential(Invertible):
    r"""Invertible steps, one after the other; the inverse undoes them from the last to the first.

    .. math:: f = f_n \circ \dots \circ f_1, \qquad f^{-1} = f_1^{-1} \circ \dots \circ f_n^{-1}

    Each step receives all bands that the step before it returned. ``len``, iteration, indices and slices work as for
    a list; a slice is a `Sequential` of the same steps. Parameters are named ``0.…``, ``1.…``, as in `torch.nn`.

    Args:
        steps: The steps :math:`f_1, \dots, f_n`, in the order of `forward`.

    Shape:
        - As the first step takes and the last one returns them.

    Raises:
        TypeError: If a step is not `Invertible`.
        ValueError: If a step takes another number of bands than the step before it returned; both are named.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> approx, detail = chain(torch.rand(1, 3, 8, 8))
        >>> chain.inverse(approx, detail).shape
        torch.Size([1, 3, 8, 8])
        >>> len(chain), type(chain[0]).__name__
        (2, 'Haar')
    """

    def __init__(self, *steps: Invertible) -> None:
        super().__init__()
        for position, step in enumerate(steps):
            if not isinstance(step, Invertible):
                raise TypeError(f"Sequential needs Invertible steps, got {type(step).__name__} at position {position}")
            self.add_module(str(position), step)
        # Looked up once: a signature is slow to inspect, and torch.compile cannot.
        self._takes = [(_num_bands(step.forward), _num_bands(step.inverse)) for step in steps]

    def forward(self, *bands: Tensor) -> Bands:
        for position, step in enumerate(self):
            self._check(position, bands, source=position - 1)
            bands = as_tuple(step(*bands))
        return bands[0] if len(bands) == 1 else bands

    def inverse(self, *bands: Tensor) -> Bands:
        for position, step in reversed(list(enumerate(self))):
            self._check(position, bands, source=position + 1, direction=1)
            bands = as_tuple(step.inverse(*bands))
        return bands[0] if len(bands) == 1 else bands

    def _check(self, position: int, bands: tuple[Tensor, ...], *, source: int, direction: int = 0) -> None:
        least, most = self._takes[position][direction]
        if not least <= len(bands) <= most:
            origin = f"step {source} ({type(self[source]).__name__})" if 0 <= source < len(self) else "the caller"
            verb = ("takes", "takes back")[direction]
            raise ValueError(
                f"Sequential step {position} ({type(self[position]).__name__}) {verb} {least} band(s), "
                f"got {len(bands)} from {origin}"
            )

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Invertible]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    @overload
    def __getitem__(self, index: int) -> Invertible: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> Invertible:
        steps = list(self)
        return Sequential(*steps[index]) if isinstance(index, slice) else steps[index]


class Inverse(Invertible):
    r"""A module with its two directions swapped.

    .. math:: g = f^{-1}, \qquad g^{-1} = f

    It is a module like any other, so hooks, exporters and containers see it. The inverse of an inverse is the module
    itself: ``Inverse(Inverse(m)) is m``.

    Args:
        module: The module :math:`f`.

    Shape:
        - Forward as the inverse of `module`, inverse as its forward.

    Raises:
        TypeError: If `module` is not `Invertible`.

    Example:
        >>> synthesis = Inverse(Haar())
        >>> synthesis(torch.ones(1, 3, 4, 4), torch.zeros(1, 9, 4, 4)).shape
        torch.Size([1, 3, 8, 8])
    """

    module: Invertible

    def __new__(cls, module: Invertible | None = None) -> Invertible:  # type: ignore[misc]  # None: copy and pickle
        return module.module if isinstance(module, Inverse) else super().__new__(cls)

    def __init__(self, module: Invertible) -> None:
        if not isinstance(module, Invertible):
            raise TypeError(f"Inverse needs an Invertible module, got {type(module).__name__}")
        super().__init__()
        self.module = module

    def forward(self, *bands: Tensor) -> Bands:
        return self.module.inverse(*bands)

    def inverse(self, *bands: Tensor) -> Bands:
        return self.module(*bands)


class InverseCheck(NamedTuple):
    """What `check_inverse` measured.

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
def check_inverse(module: Invertible, *bands: Tensor) -> InverseCheck:
    r"""Measures how exactly a module undoes itself on given bands.

    .. math::

        e = \max |x - f^{-1}(f(x))|, \qquad \text{units} = \frac{e}{\varepsilon A}, \qquad
        \text{growth} = \frac{A}{\max |x|}

    where :math:`A` is the largest absolute value of any band on the way (inputs and outputs of all invertible modules
    inside included) and :math:`\varepsilon` the unit roundoff: :math:`2^{-24}` in float32, :math:`2^{-53}` in
    float64. For additive chains of up to 96 blocks and a growth of at most 4, expect at most 32 units.

    Args:
        module: The module :math:`f`, evaluated in the mode it is in, without gradients.
        bands: Its input :math:`x`, floating-point.

    Returns:
        The error, the same in units of :math:`\varepsilon A`, and the growth.

    Raises:
        ValueError: If no band is given, or the inverse returns other shapes than it was to rebuild.

    References:
        [Behrmann2021]_ on how inverses of invertible networks lose digits.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> check_inverse(chain, torch.rand(1, 3, 16, 16)).units < 32
        True
    """
    if not bands:
        raise ValueError("check_inverse needs at least one band, got none")
    require_float("check_inverse", *bands)
    largest = [_largest(bands)]

    def record(_module: nn.Module, _inputs: object, outputs: Bands) -> None:
        largest.append(_largest(as_tuple(outputs)))

    # Methods named inverse have no hooks, but what a module does in one direction it undoes in the other.
    hooks = [step.register_forward_hook(record) for step in module.modules() if isinstance(step, Invertible)]
    try:
        outputs = as_tuple(module(*bands))
        returned = as_tuple(module.inverse(*outputs))
    finally:
        for hook in hooks:
            hook.remove()
    if [band.shape for band in returned] != [band.shape for band in bands]:
        shapes = [[tuple(band.shape) for band in side] for side in (bands, returned)]
        raise ValueError(f"check_inverse needs bands of shapes {shapes[0]} back, got {shapes[1]}")
    error = _largest(tuple(x - y for x, y in zip(bands, returned, strict=True)))
    amplitude, roundoff = _max(largest), max(torch.finfo(band.dtype).eps for band in bands) / 2
    # An all-zero pass has no scale: any error is then infinitely many units, none is zero.
    units = error / (roundoff * amplitude) if amplitude else (math.inf if error else 0.0)
    return InverseCheck(error, units, amplitude / largest[0] if largest[0] else 1.0)


def _largest(bands: tuple[Tensor, ...]) -> float:
    return _max([float(band.abs().max()) if band.numel() else 0.0 for band in bands])


def _max(values: list[float]) -> float:
    """The greatest value, nan if one is: `max` alone passes over a nan that does not come first."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def _num_bands(method: Callable[..., Bands]) -> tuple[int, float]:
    """Least and greatest number of positional tensors that a method takes."""
    parameters = inspect.signature(method).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    return least, math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
