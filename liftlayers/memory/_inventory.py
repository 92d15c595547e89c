"""What a step depends on besides its inputs: parameters, buffers, training modes and random numbers."""

import ctypes
import functools
import operator
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.checkpoint import get_device_states, set_device_states

from liftlayers.invertible import Invertible

Bands = tuple[Tensor, ...]


class Place(NamedTuple):
    """A place that holds a tensor of a module: the dictionary that it is in, its name there, and the tensor."""

    tensors: dict[str, Any]
    name: str
    tensor: Tensor

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is in this place now."""
        return self.name in self.tensors and self.tensors[self.name] is tensor


class Visited(NamedTuple):
    """A module as the walk found it: its attributes, its training mode among them, and its children."""

    module: nn.Module
    attributes: dict[str, Any]
    children: list[nn.Module | None]

    @property
    def has_same_attributes(self) -> bool:
        """Whether each attribute of the module is still the same object."""
        now = self.module.__dict__
        return len(now) == len(self.attributes) and all(map(operator.is_, now.values(), self.attributes.values()))

    @property
    def has_stored_tensors(self) -> bool:
        """Whether the module has stored a tensor since. Other attributes may say that a layer has been initialised."""
        now = self.module.__dict__
        return any(isinstance(x, Tensor) and x is not self.attributes.get(name) for name, x in now.items())


class Inventory:
    """All that a step can depend on besides its inputs and random numbers, collected in one walk over its modules.

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
        self.modules: list[Visited] = []
        self.parameters: list[Place] = []
        self.graphs: list[Place] = []
        self.can_be_rebuilt = True
        modules: list[nn.Module | None] = [step]
        seen: set[int] = set()
        for module in modules:
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                modules += self._visit(module)

    def _visit(self, module: nn.Module) -> list[nn.Module | None]:
        """Notes what belongs to one module, and returns its children. Every step pays for this in every pass."""
        if _is_sharded(type(module)):
            raise RuntimeError(
                "memory='reversible' and 'checkpoint' cannot evaluate a step again if FSDP shards a part of it, as its "
                f"{type(module).__name__}: apply fully_shard to the whole chain, or use memory='store'"
            )
        attributes, parameters, children = module.__dict__, module._parameters, list(module._modules.values())
        self.modules.append(Visited(module, dict(attributes), children))
        apart = "_is_replica" not in attributes and not (isinstance(module, Invertible) and has_hooks(module))
        for name, parameter in parameters.items():
            if parameter is not None:
                self.parameters.append(Place(parameters, name, parameter))
                apart = apart and not is_lazy(parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                _require_values(module, name, buffer)
                apart = apart and not buffer.requires_grad
        if not OTHER_TYPES.issuperset(map(type, attributes.values())):
            graphs = [Place(attributes, name, value) for name, value in attributes.items() if _has_graph(value)]
            self.graphs += graphs
            apart = apart and not graphs
        self.can_be_rebuilt = self.can_be_rebuilt and apart
        return children

    def buffers(self) -> list[Place]:
        """Returns the buffers of the modules, which an earlier evaluation may have replaced since the walk."""
        return [
            Place(module._buffers, name, buffer)
            for module, *_ in self.modules
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    @property
    def tensors(self) -> list[Place]:
        """All that must be the same in the backward pass as in the forward pass, buffers aside."""
        return self.parameters + self.graphs

    def is_current(self) -> bool:
        """Whether the step still has the parameters and the modules of the walk."""
        same = all(place.holds(place.tensor) for place in self.parameters)
        return same and all(list(module._modules.values()) == children for module, _, children in self.modules)

    @contextmanager
    def attributes_again(self) -> Iterator[None]:
        """Inside, modules are in the training modes that the walk found, and have no tensors that they stored since.

        So a network computes again what it computed at its first call to keep it. If that has a graph now, as a weight
        has that is a function of parameters, then it stays afterwards: what was computed in the forward pass, without
        gradients, would be a constant in the next pass. Everything else is as before.

        Raises:
            RuntimeError: If a module of the step has been replaced since the walk.
        """
        for module, _, children in self.modules:
            if list(module._modules.values()) != children:
                raise RuntimeError(
                    f"{type(self.step).__name__} needs the modules of its forward pass in the backward pass, but a "
                    f"child of its {type(module).__name__} has been replaced since; replace modules between steps"
                )
        changed = [visited for visited in self.modules if not visited.has_same_attributes]
        storing = [(visited, dict(vars(visited.module))) for visited in changed if visited.has_stored_tensors]
        others = [visited for visited in changed if not visited.has_stored_tensors]
        turned = [module for module, attributes, _ in others if module.training != attributes["training"]]
        try:
            for module in turned:
                module.training = not module.training
            for visited, _ in storing:
                _set_attributes(visited.module, visited.attributes)
            yield
        finally:
            for visited, latest in storing:
                with_graph = {name: x for name, x in vars(visited.module).items() if _has_graph(x)}
                kept = {name: x for name, x in latest.items() if name not in with_graph or _has_graph(x)}
                _set_attributes(visited.module, with_graph | kept)
            for module in turned:
                module.training = not module.training


def _has_graph(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _set_attributes(module: nn.Module, attributes: dict[str, Any]) -> None:
    vars(module).clear()
    vars(module).update(attributes)


# Types that most attributes of modules have. To ask for these first takes a fifth of the time of isinstance for each.
OTHER_TYPES = frozenset({bool, int, float, str, tuple, list, dict, set, OrderedDict, type(None)})


@functools.cache
def _is_sharded(kind: type[nn.Module]) -> bool:
    """Whether modules of a class hold only a part of their parameters, by either version of PyTorch's FSDP."""
    return any(base.__name__ in ("FSDPModule", "FullyShardedDataParallel") for base in kind.__mro__)


HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def has_hooks(module: Invertible) -> bool:
    """Whether a module has hooks. Those of a network do not matter: they are called whenever it is evaluated."""
    return any(getattr(module, name) for name in HOOKS)


def _require_values(module: nn.Module, name: str, buffer: Tensor) -> None:
    if is_lazy(buffer):
        raise RuntimeError(
            f"buffer {name} of {type(module).__name__} waits for its first batch, which cannot be computed twice: run "
            "one under memory='store' or torch.no_grad()"
        )


@contextmanager
def lent(places: Sequence[Place], tensors: Sequence[Tensor]) -> Iterator[None]:
    """Puts other tensors in the place of parameters and buffers for a while; what is there already is left alone."""
    changed = [
        (place, tensor, place.tensors.get(place.name))
        for place, tensor in zip(places, tensors, strict=True)
        if not place.holds(tensor)
    ]
    try:
        for place, tensor, _ in changed:
            place.tensors[place.name] = tensor
        yield
    finally:
        for place, _, original in changed:
            place.tensors[place.name] = original


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


class RandomState:
    """State of the random generators that a step can draw from: the CPU's, and those of its bands' devices."""

    def __init__(self, bands: Bands) -> None:
        self.cpu = torch.get_rng_state()
        self.digits = ctypes.string_at(self.cpu.data_ptr(), self.cpu.numel())  # compares faster, and in fake modes too
        elsewhere = [band for band in bands if band.device.type not in ("cpu", "meta")]
        self.devices, self.others = get_device_states(*elsewhere) if elsewhere else ([], [])
        self.device_type = elsewhere[0].device.type if elsewhere else "cuda"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RandomState)
            and self.devices == other.devices
            and self.digits == other.digits
            and all(torch.equal(a, b) for a, b in zip(self.others, other.others, strict=True))
        )

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the generators are in this state; afterwards they are as they were before."""
        with torch.random.fork_rng(self.devices, device_type=self.device_type):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.others, device_type=self.device_type)
            yield
