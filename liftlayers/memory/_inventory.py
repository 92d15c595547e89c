"""What a step depends on besides its inputs and random numbers: parameters, buffers and training modes."""

import operator
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from liftlayers._maps import cached_weakly
from liftlayers.invertible import Invertible


class Place(NamedTuple):
    """A place that holds a tensor of a module: the dictionary that it is in, its name there, and the tensor."""

    tensors: dict[str, Any]
    name: str
    tensor: Tensor

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is in this place now."""
        return self.name in self.tensors and self.tensors[self.name] is tensor


class Inventory:
    """All that a step can depend on besides its inputs and random numbers, collected in one walk over its modules.

    Every step pays for the walk in every pass, so loops are left to functions that are written in C.

    Attributes:
        modules: The modules of the step, each once.
        parameters: Their parameters.
        graphs: Plain tensors that need a gradient, such as weights that a network computes.
        can_be_rebuilt: Whether the step may be differentiated apart from the graph around it, given its parameters and
            buffers. It may not if other tensors need a gradient (such as `graphs`, or what replicas of
            `nn.DataParallel` have instead of parameters), if hooks expect that a module is called, or if parameters
            have no values yet.
    """

    def __init__(self, step: Invertible) -> None:
        self.step = step
        self.modules: list[nn.Module] = [step]
        seen = {id(step)}
        for module in self.modules:
            for child in module._modules.values():
                if child is not None and id(child) not in seen:
                    seen.add(id(child))
                    self.modules.append(child)
        self._attributes = [vars(module) for module in self.modules]
        self._parameters = [module._parameters for module in self.modules]
        self._children = [module._modules for module in self.modules]
        self._buffers = [module._buffers for module in self.modules]
        self._copies = [*map(dict.copy, self._attributes)], [*map(dict, self._parameters)], [*map(dict, self._children)]
        attributes, parameters = _values(self._attributes), _values(self._parameters)
        kinds = set(map(type, attributes))
        places = _places(self._attributes) if any(issubclass(kind, Tensor) for kind in kinds) else []
        self.graphs = [place for place in places if _has_graph(place.tensor)]
        self._values = attributes + parameters + _values(self._children)
        self.parameters = [x for x in parameters if x is not None]
        buffers = self.buffers()
        self._refuse(buffers)
        self.can_be_rebuilt = not (
            self.graphs
            or any(map(is_lazy, self.parameters))
            or any(place.tensor.requires_grad for place in buffers)
            or any("_is_replica" in held for held in self._attributes)
            or any(has_hooks(module) for module in self.modules if isinstance(module, Invertible))
        )

    def _refuse(self, buffers: Sequence[Place]) -> None:
        """Raises `RuntimeError` if the step cannot be evaluated twice."""
        for kind in set(map(type, self.modules)):
            if _is_sharded(kind):
                raise RuntimeError(
                    "memory='reversible' and 'checkpoint' cannot evaluate a step again if FSDP shards a part of it, as "
                    f"its {kind.__name__}: apply fully_shard to the whole chain, or use memory='store'"
                )
        for place in buffers:
            if is_lazy(place.tensor):
                owner = next(module for module in self.modules if module._buffers is place.tensors)
                raise RuntimeError(
                    f"buffer {place.name} of {type(owner).__name__} waits for its first batch, which cannot be "
                    "computed twice: run one under memory='store' or torch.no_grad()"
                )

    def buffers(self) -> list[Place]:
        """Returns the buffers of the modules, which an earlier evaluation may have replaced since the walk."""
        return _places([buffers for buffers in self._buffers if buffers])

    @property
    def tensors(self) -> list[Place]:
        """All that must be the same in the backward pass as in the forward pass, buffers aside."""
        return _places(self._parameters, self._copies[1]) + self.graphs

    def is_current(self) -> bool:
        """Whether the step still has the parameters and the modules of the walk."""
        _, parameters, children = self._copies
        return all(map(_same, [*self._parameters, *self._children], [*parameters, *children]))

    def is_unchanged(self) -> bool:
        """Whether the step is as the walk found it, with all attributes of its modules."""
        return _are(_values([*self._attributes, *self._parameters, *self._children]), self._values)

    def changed(self) -> list[tuple[nn.Module, dict[str, Any]]]:
        """Returns the modules that have other attributes now, each with those that the walk found.

        Raises:
            RuntimeError: If a module of the step has been replaced since the walk.
        """
        for module, children in zip(self.modules, self._copies[2], strict=True):
            if not _same(module._modules, children):
                raise RuntimeError(
                    f"{type(self.step).__name__} needs the modules of its forward pass in the backward pass, but a "
                    f"child of its {type(module).__name__} has been replaced since; replace modules between steps"
                )
        pairs = zip(self.modules, self._copies[0], strict=True)
        return [(module, attributes) for module, attributes in pairs if not _same(vars(module), attributes)]

    @contextmanager
    def attributes_again(self) -> Iterator[None]:
        """Inside, modules are in the training modes that the walk found, and have no tensors that they stored since.

        A network that stored a tensor at its first call therefore computes it again. If the new tensor has a graph, as
        a weight that is a function of parameters has, it replaces the stored one: that was computed without gradients,
        and would be a constant in the next pass. Afterwards everything else is as before.
        """
        changed = [(module, then, dict(vars(module))) for module, then in self.changed()]
        storing = [each for each in changed if stored_tensors(*each[:2])]
        try:
            for module, then, _ in storing:
                _set_attributes(module, then)
            for module, then, _ in changed:
                module.training = then["training"]
            yield
        finally:
            for module, _, now in storing:
                with_graph = {name: x for name, x in vars(module).items() if _has_graph(x)}
                kept = {name: x for name, x in now.items() if name not in with_graph or _has_graph(x)}
                _set_attributes(module, with_graph | kept)
            for module, _, now in changed:
                module.training = now["training"]


def stored_tensors(module: nn.Module, attributes: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the tensors that a module has stored since it had the given attributes.

    Only these are undone: other attributes may say that a layer has been initialised.
    """
    now = vars(module)
    return {name: x for name, x in now.items() if isinstance(x, Tensor) and x is not attributes.get(name)}


def _places(held: Sequence[dict[str, Any]], contents: Sequence[dict[str, Any]] | None = None) -> list[Place]:
    """Returns the places of some dictionaries, with their contents now or at another time; None is left out."""
    if not held:
        return []
    pairs = zip(held, contents or held, strict=True)
    return [Place(tensors, name, x) for tensors, values in pairs for name, x in values.items() if x is not None]


def _values(held: Sequence[dict[str, Any]]) -> list[Any]:
    """Returns what some dictionaries hold."""
    values: list[Any] = []
    for each in held:
        if each:
            values += each.values()
    return values


def _are(now: Collection[Any], then: Collection[Any]) -> bool:
    """Whether two collections hold the same objects."""
    return len(now) == len(then) and all(map(operator.is_, now, then))


def _same(now: dict[str, Any], then: dict[str, Any]) -> bool:
    """Whether a dictionary holds the same objects as a copy of it."""
    return [*now.keys()] == [*then.keys()] and _are(now.values(), then.values())


def _has_graph(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _set_attributes(module: nn.Module, attributes: dict[str, Any]) -> None:
    vars(module).clear()
    vars(module).update(attributes)


@cached_weakly
def _is_sharded(kind: type[nn.Module]) -> bool:
    """Whether modules of a class hold only a part of their parameters, by either version of PyTorch's FSDP."""
    return any(base.__name__ in ("FSDPModule", "FullyShardedDataParallel") for base in kind.__mro__)


HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def has_hooks(module: Invertible) -> bool:
    """Whether a module has hooks. Those of a network do not matter: they are called whenever it is evaluated."""
    return any(map(vars(module).get, HOOKS))


@contextmanager
def lent(places: Sequence[Place], tensors: Sequence[Tensor]) -> Iterator[None]:
    """Puts other tensors in the place of parameters and buffers for a while; what is there already is left alone."""
    changed = [pair for pair in zip(places, tensors, strict=True) if not pair[0].holds(pair[1])]
    originals = [place.tensors.get(place.name) for place, _ in changed]
    try:
        for place, tensor in changed:
            place.tensors[place.name] = tensor
        yield
    finally:
        for (place, _), original in zip(changed, originals, strict=True):
            place.tensors[place.name] = original
