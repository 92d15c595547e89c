"""What the memory modes cost, in figures that are the same in every run: computation, held bytes, bytes at the peak.

The stack is 24 or 96 pairs of additive couplings on two streams of 12 channels, with networks of three convolutions.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from liftlayers import (
    AdditiveCoupling,
    Coupling,
    Inverse,
    Invertible,
    LiftingPyramid,
    Parallel,
    Sequential,
    Split,
    Update,
)
from liftlayers._bands import as_tuple

Memory = Literal["store", "reversible", "checkpoint"]


def stream_pair(size: int) -> int:
    """Bytes of both streams, at batch 2."""
    return 2 * 2 * 12 * size * size * 4


def network() -> nn.Module:
    wide = nn.Conv2d(12, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
    return nn.Sequential(wide[0], nn.LeakyReLU(), wide[1], nn.LeakyReLU(), nn.Conv2d(32, 12, 3, padding=1))


def stack(depth: int, memory: Memory) -> Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Sequential(
            *(step for _ in range(depth) for step in (Update(network()), AdditiveCoupling(network()))), memory=memory
        )


def streams(size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(batch, 12, size, size, generator=generator) for _ in range(2))
    return a, b


def loss(bands: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([y.square().mean() for y in bands]).sum()


@functools.cache
def convolution_flops(memory: Memory, *, backwards: bool = False, gradients: bool = True) -> int:
    chain = stack(24, memory)
    run = Inverse(chain) if backwards else chain
    with FlopCounterMode(display=False) as counter:
        loss(run(*(x.requires_grad_(gradients) for x in streams(8, batch=1)))).backward()
    counts = counter.get_flop_counts()["Global"]
    return sum(count for op, count in counts.items() if "convolution" in str(op))


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_training_step_takes_a_third_more_computation(memory: Memory, backwards: bool) -> None:
    plain, saving = (convolution_flops(kind, backwards=backwards) for kind in ("store", memory))
    assert 1.25 < saving / plain <= 1.334


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_bands_without_gradients_cost_none(memory: Memory) -> None:
    """The first network computes no gradient of its input, neither in the plain loop nor here."""
    plain, saving = (convolution_flops(kind, gradients=False) for kind in ("store", memory))
    assert saving / plain <= 4 / 3 * (1 + 1 / (3 * 48))


class Allocations(TorchDispatchMode):
    """Records the storage of every tensor that an operation returns, and which of them are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self.storages[reference.cdata] = reference, storage.nbytes()
        return outputs

    def held(self, *, excluding: tuple[Tensor, ...] = ()) -> int:
        known = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in excluding}
        return sum(
            size for key, (reference, size) in self.storages.items() if key not in known and not reference.expired()
        )


HELD_SIZE = 16

Nested = Callable[[int, Memory], Invertible]
NESTED: dict[str, Nested] = {
    "chain in a chain": lambda depth, memory: Sequential(Inverse(stack(depth, "store")), memory=memory),
    "pyramid": lambda depth, memory: LiftingPyramid([Sequential(Split(12, 12), stack(depth, "store"))], memory=memory),
    "chains for one band each": lambda depth, memory: Parallel(
        *[Sequential(Split(12, 12), stack(depth, "store"), Inverse(Split(12, 12))) for _ in range(2)], memory=memory
    ),
    "pyramid in a chain": lambda depth, memory: Sequential(
        Inverse(Split(12, 12)), LiftingPyramid([Sequential(Split(12, 12), stack(depth, "store"))]), memory=memory
    ),
}


def nested_bands(module: Invertible, size: int) -> tuple[Tensor, ...]:
    a, b = (x.requires_grad_() for x in streams(size))
    if isinstance(module, Sequential):
        return a, b
    joined = torch.cat((a, b), dim=1).detach().requires_grad_()
    return (joined,) if isinstance(module, LiftingPyramid) else (joined, joined.detach().clone().requires_grad_())


@pytest.mark.parametrize("build", NESTED.values(), ids=NESTED.keys())
def test_nothing_inside_a_container_is_evaluated_twice_in_the_backward_pass(build: Nested) -> None:
    module, calls = build(4, "reversible"), Counter[nn.Module]()
    networks = [step.network for step in module.modules() if isinstance(step, Coupling)]
    for each in networks:
        each.register_forward_hook(lambda network, *_: calls.update([network]))
    loss(as_tuple(module(*nested_bands(module, 8)))).backward()
    assert [calls[each] for each in networks] == [2] * len(networks)


@pytest.mark.parametrize("build", NESTED.values(), ids=NESTED.keys())
def test_held_bytes_do_not_grow_with_the_depth_inside_a_container(build: Nested) -> None:
    def held(depth: int) -> int:
        module = build(depth, "reversible")
        given = nested_bands(module, HELD_SIZE)
        with Allocations() as allocations:
            kept = loss(as_tuple(module(*given)))
            found = allocations.held(excluding=(*given, *module.parameters()))
        assert kept.requires_grad
        return found

    assert held(16) == held(8)


def held_after_forward(depth: int, memory: Memory, *, backwards: bool = False) -> int:
    """Bytes that a forward pass keeps alive with its loss, without the input and the parameters."""
    chain, given = stack(depth, memory), streams(HELD_SIZE)
    given = tuple(x.requires_grad_() for x in given)
    with Allocations() as allocations:
        kept = loss((Inverse(chain) if backwards else chain)(*given))
        held = allocations.held(excluding=(*given, *chain.parameters()))
    assert kept.requires_grad
    return held


@pytest.mark.parametrize("backwards", [False, True])
def test_held_bytes_do_not_grow_with_depth(backwards: bool) -> None:
    """Held are the last bands, and the samples that drift is measured on."""
    shallow, deep = (held_after_forward(depth, "reversible", backwards=backwards) for depth in (24, 96))
    assert shallow == deep
    assert stream_pair(HELD_SIZE) <= shallow <= 2 * stream_pair(HELD_SIZE)


def test_other_modes_hold_what_they_say() -> None:
    """A checkpoint holds one band a step and the plain loop every activation: the measure sees both."""
    pair = stream_pair(HELD_SIZE)
    assert 24 * pair <= held_after_forward(24, "checkpoint") <= 26 * pair
    assert held_after_forward(4, "store") >= 4 * 8 * pair


def peak_of_step(depth: int, memory: Memory) -> int:
    """Most bytes allocated at once in a training step, above those at its start, parameter gradients not counted."""
    chain, given = stack(depth, memory), streams(64)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        loss(chain(*(x.requires_grad_() for x in given))).backward()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    allocated = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        allocated += event.nbytes()  # type: ignore[attr-defined]  # missing in the stub
        most = max(most, allocated)
    gradients = sum(p.grad.nbytes for p in chain.parameters() if p.grad is not None)
    return most - gradients


def test_peak_of_a_training_step() -> None:
    assert peak_of_step(24, "reversible") <= 10.4e6


@pytest.mark.slow
def test_peak_does_not_grow_with_depth() -> None:
    shallow, deep = (peak_of_step(depth, "reversible") for depth in (24, 96))
    assert abs(deep - shallow) <= 0.1 * shallow


def test_peak_sees_the_plain_loop() -> None:
    assert peak_of_step(4, "store") >= 4 * 8 * stream_pair(64)
