"""What a step depends on besides its inputs: parameters, buffers, training modes and random numbers."""

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
    """A place that holds a parameter or a buffer: the dictionary of its module, its name there, and the tensor."""

    tensors: dict[str, Any]
    name: str
    tensor: Tensor


class Inventory:
    """All that a step can depend on besides its inputs and random numbers, collected in one walk over its modules."""

    def __init__(self, step: Invertible) -> None:
        self.step = step
        self.modules: list[tuple[nn.Module, bool, tuple[nn.Module | None, ...]]] = []
        self.parameters: list[Place] = []
        self.attributes: list[Place] = []  # plain tensors that need a gradient, such as weights that a network computes
        self.is_apart = True
        modules: list[nn.Module | None] = [step]
        seen: set[int] = set()
        while modules:
            module = modules.pop()
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                modules += self._visit(module)
        self.read_buffers()

    def read_buffers(self) -> None:
        """Reads the buffers, which an earlier evaluation of the same modules may have replaced since the walk."""
        self.buffers = [
            Place(module._buffers, name, buffer)
            for module, *_ in self.modules
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        self.versions = [place.tensor._version for place in self.buffers]

    def _visit(self, module: nn.Module) -> tuple[nn.Module | None, ...]:
        """Notes what belongs to one module, and returns its children."""
        attributes, children = vars(module), tuple(module._modules.values())
        self.modules.append((module, module.training, children))
        for name, parameter in module._parameters.items():
            if parameter is not None:
                self.parameters.append(Place(module._parameters, name, parameter))
                self.is_apart = self.is_apart and not is_lazy(parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                _require_values(module, name, buffer)
                self.is_apart = self.is_apart and not buffer.requires_grad
        tensors = [(name, value) for name, value in attributes.items() if isinstance(value, Tensor)]
        self.attributes += [Place(attributes, name, tensor) for name, tensor in tensors if tensor.requires_grad]
        self.is_apart = self.is_apart and "_is_replica" not in attributes and not has_hooks(module)
        return children

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the step may be differentiated apart from the graph around it, given its parameters and buffers.

        It may not if other tensors need a gradient (such as the plain tensors that replicas of `nn.DataParallel` have
        instead of parameters), if hooks expect that a module is called, or if parameters have no values yet.
        """
        return self.is_apart and not self.attributes

    @property
    def tensors(self) -> list[Place]:
        """All that must be the same in the backward pass as in the forward pass, buffers aside."""
        return self.parameters + self.attributes

    def is_current(self) -> bool:
        """Whether the step still has the parameters and the modules of the walk."""
        same = all(place.tensors.get(place.name) is place.tensor for place in self.parameters)
        return same and all(tuple(module._modules.values()) == children for module, _, children in self.modules)

    def require_same_modules(self) -> None:
        """Raises `RuntimeError` if a module of the step has been replaced since the walk."""
        for module, _, children in self.modules:
            if tuple(module._modules.values()) != children:
                raise RuntimeError(
                    f"{type(self.step).__name__} needs the modules of its forward pass in the backward pass, but a "
                    f"child of its {type(module).__name__} has been replaced since; replace modules between steps"
                )


def has_hooks(*modules: nn.Module) -> bool:
    """Whether an invertible module among these has hooks. Those of a network are called whenever it is evaluated."""
    return any(
        (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks)
        and isinstance(module, Invertible)
        for module in modules
    )


def _require_values(module: nn.Module, name: str, buffer: Tensor) -> None:
    if is_lazy(buffer):
        raise RuntimeError(
            f"buffer {name} of {type(module).__name__} waits for its first batch, which cannot be computed twice: run "
            "one under memory='store' or torch.no_grad()"
        )


@contextmanager
def lent(places: Sequence[Place], tensors: Sequence[Tensor]) -> Iterator[None]:
    """Puts other tensors in the place of parameters and buffers for a while."""
    originals = [place.tensors.get(place.name) for place in places]
    try:
        for place, tensor in zip(places, tensors, strict=True):
            place.tensors[place.name] = tensor
        yield
    finally:
        for place, original in zip(places, originals, strict=True):
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
        elsewhere = [band for band in bands if band.device.type != "cpu"]
        self.devices, self.others = get_device_states(*elsewhere) if elsewhere else ([], [])
        self.device_type = elsewhere[0].device.type if elsewhere else "cuda"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RandomState)
            and self.devices == other.devices
            and self.cpu.numpy().tobytes() == other.cpu.numpy().tobytes()  # faster than torch.equal
            and all(torch.equal(a, b) for a, b in zip(self.others, other.others, strict=True))
        )

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the generators are in this state; afterwards they are as they were before."""
        with torch.random.fork_rng(self.devices, device_type=self.device_type):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.others, device_type=self.device_type)
            yield
