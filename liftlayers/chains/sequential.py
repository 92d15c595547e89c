"""Chains of invertible steps."""

__all__ = ["Sequential"]

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from liftlayers._bands import Bands, as_tuple, bare, zero_log_det
from liftlayers.chains._notes import call_at
from liftlayers.invertible import Inverse, Invertible
from liftlayers.memory._recompute import checkpointed, has_hooks
from liftlayers.memory.reversible import can_rebuild, reversible

Memory = Literal["store", "reversible", "checkpoint"]


class _Walked(NamedTuple):
    """A step as fine as it goes, the checks of the chains in which it is next, and where it stands in all of them."""

    step: Invertible
    checks: list[Callable[[tuple[Tensor, ...]], None]]
    places: list[tuple[int, Invertible]]


class Sequential(Invertible):
    r"""Invertible steps, one after the other; the inverse undoes them from the last to the first.

    .. math:: f = f_n \circ \dots \circ f_1, \qquad f^{-1} = f_1^{-1} \circ \dots \circ f_n^{-1}

    Each step receives all bands that the step before it returned. ``len``, iteration, indices and slices work as for
    a list; a slice is a `Sequential` of the same steps. Parameters are named ``0.…``, ``1.…``, as in `torch.nn`. What
    rounding makes of a long chain is equation :eq:`chain-rounding` of :doc:`/mathematics`, after :eq:`chain`.

    Args:
        steps: The steps :math:`f_1, \dots, f_n`, in the order of `forward`.
        memory: What is kept for the gradient, in either direction; it may be set later, and no name depends on it.
            ``"store"`` leaves that to autograd. ``"reversible"`` keeps the last bands and rebuilds the rest from them,
            for a third more computation and up to rounding, which is watched; tensors that networks use without
            holding them, as in a closure, get no gradient. ``"checkpoint"`` keeps the bands between steps and computes
            each step again. :doc:`/memory` compares them. Log-determinants are computed as with ``"store"``.

    Shape:
        - As the first step takes and the last one returns them.

    Raises:
        TypeError: If a step is not `Invertible`.
        ValueError: If a step takes another number of bands than the step before it returned (both are named), if
            `memory` is none of the three, or if there is a condition and no step takes one. An error of a step says
            which step it came from.

    References:
        [Gomez2017]_ on rebuilding activations from outputs; [Jacobsen2018]_ on whole networks that invert;
        :doc:`/memory`.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)), memory="reversible")
        >>> approx, detail = chain(torch.rand(1, 3, 8, 8))
        >>> chain.inverse(approx, detail).shape
        torch.Size([1, 3, 8, 8])
        >>> len(chain), type(chain[0]).__name__
        (2, 'Haar')
    """

    def __init__(self, *steps: Invertible, memory: Memory = "store") -> None:
        super().__init__()
        self.memory = memory
        self._takes: list[tuple[tuple[int, float], tuple[int, float]]] = []
        self._conditional: list[bool] = []
        for step in steps:
            self.append(step)

    def append(self, step: Invertible) -> "Sequential":
        """Adds a step at the end and returns the chain, which should not be a step of another chain yet.

        Raises:
            TypeError: If `step` is not `Invertible`.
        """
        if not isinstance(step, Invertible):
            raise TypeError(f"Sequential needs Invertible steps, got {type(step).__name__} at position {len(self)}")
        self.add_module(str(len(self)), step)
        # Looked up once: a signature is slow to inspect, and torch.compile cannot.
        self._takes.append((_num_bands(step), _num_bands(step, backwards=True)))
        self._conditional.append(step.conditional)
        return self

    @property
    def memory(self) -> Memory:
        """What is kept for the gradient: ``"store"``, ``"reversible"`` or ``"checkpoint"``."""
        return self._memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        if memory not in ("store", "reversible", "checkpoint"):
            raise ValueError(f"Sequential needs a memory of 'store', 'reversible' or 'checkpoint', got {memory!r}")
        self._memory: Memory = memory

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        self._require_use(condition)
        if self.memory == "reversible" and can_rebuild():
            return self._reversible(bands, condition)
        for position, step in enumerate(self):
            bands = as_tuple(self._call(position, self._keeping(step), bands, condition))
        return bare(bands)

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        self._require_use(condition)
        if self.memory == "reversible" and can_rebuild():
            return self._reversible(bands, condition, backwards=True)
        for position, step in reversed(list(enumerate(self))):
            function = self._keeping(step, backwards=True)
            bands = as_tuple(self._call(position, function, bands, condition, backwards=True))
        return bare(bands)

    def forward_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        self._require_use(condition)
        given, total = bands, 0.0
        for position, step in enumerate(self):
            outputs, log_det = self._call(position, step.forward_and_log_det, bands, condition)
            bands, total = as_tuple(outputs), total + log_det
        return bare(bands), zero_log_det(given) + total

    def inverse_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        self._require_use(condition)
        given, total = bands, 0.0
        for position, step in reversed(list(enumerate(self))):
            outputs, log_det = self._call(position, step.inverse_and_log_det, bands, condition, backwards=True)
            bands, total = as_tuple(outputs), total + log_det
        return bare(bands), zero_log_det(given) + total

    @property
    def conditional(self) -> bool:
        return any(self._conditional)

    def steps(self) -> tuple[Invertible, ...]:
        return tuple(finer for step in self for finer in step.steps())

    def _keeping(self, step: Invertible, *, backwards: bool = False) -> Callable[..., Bands]:
        """A step's direction, or a function that keeps its input alone and is evaluated again for its gradient."""
        if self.memory != "store" and can_rebuild():
            return functools.partial(checkpointed, Inverse(step) if backwards else step)
        function = step.inverse if backwards else step
        if self.memory != "store" and torch.is_grad_enabled() and torch.compiler.is_compiling():
            return functools.partial(checkpoint, function, use_reentrant=False)
        return function

    def _reversible(self, bands: tuple[Tensor, ...], condition: Tensor | None, *, backwards: bool = False) -> Bands:
        if condition is not None and not isinstance(condition, Tensor):
            raise TypeError(
                "Sequential with memory='reversible' needs a tensor as condition, which autograd can follow, got "
                f"{type(condition).__name__}; with 'store' or 'checkpoint' it hands on whatever the networks take"
            )
        walked = self._walk(backwards)
        used = {} if condition is None else {"condition": condition}
        options = [used if each.step.conditional else {} for each in walked]

        def call(number: int, function: Callable[..., Bands], bands: tuple[Tensor, ...], options: Any) -> Any:
            for fits in walked[number].checks:
                fits(bands)
            return as_tuple(call_at("step", walked[number].places, function, bands, options))

        return bare(reversible([each.step for each in walked], bands, options, call))

    def _walk(self, backwards: bool) -> list[_Walked]:
        """The steps in a direction, as fine as they go; those with hooks inside, which expect to be called, as one."""
        walked: list[_Walked] = []
        for position, step in reversed(list(enumerate(self))) if backwards else enumerate(self):
            inner, inwards = (step.module, not backwards) if isinstance(step, Inverse) else (step, backwards)
            if isinstance(inner, Sequential) and type(inner).steps is Sequential.steps and not has_hooks(step, inner):
                finer = inner._walk(inwards)
            else:
                directed = Inverse(step) if backwards else step
                steps = directed.steps()
                if steps != (directed,) and has_hooks(*step.modules()):
                    steps = (directed,)
                finer = [_Walked(each, [], []) for each in steps]
            if finer:
                finer[0].checks.insert(0, functools.partial(self._check, position, backwards=backwards))
            for each in finer:
                each.places.append((position, step))
            walked += finer
        return walked

    def _call(
        self,
        position: int,
        function: Callable[..., Any],
        bands: tuple[Tensor, ...],
        condition: Tensor | None,
        *,
        backwards: bool = False,
    ) -> Any:
        """Calls a direction of a step with its bands, which are checked, and the condition if it takes one."""
        self._check(position, bands, backwards=backwards)
        options = {"condition": condition} if condition is not None and self._conditional[position] else {}
        return call_at("step", [(position, self[position])], function, bands, options)

    def _check(self, position: int, bands: tuple[Tensor, ...], *, backwards: bool = False) -> None:
        source = position + 1 if backwards else position - 1
        before = (source, self[source]) if 0 <= source < len(self) else None
        verb = "takes back" if backwards else "takes"
        _require_num_bands(position, self[position], self._takes[position][backwards], bands, before, verb)

    def _require_use(self, condition: Tensor | None) -> None:
        if condition is not None and not any(self._conditional):
            raise ValueError(f"Sequential got a condition, but none of its {len(self)} steps takes one")

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
        return Sequential(*steps[index], memory=self.memory) if isinstance(index, slice) else steps[index]


def _require_num_bands(
    position: int,
    step: Invertible,
    takes: tuple[int, float],
    bands: tuple[Tensor, ...],
    before: tuple[int, Invertible] | None,
    verb: str,
) -> None:
    least, most = takes
    if not least <= len(bands) <= most:
        origin = "the caller" if before is None else f"step {before[0]} ({type(before[1]).__name__})"
        raise ValueError(
            f"Sequential step {position} ({type(step).__name__}) {verb} {least} band(s), got {len(bands)} from {origin}"
        )


def _num_bands(step: Invertible, *, backwards: bool = False) -> tuple[int, float]:
    """Least and greatest number of bands that a step takes, or takes back."""
    if isinstance(step, Inverse):
        return _num_bands(step.module, backwards=not backwards)
    return _num_positional(type(step).inverse if backwards else type(step).forward)


@functools.cache
def _num_positional(function: Callable[..., Bands]) -> tuple[int, float]:
    _self, *parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    return least, math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
