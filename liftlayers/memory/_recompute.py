"""Evaluating a step once more under the circumstances that it had the first time, and without a trace."""

__all__ = [
    "Record",
    "Step",
    "as_tuple",
    "call_with",
    "can_rebuild_step",
    "checkpointed",
    "has_hooks",
    "is_differentiable",
    "parameters_of",
    "without_trace",
]

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch.utils.checkpoint import checkpoint, get_device_states, set_device_states

Bands = tuple[Tensor, ...]


class Step(Protocol):
    """What a chain asks of a step, which is a module."""

    def __call__(self, *bands: Tensor, **options: Tensor) -> Tensor | Bands: ...
    def rebuild(self, *outputs: Tensor, **options: Tensor) -> tuple[Bands, Bands]: ...
    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...
    def modules(self) -> Iterator[nn.Module]: ...


def checkpointed(step: Step, *bands: Tensor, **options: Tensor) -> Tensor | Bands:
    """Runs a step so that its backward pass computes it again from its input, with the same state as then."""
    return checkpoint(_Again(step, options), *bands, use_reentrant=False, preserve_rng_state=False)


def without_trace(step: Step, bands: Bands, options: dict[str, Tensor]) -> Bands:
    """Evaluates a step without a graph; random generators and buffers are left as if it had never been."""
    random = _RandomState(bands)
    found = _buffers_of(step)
    copies = {id(buffer.tensor): buffer.tensor.clone() for buffer in found}
    buffers = {buffer.name: copies[id(buffer.tensor)] for buffer in found}
    with torch.no_grad(), torch.random.fork_rng(random.devices, device_type=random.device_type):
        return as_tuple(call_with(cast(nn.Module, step), buffers, bands, options))


def call_with(module: nn.Module, state: dict[str, Tensor], bands: Bands, options: dict[str, Tensor]) -> Any:
    """Calls a module with other parameters and buffers.

    `state` has each place once, although modules may share a tensor and stand there under several names: torch would
    look for such names itself, which is slow, and fill a place twice, so that it brings back the wrong one.
    """
    return functional_call(module, state, bands, options, tie_weights=False)


def parameters_of(step: Step) -> dict[str, Tensor]:
    """All parameters by name; one that several modules share, at each of its places."""
    return {
        _join(path, name): parameter
        for path, module in step.named_modules()
        for name, parameter in module._parameters.items()  # not named_parameters, which walks the modules once more
        if parameter is not None
    }


def _others_of(step: Step) -> dict[str, Tensor]:
    """Tensors that need a gradient though they are no parameters, by name: buffers and plain attributes, such as
    weights that another network computes."""
    return {
        _join(path, name): tensor
        for path, module in step.named_modules()
        for name, tensor in (*module._buffers.items(), *vars(module).items())
        if isinstance(tensor, Tensor) and tensor.requires_grad
    }


def can_rebuild_step(step: Step) -> bool:
    """Whether a step may be differentiated apart from the graph around it, with nothing but its parameters and what a
    `Record` brings back: if not, it is `checkpointed`, inside that graph.

    Not so where other tensors need a gradient (DataParallel's replicas have no parameters, but plain tensors), where
    hooks make more of an invertible module than what its rebuilding knows, and where parameters are yet to come.
    """
    return not _others_of(step) and not any(
        "_is_replica" in vars(module)
        or has_hooks(module)
        or any(isinstance(parameter, UninitializedParameter) for parameter in module._parameters.values())
        for module in step.modules()
    )


def has_hooks(*modules: nn.Module) -> bool:
    """Whether one of the modules that can be rebuilt has hooks. Those of a network are called whenever it is."""
    return any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in modules
        if hasattr(type(module), "rebuild")
    )


def is_differentiable(tensor: Tensor) -> bool:
    """Whether a tensor's numbers are such that it may have a gradient."""
    return tensor.is_floating_point() or tensor.is_complex()


class _Again:
    """A step that is called once for its outputs and then for their graph, as if it were still the first time."""

    def __init__(self, step: Step, options: dict[str, Tensor]) -> None:
        self.step, self.options = step, options
        self.parameters: dict[str, tuple[Tensor, int]] = {}
        self.record: Record | None = None

    def __call__(self, *bands: Tensor) -> Tensor | Bands:
        if self.record is None:
            record = Record(self.step, bands)
            outputs = self.step(*bands, **self.options)
            record.keep_changes()
            self.record = record
            # Only now: a first batch may have set parameters.
            tensors = parameters_of(self.step) | _others_of(self.step)
            self.parameters = {name: (p, p._version) for name, p in tensors.items()}
            return outputs
        for name, (parameter, version) in self.parameters.items():
            _require_unchanged(f"parameter {name}", parameter, version)
        state = {name: parameter for name, (parameter, _) in self.parameters.items()} | self.record.buffers_again()
        with self.record.brought_back():
            return call_with(cast(nn.Module, self.step), state, bands, self.options)


class Record:
    """All that a step can depend on besides bands and parameters, as the step found it: its buffers, whether its
    modules were training, and the state of the random generators."""

    def __init__(self, step: Step, bands: Bands) -> None:
        self.bands = bands
        self.training = [(module, module.training) for module in step.modules()]
        self.found = _buffers_of(step)
        self.copies = {id(buffer.tensor): buffer.tensor.clone() for buffer in self.found}
        self.random: _RandomState | None = _RandomState(bands)

    def keep_changes(self) -> None:
        """Lets go of copies of all that the step left as it was."""
        changed = {id(buffer.tensor) for buffer in self.found if buffer.has_changed()}
        self.copies = {key: copy for key, copy in self.copies.items() if key in changed}
        if self.random is not None and self.random == _RandomState(self.bands):
            self.random = None
        self.bands = ()

    @property
    def left_trace(self) -> bool:
        """Whether the step drew random numbers or changed a buffer, once `keep_changes` has looked."""
        return self.random is not None or bool(self.copies)

    def buffers_again(self) -> dict[str, Tensor]:
        """The buffers as they were before; clones, since a step is to be free to write into them again.

        Running statistics of norms are among those that seem unchanged: they are written to without being counted.
        """
        again: dict[int, Tensor] = {}
        for name, _, _, tensor, version in self.found:
            if id(tensor) not in self.copies:
                _require_unchanged(f"buffer {name}", tensor, version)
            if id(tensor) not in again:
                again[id(tensor)] = self.copies.get(id(tensor), tensor).clone()
        return {buffer.name: again[id(buffer.tensor)] for buffer in self.found}

    @contextmanager
    def brought_back(self) -> Iterator[None]:
        """Training modes are as then and the same random numbers are drawn; the caller notices nothing."""
        now = [(module, module.training) for module, _ in self.training]
        with ExitStack() as stack:
            if self.random is not None:
                stack.enter_context(torch.random.fork_rng(self.random.devices, device_type=self.random.device_type))
                self.random.bring_back()
            try:
                _set_training(self.training)
                yield
            finally:
                _set_training(now)


class _Buffer(NamedTuple):
    """A buffer as it was found: its name in the step, its owner and that one's name for it, and its version."""

    name: str
    owner: nn.Module
    key: str
    tensor: Tensor
    version: int

    def has_changed(self) -> bool:
        return self.owner._buffers.get(self.key) is not self.tensor or self.tensor._version != self.version


def _buffers_of(step: Step) -> list[_Buffer]:
    """All buffers; one that several modules share, at each of its places."""
    found = [
        _Buffer(_join(path, key), module, key, tensor, tensor._version)
        for path, module in step.named_modules()
        for key, tensor in module._buffers.items()
        if tensor is not None
    ]
    for buffer in found:
        if is_lazy(buffer.tensor):
            raise RuntimeError(
                f"buffer {buffer.name} of {type(buffer.owner).__name__} waits for its first batch, which cannot be "
                "computed twice: run one under memory='store' or torch.no_grad()"
            )
    return found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


class _RandomState:
    """State of the random generators that a step can draw from: the CPU's, and those of its bands' devices."""

    def __init__(self, bands: Bands) -> None:
        self.cpu = torch.get_rng_state()
        elsewhere = [band for band in bands if band.device.type != "cpu"]
        self.devices, self.others = get_device_states(*elsewhere) if elsewhere else ([], [])
        self.device_type = elsewhere[0].device.type if elsewhere else "cuda"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _RandomState)
            and torch.equal(self.cpu, other.cpu)
            and all(torch.equal(a, b) for a, b in zip(self.others, other.others, strict=True))
        )

    def bring_back(self) -> None:
        torch.set_rng_state(self.cpu)
        set_device_states(self.devices, self.others, device_type=self.device_type)


def _set_training(modes: Sequence[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        if module.training != training:
            module.training = training


def _require_unchanged(name: str, tensor: Tensor, version: int) -> None:
    if tensor._version != version:
        raise RuntimeError(
            f"one of the variables needed for gradient computation has been modified by an inplace operation: {name} "
            f"is at version {tensor._version}; expected version {version}"
        )


def as_tuple(bands: Tensor | Bands) -> Bands:
    """Several bands as they are, a bare one as a tuple of one."""
    return bands if isinstance(bands, tuple) else (bands,)
