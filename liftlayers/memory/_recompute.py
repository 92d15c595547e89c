"""Evaluates a step a second time under the circumstances of the first time."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from liftlayers._bands import as_tuple, has_values, is_differentiable
from liftlayers._graphs import version_of
from liftlayers._maps import describes_map
from liftlayers._random import RandomState
from liftlayers.invertible import Invertible
from liftlayers.memory._inventory import Inventory, lent
from liftlayers.memory._leaves import Bands, Leaf

Rebuilt = tuple[Bands, Bands]


@contextmanager
def without_autocast_cache() -> Iterator[None]:
    """Keeps autocast from reading and filling its cache of low-precision copies.

    In older versions of torch (2.6 among them), a copy that is made without gradients has no graph, and later calls
    under the same autocast get that copy: their weights are constants (github.com/pytorch/pytorch/issues/158232).
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


class Record:
    """One evaluation of a step: its modules as it found them, and what it changed.

    Args:
        inventory: The walk over its modules.
        random: The random state before it.
    """

    def __init__(self, inventory: Inventory, random: RandomState) -> None:
        self.inventory = inventory
        self.random: RandomState | None = random
        self.buffers = inventory.buffers()
        self.versions = {place.tensor: version_of(place.tensor) for place in self.buffers}
        self.copies = {buffer: buffer.clone() for buffer in self.versions}
        self.frozen = [(x, _written(x)) for x in inventory.parameters if not x.requires_grad]

    def keep_changes(self, bands: Bands) -> RandomState:
        """Drops the copies of all that the step left as it was. Returns the random state after the step."""
        replaced = {place.tensor for place in self.buffers if not place.holds(place.tensor)}
        changed = {buffer for buffer, copy in self.copies.items() if self._is_changed(buffer, copy)}
        self.copies = {buffer: self.copies[buffer] for buffer in replaced | changed}
        if any(_written(parameter) != before for parameter, before in self.frozen):
            raise RuntimeError(
                f"{type(self.inventory.step).__name__} writes to a parameter that needs no gradient, which a second "
                "evaluation would write to again: register it as a buffer, or use memory='store'"
            )
        now = self.random.latest(bands)  # type: ignore[union-attr]
        if self.random is now:
            self.random = None
        return now

    def _is_changed(self, buffer: Tensor, copy: Tensor) -> bool:
        """Whether a buffer was written to. Its version does not count what is written through `.data`."""
        if version_of(buffer) != self.versions[buffer]:
            return True
        return has_values(buffer) and buffer.layout == torch.strided and not torch.equal(buffer, copy)

    @property
    def left_trace(self) -> bool:
        """Whether the step drew random numbers or changed a buffer, once `keep_changes` has looked."""
        return self.random is not None or bool(self.copies)

    def buffers_again(self) -> list[Tensor]:
        """Returns clones of the buffers as they were before, since a step may write into them again.

        Later writes to the running statistics of norms are not noticed, since they do not change the version.
        """
        for place in self.buffers:
            if place.tensor not in self.copies:
                require_unchanged(f"buffer {place.name}", place.tensor, self.versions[place.tensor])
        again = {buffer: self.copies.get(buffer, buffer).clone() for buffer in self.versions}
        return [again[place.tensor] for place in self.buffers]

    def is_ready(self, parameters: Sequence[Tensor]) -> bool:
        """Whether the step would do the same again as it is, with these parameters."""
        same = all(map(operator.is_, parameters, self.inventory.parameters))
        return same and not (self.random or self.buffers) and self.inventory.is_unchanged()

    @contextmanager
    def again(self, parameters: Sequence[Tensor] | None = None) -> Iterator[None]:
        """Inside, the step has all that it had the first time; `parameters` replace its own, if they are given."""
        places = self.inventory.tensors
        tensors = [place.tensor for place in places] if parameters is None else parameters
        lending = lent([*places, *self.buffers], [*tensors, *self.buffers_again()])
        with self.inventory.attributes_again(), self.random.again() if self.random else nullcontext(), lending:
            yield


def _written(parameter: Tensor) -> tuple[int, int]:
    """Returns what changes if a parameter is written to, or gets other memory through `.data`."""
    plain = type(parameter) is torch.nn.Parameter and has_values(parameter)
    return version_of(parameter), parameter.data_ptr() if plain else 0


def require_unchanged(name: str, tensor: Tensor, version: int) -> None:
    """Raises the error of autograd for a tensor that was written to since the forward pass."""
    if version_of(tensor) != version:
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
    return any(
        isinstance(module, Invertible)
        and not (own_rebuild(module, inverted=False) and own_rebuild(module, inverted=True))
        for module in inventory.modules
    )


def rebuild(leaf: Leaf, outputs: Bands, options: dict[str, Tensor]) -> Rebuilt:
    """Returns the inputs of a step, from its outputs, and the outputs again with a graph; see `own_rebuild`."""
    if own := own_rebuild(leaf.step, inverted=leaf.inverted):
        return own(*outputs, **options)
    inputs = _undone(leaf, outputs, options)
    return repeat(leaf, tuple(x.detach().requires_grad_(is_differentiable(x)) for x in inputs), options)


def repeat(leaf: Leaf, inputs: Bands, options: dict[str, Tensor]) -> Rebuilt:
    """Returns the inputs as they are, and what a step returns for them, with a graph."""
    with torch.enable_grad():
        # Views, since hooks of several gradients at once, as FLOP counters set, fail on leaves in autograd.grad. Those
        # of view_as would have other strides along axes of length one.
        return inputs, as_tuple(leaf.function(*(x[...] for x in inputs), **options))


def _undone(leaf: Leaf, outputs: Bands, options: dict[str, Tensor]) -> Bands:
    """Returns the inputs of a step, without a graph, and leaves random generators and buffers as they are."""
    step = leaf.step
    record = Record(Inventory(step), RandomState(outputs))
    function = step if leaf.inverted else step.inverse
    with torch.no_grad(), without_autocast_cache(), record.again():
        return as_tuple(function(*(band.detach() for band in outputs), **options))


def run_in_turn(leaves: Iterable[Leaf], bands: Bands, condition: Tensor | None, *, twice: bool) -> Bands:
    """Maps bands through steps. With `twice`, each step is computed again in the backward pass."""
    for leaf in leaves:
        function = _Checkpointed(leaf) if twice else leaf.function
        bands = leaf.put(bands, as_tuple(leaf.call(function, bands, condition)))
    return bands


class _Checkpointed:
    """A step that is computed again, from its inputs, in the backward pass, both times with the same state."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.record: Record | None = None
        self.versions: list[tuple[str, Tensor, int]] = []

    def __call__(self, *bands: Tensor, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            return checkpoint(self.leaf.function, *bands, use_reentrant=False, **options)
        # A checkpoint ends its second evaluation early, by an exception that TorchScript cannot pass on.
        scripted = any(isinstance(module, torch.jit.ScriptModule) for module in self.leaf.step.modules())
        with set_checkpoint_early_stop(False) if scripted else nullcontext():
            return checkpoint(self._evaluate, *bands, use_reentrant=False, preserve_rng_state=False, **options)

    def _evaluate(self, *bands: Tensor, **options: Any) -> Any:
        if self.record is None:
            return self._evaluate_first(bands, options)
        for version in self.versions:
            require_unchanged(*version)
        with self.record.again():
            return self.leaf.function(*bands, **options)

    def _evaluate_first(self, bands: Bands, options: dict[str, Any]) -> Any:
        step = self.leaf.step
        record = Record(Inventory(step), RandomState(bands))
        outputs = self.leaf.function(*bands, **options)
        record.keep_changes(bands)
        if not record.inventory.is_current():  # a first batch may set parameters
            record.inventory = Inventory(step)
        named = [(f"{place.name} of {type(step).__name__}", place.tensor) for place in record.inventory.tensors]
        named += [(name, x) for name, value in options.items() for x in tree_leaves(value) if isinstance(x, Tensor)]
        self.versions = [(name, tensor, version_of(tensor)) for name, tensor in named]
        self.record = record
        return outputs
