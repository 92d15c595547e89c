"""Evaluates a step a second time under the circumstances of the first time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from liftlayers._bands import as_tuple, is_differentiable
from liftlayers._maps import describes_map
from liftlayers.invertible import Invertible
from liftlayers.memory._inventory import Inventory, RandomState, lent, without_autocast_cache
from liftlayers.memory._leaves import Leaf

Bands = tuple[Tensor, ...]
Rebuilt = tuple[Bands, Bands]


class Record:
    """One evaluation of a step: its modules as it found them, and what it changed.

    Args:
        inventory: The walk over its modules.
        random: The random state before it.
    """

    def __init__(self, inventory: Inventory, random: RandomState) -> None:
        self.inventory = inventory
        inventory.read_buffers()
        self.random: RandomState | None = random
        self.copies = {id(place.tensor): place.tensor.clone() for place in inventory.buffers}

    def keep_changes(self, bands: Bands) -> RandomState:
        """Drops the copies of all that the step left as it was. Returns the random state after the step."""
        changed = {
            id(place.tensor)
            for place, version in zip(self.inventory.buffers, self.inventory.versions, strict=True)
            if place.tensors.get(place.name) is not place.tensor or place.tensor._version != version
        }
        self.copies = {key: copy for key, copy in self.copies.items() if key in changed}
        now = RandomState(bands)
        if self.random == now:
            self.random = None
        return now

    @property
    def left_trace(self) -> bool:
        """Whether the step drew random numbers or changed a buffer, once `keep_changes` has looked."""
        return self.random is not None or bool(self.copies)

    def buffers_again(self) -> list[Tensor]:
        """Returns clones of the buffers as they were before, since a step may write into them again.

        Running statistics of norms count as unchanged: they are written to without a change of version.
        """
        again: dict[int, Tensor] = {}
        for (_, name, tensor), version in zip(self.inventory.buffers, self.inventory.versions, strict=True):
            if id(tensor) not in self.copies:
                require_unchanged(f"buffer {name}", tensor, version)
            if id(tensor) not in again:
                again[id(tensor)] = self.copies.get(id(tensor), tensor).clone()
        return [again[id(place.tensor)] for place in self.inventory.buffers]

    @contextmanager
    def again(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Inside, the step has these parameters, and buffers, training modes and random numbers as the first time."""
        inventory = self.inventory
        inventory.require_same_modules()
        places = [*inventory.tensors, *inventory.buffers]
        turned = [(module, training) for module, training, _ in inventory.modules if module.training != training]
        with self.random.again() if self.random else nullcontext(), lent(places, [*tensors, *self.buffers_again()]):
            try:
                for module, training in turned:
                    module.training = training
                yield
            finally:
                for module, training in turned:
                    module.training = not training


def require_unchanged(name: str, tensor: Tensor, version: int) -> None:
    """Raises the error of autograd for a tensor that was written to since the forward pass."""
    if tensor._version != version:
        raise RuntimeError(
            f"one of the variables needed for gradient computation has been modified by an inplace operation: {name} "
            f"is at version {tensor._version}; expected version {version}"
        )


def own_rebuild(step: Invertible, *, inverted: bool) -> Callable[..., Rebuilt] | None:
    """Returns a step's own method to rebuild the inputs of a direction, if it has one that fits its present map.

    A step such as a coupling may define `rebuild`, and `rebuild_inverse` for its other direction, if it can do better
    than `inverse` and then `forward`. They take what a direction returned, as leaves, and return what it took, as
    leaves, and what it returned, with a graph that leads to these leaves and to the parameters. Where a direction
    returns as many bands as it takes, an output that requires no gradient says that its input needs none.
    """
    name = "rebuild_inverse" if inverted else "rebuild"
    return getattr(step, name) if callable(getattr(type(step), name, None)) and describes_map(step, name) else None


def undoes_first(inventory: Inventory) -> bool:
    """Whether rebuilding evaluates `inverse` before `forward` in some part of a step.

    Networks are then evaluated in the opposite order, and would draw each other's random numbers.
    """
    modules = (module for module, *_ in inventory.modules)
    return any(
        isinstance(module, Invertible)
        and not (own_rebuild(module, inverted=False) and own_rebuild(module, inverted=True))
        for module in modules
    )


def rebuild(leaf: Leaf, outputs: Bands, options: dict[str, Tensor]) -> Rebuilt:
    """Returns the inputs of a step, from its outputs, and the outputs again with a graph; see `own_rebuild`."""
    step = leaf.step
    if own := own_rebuild(step, inverted=leaf.inverted):
        return own(*outputs, **options)
    back, forth = (step, step.inverse) if leaf.inverted else (step.inverse, step)
    inputs = tuple(
        x.detach().requires_grad_(is_differentiable(x)) for x in _without_trace(step, back, outputs, options)
    )
    return repeat(forth, inputs, options)


def repeat(function: Callable[..., Any], inputs: Bands, options: dict[str, Tensor]) -> Rebuilt:
    """Returns the inputs as they are, and what a direction of a step returns for them, with a graph."""
    with torch.enable_grad():
        return inputs, as_tuple(function(*inputs, **options))


def _without_trace(step: Invertible, function: Callable[..., Any], bands: Bands, options: dict[str, Tensor]) -> Bands:
    """Evaluates a direction of a step without a graph, and leaves random generators and buffers as they are."""
    random, buffers = RandomState(bands), Inventory(step).buffers
    copies = {id(place.tensor): place.tensor.clone() for place in buffers}
    lending = lent(buffers, [copies[id(place.tensor)] for place in buffers])
    with torch.no_grad(), without_autocast_cache(), random.again(), lending:
        return as_tuple(function(*(band.detach() for band in bands), **options))


def checkpointed(leaf: Leaf) -> Callable[..., Any]:
    """Returns a direction of a step that is computed again, from its inputs, in the backward pass."""
    if torch.compiler.is_compiling():
        return lambda *bands, **options: checkpoint(leaf.function, *bands, use_reentrant=False, **options)

    def function(*bands: Tensor, **options: Tensor) -> Any:
        return checkpoint(_Again(leaf, options), *bands, use_reentrant=False, preserve_rng_state=False)

    return function


class _Again:
    """A step that is called once for its outputs and then for their graph, both times with the same state."""

    def __init__(self, leaf: Leaf, options: dict[str, Tensor]) -> None:
        self.leaf, self.options = leaf, options
        self.record: Record | None = None
        self.versions: list[int] = []

    def __call__(self, *bands: Tensor) -> Tensor | Bands:
        step = self.leaf.step
        if self.record is None:
            record = Record(Inventory(step), RandomState(bands))
            outputs = self.leaf.function(*bands, **self.options)
            record.keep_changes(bands)
            if not record.inventory.is_current():  # a first batch may set parameters
                record.inventory = Inventory(step)
            self.versions = [place.tensor._version for place in record.inventory.tensors]
            self.record = record
            return outputs
        places = self.record.inventory.tensors
        for place, version in zip(places, self.versions, strict=True):
            require_unchanged(f"{place.name} of {type(step).__name__}", place.tensor, version)
        with self.record.again([place.tensor for place in places]):
            return self.leaf.function(*bands, **self.options)
