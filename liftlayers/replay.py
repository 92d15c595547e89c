"""Evaluating a step once more under the circumstances that it had the first time, and without a trace."""

__all__ = ["Record", "Step", "as_tuple", "checkpointed", "without_trace"]

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint, get_device_states, set_device_states

Bands = tuple[Tensor, ...]


class Step(Protocol):
    """What a chain asks of a step, which is a module."""

    def __call__(self, *bands: Tensor, **options: Tensor) -> Tensor | Bands: ...
    def rebuild(self, *outputs: Tensor, **options: Tensor) -> tuple[Bands, Bands]: ...
    def named_parameters(self, *, remove_duplicate: bool) -> Iterator[tuple[str, Tensor]]: ...
    def named_buffers(self) -> Iterator[tuple[str, Tensor]]: ...
    def modules(self) -> Iterator[nn.Module]: ...


def checkpointed(step: Step, *bands: Tensor, **options: Tensor) -> Tensor | Bands:
    """Runs a step so that its backward pass computes it again from its input, with the same state as then."""
    return checkpoint(_Again(step, options), *bands, use_reentrant=False, preserve_rng_state=False)


def without_trace(step: Step, bands: Bands, options: dict[str, Tensor]) -> Bands:
    """Evaluates a step without a graph; random generators and buffers are left as if it had never been."""
    random = _RandomState(bands)
    buffers = {name: buffer.clone() for name, buffer in step.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng(random.devices, device_type=random.device_type):
        return as_tuple(functional_call(cast(nn.Module, step), buffers, bands, options))


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
            record.keep_changes(self.step)
            self.record = record
            # Only now: a first batch may have set parameters.
            self.parameters = {n: (p, p._version) for n, p in self.step.named_parameters(remove_duplicate=False)}
            return outputs
        for name, (parameter, version) in self.parameters.items():
            _require_unchanged(f"parameter {name}", parameter, version)
        state = {name: parameter for name, (parameter, _) in self.parameters.items()} | self.record.buffers_again()
        with self.record.brought_back():
            return functional_call(cast(nn.Module, self.step), state, bands, self.options)


class Record:
    """All that a step can depend on besides bands and parameters, as the step found it: its buffers, whether its
    modules were training, and the state of the random generators."""

    def __init__(self, step: Step, bands: Bands) -> None:
        self.bands = bands
        self.training = [(module, module.training) for module in step.modules()]
        self.found = {name: (buffer, buffer._version) for name, buffer in step.named_buffers()}
        self.copies = {name: buffer.clone() for name, buffer in step.named_buffers()}
        self.random: _RandomState | None = _RandomState(bands)

    def keep_changes(self, step: Step) -> None:
        """Lets go of copies of all that the step left as it was."""
        after = dict(step.named_buffers())
        unchanged = [
            name for name, (b, version) in self.found.items() if after.get(name) is b and b._version == version
        ]
        for name in unchanged:
            del self.copies[name]
        if self.random is not None and self.random == _RandomState(self.bands):
            self.random = None
        self.bands = ()

    def buffers_again(self) -> dict[str, Tensor]:
        """The buffers as they were before; clones, since a step is to be free to write into them again.

        Running statistics of norms are among those that seem unchanged: they are written to without being counted.
        """
        for name, (buffer, version) in self.found.items():
            if name not in self.copies:
                _require_unchanged(f"buffer {name}", buffer, version)
        return {name: self.copies.get(name, buffer).clone() for name, (buffer, _) in self.found.items()}

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


class _RandomState:
    """State of the random generators that a step can draw from: the CPU's, and those of its bands' devices."""

    def __init__(self, bands: Bands) -> None:
        self.cpu = torch.get_rng_state()
        self.devices, self.others = get_device_states(*bands)
        self.device_type = next((band.device.type for band in bands if band.device.type != "cpu"), "cuda")

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
