"""A chain of invertible steps that does not store the activations its gradient needs.

It keeps the bands that leave the chain, and none in between. In the backward pass every step rebuilds its inputs from
its outputs and is differentiated at once; a coupling evaluates its network once for both. The memory held does not grow
with depth. The exceptions, whose inputs are kept, are steps that are checkpointed, and steps without a `rebuild` of
their own that draw random numbers or change buffers.

Laws: outputs equal those of a plain loop bit for bit, unless a kernel depends on whether autograd records. Gradients
are equal up to rounding, for two reasons: inputs are recomputed (this error is monitored), and gradients of tensors
that several steps share are summed in another order. No tensor of the caller is written to. A step sees the same
parameters, buffers, random numbers and autocast state both times, and its buffers are updated once.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from liftlayers._bands import as_tuple
from liftlayers._graphs import is_batch_of_gradients
from liftlayers._random import RandomState
from liftlayers.memory._drift import Sample, sample, warn_of_drift
from liftlayers.memory._inventory import Inventory
from liftlayers.memory._leaves import Bands, Leaf
from liftlayers.memory._recompute import Record, run_in_turn, undoes_first, without_autocast_cache
from liftlayers.memory._visit import Visit, add, differentiate, without_hooks

NUM_ANCHORS = 8  # places in a chain where rebuilt bands are compared with the originals


def reversible(leaves: Sequence[Leaf], bands: Bands, condition: Tensor | None) -> Bands:
    """Runs steps so that the backward pass rebuilds every step's inputs from the outputs of the last one.

    A step whose gradient could not be right that way is checkpointed, between the steps before and after it.

    Args:
        leaves: The steps, in order.
        bands: The inputs of the first step.
        condition: What all steps that take a condition are given.

    Returns:
        The outputs of the last step.

    Raises:
        TypeError: If the condition is no tensor.
        RuntimeError: In the backward pass, if that is to be differentiated again, or for several gradients at once.

    Warns:
        RuntimeWarning: In the backward pass, if rebuilt inputs drift by more than 1e-3 of their size, or if a network
            keeps an activation.
    """
    if not (condition is None or isinstance(condition, Tensor)):
        raise TypeError(
            "memory='reversible' needs a tensor as condition, which autograd can follow, got "
            f"{type(condition).__name__}; with 'store' or 'checkpoint' it may be anything that the networks take"
        )
    visits = deque(Visit(leaf, Inventory(leaf.step)) for leaf in leaves)
    while visits and _needs_nothing(visits[0], bands, condition):  # autograd keeps nothing for the first steps either
        bands = run_in_turn([visits.popleft().leaf], bands, condition, twice=False)
    for can_be_rebuilt, group in groupby(visits, lambda visit: visit.inventory.can_be_rebuilt):
        if can_be_rebuilt:
            chain = _Chain(list(group), len(leaves))
            bands = _Reversible.apply(chain, len(bands), *bands, *chain.place(condition))
        else:
            bands = run_in_turn((visit.leaf for visit in group), bands, condition, twice=True)
    return bands


def _needs_nothing(visit: Visit, bands: Bands, condition: Tensor | None) -> bool:
    """Whether neither inputs nor parameters of a step need a gradient, as in the frozen beginning of a chain."""
    leaf, inventory = visit.leaf, visit.inventory
    tensors = (*leaf.taken(bands), *inventory.parameters, *leaf.options(condition).values())
    return inventory.can_be_rebuilt and not any(tensor.requires_grad for tensor in tensors)


class _Reversible(torch.autograd.Function):
    """The whole chain as one node of the graph. Parameters are among its inputs, so that all of autograd sees them."""

    @staticmethod
    def forward(ctx: Any, chain: "_Chain", num_bands: int, *tensors: Tensor) -> Bands:
        bands, shared = tensors[:num_bands], tensors[num_bands:]
        kinds = {band.device.type for band in bands} - {"cpu", "meta"}
        chain.autocast = [_autocast_state(kind) for kind in ("cpu", *kinds)]
        with without_autocast_cache():  # gradients are off here: a cached copy of a weight would have no graph
            outputs, needs, kept = chain.run(bands, shared, ctx.needs_input_grad[2 : 2 + num_bands])
        ctx.chain, ctx.ends = chain, (len(outputs), len(outputs) + len(shared))
        ctx.save_for_backward(*outputs, *shared, *kept)
        ctx.mark_non_differentiable(*(y for y, need in zip(outputs, needs, strict=True) if not need))
        ctx.set_materialize_grads(False)  # None is less work than zeros, and stays None when it reaches a parameter
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a chain with memory='reversible' cannot be differentiated twice; use memory='store' or 'checkpoint'"
            )
        if torch._C._are_functorch_transforms_active() or any(
            gradient is not None and is_batch_of_gradients(gradient) for gradient in gradients
        ):
            raise RuntimeError(
                "a chain with memory='reversible' cannot be differentiated for several gradients at once, as "
                "is_grads_batched=True or torch.func ask; use memory='store' or 'checkpoint'"
            )
        saved = list(ctx.saved_tensors)  # once: a checkpoint around the chain refuses to unpack them again
        ctx.maybe_clear_saved_tensors()  # the last bands need not outlive the last step
        of_bands, of_shared = ctx.chain.differentiate(saved, *ctx.ends, gradients)
        return (None, None, *of_bands, *of_shared)


class _Chain:
    """One pass through some of the steps of a list of `num_steps`."""

    def __init__(self, visits: Sequence[Visit], num_steps: int) -> None:
        self.visits, self.num_steps = visits, num_steps
        self.autocast: list[dict[str, Any]] = []

    def place(self, condition: Tensor | None) -> list[Tensor]:
        """Returns the tensors that the steps share, each once: their parameters and the condition.

        The chain itself does not hold them, so that the graph can free them.
        """
        positions: dict[Tensor, int] = {}
        for visit in self.visits:
            tensors = [*visit.inventory.parameters, *visit.leaf.options(condition).values()]
            visit.shared = [positions.setdefault(tensor, len(positions)) for tensor in tensors]
        return list(positions)

    def run(
        self, bands: Bands, shared: Sequence[Tensor], needs: Sequence[bool]
    ) -> tuple[Bands, Sequence[bool], list[Tensor]]:
        """Forward, without a graph. `needs` says which bands need a gradient.

        Integers, with which a chain may begin, need none, and a band that needs none keeps so while steps return it as
        it is.

        Returns:
            The outputs, which of them need a gradient, and all that is kept.
        """
        kept: list[Tensor] = []
        random = RandomState(bands)
        every = max(1, len(self.visits) // NUM_ANCHORS)
        for index, visit in enumerate(self.visits):
            leaf = visit.leaf
            visit.anchor = sample(bands) if index % every == 0 else None
            visit.record = Record(visit.inventory, random)
            inputs, visit.needs = leaf.taken(bands), leaf.taken(needs)
            outputs = as_tuple(leaf.call(leaf.function, bands, shared[visit.shared[-1]] if leaf.conditional else None))
            random = visit.record.keep_changes(bands)
            if visit.record.random is not None:
                visit.strides = [y.stride() for y in outputs]
            if visit.record.left_trace and undoes_first(visit.inventory):
                visit.kept = slice(len(kept), len(kept) + len(inputs))
                kept += inputs
            if {band.device for band in outputs} - {band.device for band in bands}:
                random = RandomState(outputs)  # the next step may draw from another generator
            constant = {id(x) for x, need in zip(inputs, visit.needs, strict=True) if not need}
            bands, needs = leaf.put(bands, outputs), leaf.replaced(needs, [id(y) not in constant for y in outputs])
        return bands, needs, kept

    def differentiate(
        self, saved: list[Tensor], first: int, second: int, gradients: Sequence[Tensor | None]
    ) -> tuple[Sequence[Tensor | None], list[Tensor | None]]:
        """Backward: returns the gradients of the chain's inputs and of `shared`, from those of its outputs.

        `saved` are the outputs, up to the first number, `shared`, up to the second, and the inputs that were kept; it
        is emptied, so that no band is held longer than it is needed.
        """
        bands, shared, kept = tuple(x.detach() for x in saved[:first]), saved[first:second], saved[second:]
        saved.clear()
        shared = [without_hooks(tensor) for tensor in shared]
        totals: list[Tensor | None] = [None] * len(shared)
        samples: list[tuple[int, Sample, Sample]] = []
        autocast = [state for state in self.autocast if state != _autocast_state(state["device_type"])]
        for visit in reversed(self.visits):
            leaf = visit.leaf
            outputs = leaf.taken(bands) if visit.kept is None else tuple(x.detach() for x in kept[visit.kept])
            bands = leaf.replaced(bands, ())  # nothing needs the outputs any more, and saving memory is the purpose
            with ExitStack() as stack:
                for state in autocast:
                    stack.enter_context(torch.autocast(**state))
                inputs, again = visit.again(outputs, shared)
            del outputs
            wanted = [p for p in dict.fromkeys(visit.shared) if shared[p].requires_grad]
            tensors = [shared[p] for p in wanted]
            of_inputs, of_wanted = differentiate(inputs, again, leaf.taken(gradients), tensors)
            for p, gradient in zip(wanted, of_wanted, strict=True):
                totals[p] = add(totals[p], gradient)
            gradients, bands = leaf.replaced(gradients, of_inputs), leaf.replaced(bands, inputs)
            del inputs, again
            visit.warn_of_kept_graph()
            if visit.anchor is not None:
                samples.append((leaf.number, sample(bands), visit.anchor))
        warn_of_drift(samples, self.num_steps)
        return gradients, totals


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
        "cache_enabled": torch.is_autocast_cache_enabled(),
    }
