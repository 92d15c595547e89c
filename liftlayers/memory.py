"""How a chain of invertible steps does without the activations that its gradient needs.

It keeps the bands that leave the chain and none in between: on the way back every step rebuilds its inputs from its
outputs and is differentiated on the spot, a coupling with a single evaluation of its network for both. What is held
does not grow with depth.

Laws: outputs are those of the plain loop, bit for bit, and so are gradients, but for what rounding did to the rebuilt
inputs, which is watched. Nothing that the caller owns is written to. A step sees the same parameters, buffers, random
numbers and autocast state both times, and its buffers are updated once.
"""

__all__ = ["can_rebuild", "reversible"]

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from liftlayers.replay import Record, Step, as_tuple, call_with, parameters_of

Bands = tuple[Tensor, ...]

NUM_ANCHORS = 8  # places in a chain where rebuilt bands are compared with what they were
ANCHOR_SIZE = 256  # numbers kept of each band there
DRIFT_ALLOWED = 1e-3


def can_rebuild() -> bool:
    """Whether autograd alone looks on, with gradients on: no torch.compile, torch.func or forward mode, which cannot
    follow a chain that is its own autograd function, nor, but for the first, a checkpoint."""
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def reversible(
    steps: Sequence[Step],
    bands: Bands,
    options: Sequence[dict[str, Tensor]],
    check: Callable[[int, Bands], None],
) -> Bands:
    """Runs a chain so that its backward pass rebuilds every step's input from the chain's output.

    Args:
        steps: The steps, in order.
        bands: The first step's input.
        options: Keywords of each step.
        check: Called with a step's number and its input before the step is.

    Raises:
        RuntimeError: In the backward pass, if that is to be differentiated again.

    Warns:
        RuntimeWarning: In the backward pass, if rebuilt inputs drift by more than 1e-3 of their size.
    """
    chain = _Chain(steps, options, check)
    shared, chain.shared = chain.shared, []  # kept by the graph, which is free to let go of them
    return _Reversible.apply(chain, len(bands), *bands, *shared)


class _Reversible(torch.autograd.Function):
    """The whole chain as one node of the graph. Parameters are among its inputs, so that all of autograd sees them."""

    @staticmethod
    def forward(ctx: Any, chain: "_Chain", num_bands: int, *tensors: Tensor) -> Bands:
        outputs = chain.run(tensors[:num_bands], tensors[num_bands:], ctx.needs_input_grad[2 : 2 + num_bands])
        ctx.chain, ctx.num_outputs = chain, len(outputs)
        ctx.save_for_backward(*outputs, *tensors[num_bands:])
        ctx.set_materialize_grads(False)  # None is less work than zeros, and stays None where it comes to a parameter
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "Sequential with memory='reversible' cannot be differentiated twice; use memory='store' or 'checkpoint'"
            )
        saved = list(ctx.saved_tensors)  # once: a checkpoint around the chain refuses to unpack them again
        ctx.maybe_clear_saved_tensors()  # the last bands need not outlive the last step
        of_bands, of_shared = ctx.chain.differentiate(saved, ctx.num_outputs, gradients)
        return (None, None, *of_bands, *of_shared)


class _Chain:
    """One pass through the steps, and all that its backward pass has to bring back besides tensors of the graph.

    `shared` are the tensors that steps may have in common: parameters and keywords. A step knows its own by name and
    position in that list.
    """

    def __init__(
        self, steps: Sequence[Step], options: Sequence[dict[str, Tensor]], check: Callable[[int, Bands], None]
    ) -> None:
        self.steps = list(steps)
        self.check = check
        self.shared: list[Tensor] = []
        position: dict[int, int] = {}

        def share(tensor: Tensor) -> int:
            if id(tensor) not in position:
                position[id(tensor)] = len(self.shared)
                self.shared.append(tensor)
            return position[id(tensor)]

        self.parameters = [{name: share(p) for name, p in parameters_of(step).items()} for step in steps]
        self.options = [{name: share(tensor) for name, tensor in option.items()} for option in options]
        self.records: list[Record] = []
        self.anchors: dict[int, list[Tensor]] = {}
        self.autocast: list[dict[str, Any]] = []
        self.needs: Sequence[bool] = ()

    def run(self, bands: Bands, shared: Sequence[Tensor], needs: Sequence[bool]) -> Bands:
        """Forward, without a graph; `needs` says which bands need a gradient."""
        self.needs = needs
        self.autocast = [_autocast_state(kind) for kind in sorted({"cpu", *(band.device.type for band in bands)})]
        every = max(1, len(self.steps) // NUM_ANCHORS)
        for number, step in enumerate(self.steps):
            if number % every == 0:
                self.anchors[number] = [_sample(band) for band in bands]
            self.check(number, bands)
            record = Record(step, bands)
            bands = as_tuple(step(*bands, **{name: shared[p] for name, p in self.options[number].items()}))
            record.keep_changes()
            self.records.append(record)
        return bands

    def differentiate(
        self, saved: list[Tensor], num_outputs: int, gradients: Sequence[Tensor | None]
    ) -> tuple[Sequence[Tensor | None], list[Tensor | None]]:
        """Backward: gradients of the chain's input and of what its steps share, from those of its output.

        `saved` are the outputs and what is shared; it is emptied, so that no band is held longer than it is needed.
        """
        outputs, shared = tuple(saved[:num_outputs]), saved[num_outputs:]
        saved.clear()
        totals: list[Tensor | None] = [None] * len(shared)
        drifts: dict[int, Tensor] = {}
        for number in reversed(range(len(self.steps))):
            positions = {*self.parameters[number].values(), *self.options[number].values()}
            leaves = {p: shared[p].detach().requires_grad_(shared[p].requires_grad) for p in positions}
            wanted = {p: leaf for p, leaf in leaves.items() if leaf.requires_grad}
            # Bands that came in without need of a gradient go through the first step without one.
            needs = self.needs if number == 0 and len(self.needs) == len(outputs) else [True] * len(outputs)
            # Nor have integers, with which a chain may begin, ever one.
            outputs = tuple(
                x.detach().requires_grad_(need and x.is_floating_point())
                for x, need in zip(outputs, needs, strict=True)
            )
            inputs, again = self._rebuild(number, leaves, outputs)
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
                drifts[number] = _drift(outputs, self.anchors[number])
        _warn_of_drift(drifts, len(self.steps))
        return gradients, totals

    def _rebuild(self, number: int, leaves: dict[int, Tensor], outputs: Bands) -> tuple[Bands, Bands]:
        record = self.records[number]
        state = {name: leaves[p] for name, p in self.parameters[number].items()} | record.buffers_again()
        options = {name: leaves[p] for name, p in self.options[number].items()}
        with record.brought_back(), ExitStack() as stack:
            for settings in self.autocast:
                if settings != _autocast_state(settings["device_type"]):
                    stack.enter_context(torch.autocast(**settings))
            rebuilder = _Rebuilder(self.steps[number])
            return call_with(rebuilder, {f"step.{k}": v for k, v in state.items()}, outputs, options)


class _Rebuilder(nn.Module):
    """Makes `rebuild` the forward of a module, which is what `functional_call` calls."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def forward(self, *outputs: Tensor, **options: Tensor) -> tuple[Bands, Bands]:
        return self.step.rebuild(*outputs, **options)


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
        "cache_enabled": torch.is_autocast_cache_enabled(),
    }


def _sample(band: Tensor) -> Tensor:
    """Some numbers of a band, evenly spread, whatever its layout."""
    every = max(1, band.numel() // ANCHOR_SIZE)
    return band.detach().reshape(-1)[::every].clone()


def _drift(rebuilt: Bands, anchors: Sequence[Tensor]) -> Tensor:
    """Relative error of the rebuilt bands, all together: one of them may be zero. Judged by their samples."""
    then = torch.cat([kept.float() for kept in anchors])
    now = torch.cat([_sample(band).float() for band in rebuilt])
    scale = then.norm()
    return (now - then).norm() / torch.where(scale == 0, 1, scale)  # of all zeros, what they came back as


def _warn_of_drift(drifts: dict[int, Tensor], num_steps: int) -> None:
    values = torch.stack(list(drifts.values())).tolist()  # one synchronisation a pass, last steps first
    if all(value <= DRIFT_ALLOWED for value in values):  # so that nan warns too
        return
    first = next(number for number, value in zip(drifts, values, strict=True) if not value <= DRIFT_ALLOWED)
    warnings.warn(
        f"Sequential with memory='reversible' rebuilt its bands with a relative error of {values[-1]:.1e}, above "
        f"{DRIFT_ALLOWED:.0e} from step {first} of {num_steps} down to step 0: gradients there are off by as much. "
        "Keep activations with memory='checkpoint', use float64, or hold the chain's growth down",
        RuntimeWarning,
        stacklevel=2,
    )
