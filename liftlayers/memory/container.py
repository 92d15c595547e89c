"""Modules made of invertible steps, and what they keep for the gradient."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils import parametrize

from liftlayers._bands import Bands, as_tuple, bare, require_log_det, zero_log_det
from liftlayers.invertible import Invertible, Part, is_made_of_steps, parts_of, unwrapped
from liftlayers.memory._inventory import has_hooks
from liftlayers.memory._leaves import Leaf, Position
from liftlayers.memory._recompute import run_in_turn
from liftlayers.memory.reversible import reversible

AsTuple = tuple[Tensor, ...]
Memory = Literal["store", "reversible", "checkpoint"]


class WithMemory(Invertible):
    """Base of the modules that have a choice of what they keep for the gradient."""

    def __init__(self, *, memory: Memory = "store") -> None:
        super().__init__()
        self.memory = memory

    @property
    def memory(self) -> Memory:
        """What is kept for the gradient: ``"store"``, ``"reversible"`` or ``"checkpoint"``."""
        return self._memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        require_mode(type(self).__name__, memory)
        self._memory: Memory = memory

    def extra_repr(self) -> str:
        return f"memory={self.memory!r}" if self.memory != "store" else ""

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return bare(self._run(bands, condition, inverted=False))

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return bare(self._run(bands, condition, inverted=True))

    @abstractmethod
    def _run(self, bands: AsTuple, condition: Tensor | None, *, inverted: bool) -> AsTuple:
        """Maps bands in a direction."""


class Container(WithMemory):
    """Base of the modules that apply invertible steps, each to some of the bands.

    A subclass defines `steps`, which returns them in the order of `forward`. This class adds both directions in every
    memory mode, their log-determinants, and errors that say where they arose.
    """

    part: ClassVar[str] = "step"
    """What an error calls one of the steps."""

    @abstractmethod
    def steps(self) -> tuple[Invertible | Part, ...]: ...

    def num_returned(self, *, inverted: bool) -> int | None:
        """Returns how many bands each step has to return in a direction; None if any number will do."""

    def _checked(self, steps: Iterable[object], *, least: int = 0) -> list[Invertible]:
        """Returns steps as a list; raises unless all are `Invertible`, and there are enough of them."""
        who, invertible = type(self).__name__, []
        for position, step in enumerate(steps):
            if not isinstance(step, Invertible):
                got = f"{type(step).__name__} at position {position}"
                raise TypeError(f"{who} needs Invertible {self.part}s, got {got}")
            invertible.append(step)
        if len(invertible) < least:
            raise ValueError(f"{who} needs at least one {self.part}, got none")
        return invertible

    @property
    def conditional(self) -> bool:
        return any(part.step.conditional for part in parts_of(self))

    def forward_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        return self._run_with_log_det(bands, condition, inverted=False)

    def inverse_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        return self._run_with_log_det(bands, condition, inverted=True)

    def _run(self, bands: AsTuple, condition: Tensor | None, *, inverted: bool) -> AsTuple:
        self.require_bands(bands, inverted=inverted)
        mode = effective_mode(self.memory)
        return run(leaves_of(self, condition, inverted=inverted, opens=OPENS[mode]), bands, condition, mode=mode)

    def _run_with_log_det(self, bands: AsTuple, condition: Tensor | None, *, inverted: bool) -> tuple[Bands, Tensor]:
        self.require_bands(bands, inverted=inverted)
        options = {} if condition is None else {"condition": condition}
        self._require_stated_map("inverse" if inverted else "forward", bands, options)
        given, total = bands, 0.0
        for leaf in leaves_of(self, condition, inverted=inverted, opens=OPENS["store"]):
            function = leaf.step.inverse_and_log_det if inverted else leaf.step.forward_and_log_det
            outputs, log_det = leaf.call(function, bands, condition)
            total = total + require_log_det(type(leaf.step).__name__, log_det, bands[0])
            bands = leaf.put(bands, as_tuple(outputs))
        return bare(bands), zero_log_det(given) + total


def leaves_of(
    module: Invertible, condition: Tensor | None, *, inverted: bool, opens: Callable[[Invertible], bool]
) -> list[Leaf]:
    """Returns the steps of a module in the order of one direction, as a flat list.

    Args:
        module: The module.
        condition: The condition, if there is one; it will be given to the steps that take one.
        inverted: Whether the inverse of the module is meant.
        opens: Whether the steps inside a step take its place in the list.

    Raises:
        ValueError: If there is a condition and no step takes one.
    """
    leaves = _leaves_of(module, inverted, opens, 0, 0)
    for number, leaf in enumerate(leaves):
        leaf.number, leaf.conditional = number, condition is not None and leaf.step.conditional
    if condition is not None and not any(leaf.conditional for leaf in leaves):
        parts = module.part if isinstance(module, Container) else "step"
        raise ValueError(
            f"{type(module).__name__} got a condition, but none of its {len(parts_of(module))} {parts}s takes one"
        )
    return leaves


def _leaves_of(
    module: Invertible, inverted: bool, opens: Callable[[Invertible], bool], before: int, after: int
) -> list[Leaf]:
    """Returns the steps of a module that takes all bands but the first `before` and the last `after` of them."""
    leaves: list[Leaf] = []
    parts = list(enumerate(parts_of(module)))
    for number, (step, skipped, left) in reversed(parts) if inverted else parts:
        first, last = before + skipped, after + left
        inner = _leaves_inside(step, inverted, opens, first, last) or [Leaf(step, inverted, first, last)]
        if isinstance(module, Container):
            position = Position(module, number, step, inverted, first, last, opened=inner[0].step is not step)
            inner[0].starts.insert(0, position)
            inner[-1].ends.append(position)
            for leaf in inner:
                leaf.positions.append(position)
        leaves += inner
    return leaves


def _leaves_inside(
    step: Invertible, inverted: bool, opens: Callable[[Invertible], bool], before: int, after: int
) -> list[Leaf]:
    """Returns the steps inside a step, or none if it is evaluated as a whole."""
    if type(step).steps is Invertible.steps or not opens(step):
        return []
    inner, turned = unwrapped(step, inverted)
    if not is_made_of_steps(inner):
        return [Leaf(inner, turned, before, after)]
    return _leaves_of(inner, turned, opens, before, after)


def _containers(step: Invertible) -> bool:
    inner, _ = unwrapped(step, False)
    return isinstance(inner, Container) and not (has_hooks(step) or has_hooks(inner))


def _all_without_hooks(step: Invertible) -> bool:
    inner, _ = unwrapped(step, False)
    inside = () if isinstance(inner, Container) else inner.children()  # those of a container are asked one by one
    return not any(has_hooks(module) for module in (step, inner, *inside) if isinstance(module, Invertible))


# Which steps a container takes apart in each mode. Hooks expect that a module is called, so they keep it whole.
OPENS: dict[Memory, Callable[[Invertible], bool]] = {
    "store": lambda _step: False,  # a nested container has a mode of its own
    "checkpoint": _containers,  # other steps, such as lifting blocks, are computed again as a whole
    "reversible": _all_without_hooks,
}


def require_mode(who: str, memory: str) -> None:
    """Raises `ValueError` unless a mode is one of the three."""
    if memory not in get_args(Memory):
        raise ValueError(f"{who} needs a memory of 'store', 'reversible' or 'checkpoint', got {memory!r}")


def effective_mode(memory: Memory) -> Memory:
    """Returns the mode that is possible at present: the given one, or one that keeps more.

    Without gradients nothing is kept anyway. In `torch.nn.utils.parametrize.cached()`, a weight is computed once for
    several passes, with a graph that autograd has to follow. `torch.func`, forward mode and `torch.compile` cannot
    follow a chain that is an autograd function of its own; torch.compile can follow checkpoints.
    """
    if memory == "store" or not torch.is_grad_enabled():
        return "store"
    if memory == "reversible" and parametrize._cache_enabled:  # a weight cached without gradients would be a constant
        return "store"
    if torch.compiler.is_compiling():
        return "checkpoint"
    return "store" if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 else memory


def run(leaves: list[Leaf], bands: AsTuple, condition: Tensor | None, *, mode: Memory) -> AsTuple:
    """Maps bands through steps, one after the other.

    Args:
        leaves: The steps.
        bands: What the first of them is given.
        condition: What all steps that take a condition are given.
        mode: What is kept for the gradient; one that `effective_mode` returned.
    """
    if mode == "reversible":
        return reversible(leaves, bands, condition)
    return run_in_turn(leaves, bands, condition, twice=mode == "checkpoint")
