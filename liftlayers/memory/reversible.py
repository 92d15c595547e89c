"""How a chain of invertible steps does without the activations that its gradient needs.

It keeps the bands that leave the chain and none in between: on the way back every step rebuilds its inputs from its
outputs and is differentiated on the spot, a coupling with a single evaluation of its network for both. What is held
does not grow with depth.

Laws: outputs are those of the plain loop, bit for bit, and so are gradients, but for what rounding did to the rebuilt
inputs, which is watched. Nothing that the caller owns is written to. A step sees the same parameters, buffers, random
numbers and autocast state both times, and its buffers are updated once.
"""

__all__ = ["can_rebuild", "reversible"]

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from liftlayers._bands import as_tuple, is_differentiable
from liftlayers.memory._drift import drift_of, sample, warn_of_drift
from liftlayers.memory._recompute import Record, Step, call_with, can_rebuild_step, checkpointed, parameters_of

Bands = tuple[Tensor, ...]
Options = dict[str, Tensor]
Call = Callable[[int, Callable[..., Tensor | Bands], Bands, Options], Bands]

NUM_ANCHORS = 8  # places in a chain where rebuilt bands are compared with what they were


def can_rebuild() -> bool:
    """Whether autograd alone looks on, with gradients on: no torch.compile, torch.func or forward mode.

    None of these can follow a chain that is its own autograd function. Of a checkpoint, torch.compile alone can.
    """
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def reversible(steps: Sequence[Step], bands: Bands, options: Sequence[Options], call: Call) -> Bands:
    """Runs a chain so that its backward pass rebuilds every step's input from the chain's output.

    A step for which that cannot be right is checkpointed between the chains before and after it.

    Args:
        steps: The steps, in order.
        bands: The first step's input.
        options: Keywords of each step.
        call: Calls a function with bands and keywords, as the step of a number that it is.

    Returns:
        The last step's output.

    Raises:
        RuntimeError: In the backward pass, if that is to be differentiated again.

    Warns:
        RuntimeWarning: In the backward pass, if rebuilt inputs drift by more than 1e-3 of their size.
    """
    rebuilt = [can_rebuild_step(step) for step in steps]
    for together, numbers in groupby(range(len(steps)), rebuilt.__getitem__):
        if together:
            chain = _Chain(steps, options, call, list(numbers))
            shared, chain.shared = chain.shared, []  # kept by the graph, which is free to let go of them
            bands = _Reversible.apply(chain, len(bands), *bands, *shared)
        else:
            for number in numbers:
                bands = call(number, functools.partial(checkpointed, steps[number]), bands, options[number])
    return bands


class _Reversible(torch.autograd.Function):
    """The whole chain as one node of the graph. Parameters are among its inputs, so that all of autograd sees them."""

    @staticmethod
    def forward(ctx: Any, chain: "_Chain", num_bands: int, *tensors: Tensor) -> Bands:
        outputs, kept = chain.run(tensors[:num_bands], tensors[num_bands:], ctx.needs_input_grad[2 : 2 + num_bands])
        ctx.chain, ctx.ends = chain, (len(outputs), len(outputs) + len(tensors) - num_bands)
        ctx.save_for_backward(*outputs, *tensors[num_bands:], *kept)
        ctx.set_materialize_grads(False)  # None is less work than zeros, and stays None where it comes to a parameter
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "Sequential with memory='reversible' cannot be differentiated twice; use memory='store' or 'checkpoint'"
            )
        if torch._C._are_functorch_transforms_active() or any(map(_is_batch, gradients)):
            raise RuntimeError(
                "Sequential with memory='reversible' cannot be differentiated for several gradients at once, as "
                "is_grads_batched=True or torch.func ask; use memory='store' or 'checkpoint'"
            )
        saved = list(ctx.saved_tensors)  # once: a checkpoint around the chain refuses to unpack them again
        ctx.maybe_clear_saved_tensors()  # the last bands need not outlive the last step
        of_bands, of_shared = ctx.chain.differentiate(saved, *ctx.ends, gradients)
        return (None, None, *of_bands, *of_shared)


def _is_batch(gradient: Tensor | None) -> bool:
    """Whether a gradient is several, as ``torch.autograd.grad(is_grads_batched=True)`` has them."""
    return gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient)  # type: ignore[attr-defined]


class _Chain:
    """One pass through the steps of given numbers, and all that its backward pass has to bring back besides tensors of
    the graph.

    `shared` are the tensors that steps may have in common: parameters and keywords. A step knows its own by name and
    position in that list. `kept` are steps whose input is kept, with its place in the list of all that is.
    """

    def __init__(self, steps: Sequence[Step], options: Sequence[Options], call: Call, numbers: list[int]) -> None:
        self.steps = list(steps)
        self.call = call
        self.numbers = numbers
        self.shared: list[Tensor] = []
        position: dict[int, int] = {}

        def share(tensor: Tensor) -> int:
            if id(tensor) not in position:
                position[id(tensor)] = len(self.shared)
                self.shared.append(tensor)
            return position[id(tensor)]

        self.parameters = {n: {name: share(p) for name, p in parameters_of(steps[n]).items()} for n in numbers}
        self.options = {n: {name: share(tensor) for name, tensor in options[n].items()} for n in numbers}
        self.records: dict[int, Record] = {}
        self.kept: dict[int, slice] = {}
        self.anchors: dict[int, list[Tensor]] = {}
        self.autocast: list[dict[str, Any]] = []
        self.needs: Sequence[bool] = ()

    def run(self, bands: Bands, shared: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Bands, list[Tensor]]:
        """Forward, without a graph; `needs` says which bands need a gradient. Outputs, and all inputs that are kept."""
        self.needs = needs
        self.autocast = [_autocast_state(kind) for kind in sorted({"cpu", *(band.device.type for band in bands)})]
        kept: list[Tensor] = []
        for number in self.numbers:
            step, inputs = self.steps[number], bands
            if (number - self.numbers[0]) % max(1, len(self.numbers) // NUM_ANCHORS) == 0:
                self.anchors[number] = [sample(band) for band in bands]
            record = self.records[number] = Record(step, bands)
            options = {name: shared[p] for name, p in self.options[number].items()}
            bands = self.call(number, step, inputs, options)
            record.keep_changes()
            if record.left_trace and _undoes_first(step):
                self.kept[number] = slice(len(kept), len(kept) + len(inputs))
                kept += inputs
        return bands, kept

    def differentiate(
        self, saved: list[Tensor], first: int, second: int, gradients: Sequence[Tensor | None]
    ) -> tuple[Sequence[Tensor | None], list[Tensor | None]]:
        """Backward: gradients of the chain's input and of what its steps share, from those of its output.

        `saved` are the outputs, up to the first number, what is shared, up to the second, and inputs that were kept; it
        is emptied, so that no band is held longer than it is needed.
        """
        outputs, shared = tuple(saved[:first]), saved[first:second]
        kept = {number: tuple(saved[second:][place]) for number, place in self.kept.items()}
        saved.clear()
        totals: list[Tensor | None] = [None] * len(shared)
        drifts: dict[int, Tensor] = {}
        for number in reversed(self.numbers):
            positions = {*self.parameters[number].values(), *self.options[number].values()}
            leaves = {p: shared[p].detach().requires_grad_(shared[p].requires_grad) for p in positions}
            wanted = {p: leaf for p, leaf in leaves.items() if leaf.requires_grad}
            inputs, again = self._rebuild(number, leaves, outputs, kept.pop(number, None))
            del outputs  # nothing needs them any more, and memory is what this is for
            targets = [*(x for x in inputs if x.requires_grad), *wanted.values()]
            reached = [(y, g) for y, g in zip(again, gradients, strict=True) if y.requires_grad and g is not None]
            if reached and targets:
                # Not autograd.grad: under it the hooks of torch's own module trackers fail on leaves.
                torch.autograd.backward([y for y, _ in reached], [g for _, g in reached], inputs=targets)
            gradients = [x.grad for x in inputs]
            for p, leaf in wanted.items():
                if leaf.grad is not None:
                    total = totals[p]
                    totals[p] = leaf.grad if total is None else total + leaf.grad
            outputs = tuple(x.detach() for x in inputs)
            del inputs, again, reached, targets
            if number in self.anchors:
                drifts[number] = drift_of(outputs, self.anchors[number])
        warn_of_drift(drifts, len(self.steps), self.numbers[0])
        return gradients, totals

    def _rebuild(
        self, number: int, leaves: dict[int, Tensor], outputs: Bands, kept: Bands | None
    ) -> tuple[Bands, Bands]:
        """A step's input, from its output unless it was kept, and the output again with a graph from there."""
        record, bands = self.records[number], outputs if kept is None else kept
        # Bands that came in without need of a gradient go through the first step without one.
        needs = self.needs if number == self.numbers[0] and len(self.needs) == len(bands) else [True] * len(bands)
        # Nor have integers, with which a chain may begin, ever one.
        bands = tuple(
            x.detach().requires_grad_(need and is_differentiable(x)) for x, need in zip(bands, needs, strict=True)
        )
        state = {name: leaves[p] for name, p in self.parameters[number].items()} | record.buffers_again()
        options = {name: leaves[p] for name, p in self.options[number].items()}
        with record.brought_back(), ExitStack() as stack:
            for settings in self.autocast:
                if settings != _autocast_state(settings["device_type"]):
                    stack.enter_context(torch.autocast(**settings))
            rebuilder = (_Rebuilder if kept is None else _Repeater)(self.steps[number])
            return call_with(rebuilder, {f"step.{k}": v for k, v in state.items()}, bands, options)


class _Rebuilder(nn.Module):
    """Makes `rebuild` the forward of a module, which is what `functional_call` calls."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def forward(self, *outputs: Tensor, **options: Tensor) -> tuple[Bands, Bands]:
        return self.step.rebuild(*outputs, **options)


class _Repeater(_Rebuilder):
    """The same for a step whose input is there."""

    def forward(self, *inputs: Tensor, **options: Tensor) -> tuple[Bands, Bands]:
        with torch.enable_grad():
            return inputs, as_tuple(self.step(*inputs, **options))


def _undoes_first(step: Step) -> bool:
    """Whether rebuilding evaluates `inverse` before `forward`, in something of the step at least: networks are then
    asked in the opposite order, and would draw each other's random numbers and find each other's buffers."""
    return any(getattr(module, "_undoes_first", False) for module in step.modules())


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
        "cache_enabled": torch.is_autocast_cache_enabled(),
    }
