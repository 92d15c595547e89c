"""Law: in every memory mode gradients reach the parameters and buffers of the plain loop.

They may be shared, tied, reparametrised or passed in by `functional_call`. To change one before the backward pass is an
error.
"""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from liftlayers import AdditiveCoupling, Inverse, LiftingBlock, Sequential
from liftlayers.testing import randomise_
from tests.memory.helpers import (
    MODES,
    Step,
    assert_close,
    assert_trains_alike,
    direction,
    forward_step,
    gradients_of,
    in_every_direction,
    in_every_mode,
    in_saving_modes,
    leaves,
    loss,
    network,
    stack,
    with_memory,
)
from tests.memory.modules import Counts, Scales


@in_every_mode
def test_pickle_and_deepcopy_keep_the_mode_and_the_gradients(memory: str) -> None:
    chain = with_memory(stack(), memory)
    expected = gradients_of(chain, forward_step)
    for copied in (pickle.loads(pickle.dumps(chain)), copy.deepcopy(chain)):
        copied.zero_grad()
        assert copied.memory == memory
        assert_close(gradients_of(copied, forward_step), expected, 0.0)


# Shared and reparametrised


def _shared_networks() -> Sequential:
    predict, update = network(1, 3), network(3, 1)
    return Sequential(LiftingBlock(predict, update), LiftingBlock(predict, network(3, 1)), AdditiveCoupling(predict))


def _one_step_often() -> Sequential:
    often = LiftingBlock(network(1, 3, nn.BatchNorm2d(4)), network(3, 1, nn.Dropout()))
    return Sequential(often, often, Sequential(often), Inverse(AdditiveCoupling(network(1, 3))), often)


def _tied() -> Sequential:
    predict, update = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Tanh(), nn.Conv2d(3, 3, 1)), network(3, 1)
    assert isinstance(predict[0], nn.Conv2d)
    assert isinstance(predict[2], nn.Conv2d)
    predict[0].bias = predict[2].bias
    return Sequential(LiftingBlock(predict, update), AdditiveCoupling(nn.Conv2d(1, 3, 1)))


def _twice_in_a_network() -> Sequential:
    mix = nn.Conv2d(3, 3, 1)
    predict = nn.Sequential(nn.Conv2d(1, 3, 1), mix, nn.Tanh(), mix)
    return Sequential(LiftingBlock(predict, network(3, 1)), LiftingBlock(predict, network(3, 1)))


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("make", [_shared_networks, _one_step_often, _tied, _twice_in_a_network])
def test_shared_modules_and_parameters(memory: str, step: Step, make: Callable[[], Sequential]) -> None:
    assert_trains_alike(randomise_(make()), memory, step)


@in_every_mode
@in_every_direction
def test_parametrised_weights(memory: str, step: Step) -> None:
    def make(inputs: int, outputs: int) -> nn.Module:
        return nn.utils.parametrizations.weight_norm(nn.Conv2d(inputs, outputs, 3, padding=1))

    assert_trains_alike(stack(2, make=make), memory, step)


# functional_call


@in_every_mode
@in_every_direction
def test_functional_call_gives_gradients_to_the_parameters_it_was_given(memory: str, step: Step) -> None:
    given_parameters: list[Tensor] = []

    def with_others(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        others = {name: (1.5 * p).detach().requires_grad_() for name, p in chain.named_parameters()}
        _functional(chain, others, step, approx, detail).backward()
        assert all(p.grad is None for p in chain.parameters())
        for name, p in chain.named_parameters():
            p.grad = others[name].grad
        given_parameters.extend(others.values())

    assert_trains_alike(stack(), memory, with_others)
    assert all(p.grad is not None for p in given_parameters)


def _functional(chain: Sequential, tensors: dict[str, Tensor], step: Step, *bands: Tensor) -> Tensor:
    if step is forward_step:
        return loss(*functional_call(chain, tensors, bands))
    inverted = Inverse(chain)
    return loss(*functional_call(inverted, {f"module.{name}": tensor for name, tensor in tensors.items()}, bands))


@in_every_mode
def test_functional_call_with_a_function_of_the_parameters(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        others = {name: p.sin() for name, p in chain.named_parameters()}
        loss(*functional_call(chain, others, (approx, detail))).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
@pytest.mark.parametrize("middle", [Scales, Counts])
def test_functional_call_with_other_buffers(memory: str, middle: Callable[[], nn.Module]) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        others = {name: b + 2 for name, b in chain.named_buffers()}
        loss(*functional_call(chain, others, (approx, detail))).backward()

    assert_trains_alike(stack(2, middle), memory, step)


# Changes before the backward pass


@in_every_mode
@in_every_direction
def test_parameter_written_to_before_the_backward_is_an_error(memory: str, step: Step) -> None:
    def late(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*direction(chain, step)(approx, detail))
        with torch.no_grad():
            chain.get_parameter("0.predict.network.2.weight").mul_(2)
        total.backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients_of(with_memory(stack(), memory), late)


class Estimates(nn.Module):
    """Keeps an estimate in a parameter that needs no gradient, as some forms of spectral norm do."""

    def __init__(self, *, through_data: bool) -> None:
        super().__init__()
        self.estimate = nn.Parameter(torch.ones(()), requires_grad=False)
        self.through_data = through_data

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if self.through_data:
                self.estimate.data = self.estimate + 1
            else:
                self.estimate.add_(1)
        return x / self.estimate.clone()


@pytest.mark.parametrize("through_data", [False, True])
@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_parameter_that_the_forward_pass_writes_to_is_an_error(memory: str, through_data: bool) -> None:
    chain = with_memory(stack(2, lambda: Estimates(through_data=through_data)), memory)
    with pytest.raises(RuntimeError, match=r"writes to a parameter that needs no gradient.* register it as a buffer"):
        chain(*leaves())


class Encodes(nn.Module):
    """Adds an encoding of positions, which the first pass computes."""

    encoding: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("encoding", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.encoding is None:
            self.encoding = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype)
        return x + self.encoding


@in_every_mode
def test_buffer_of_inference_mode(memory: str) -> None:
    """Tensors of a validation pass do not count how often they are written to."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        with torch.inference_mode():
            chain(approx, detail)
        loss(*chain(approx, detail)).backward()

    assert_trains_alike(stack(2, Encodes), memory, step)


@in_every_mode
def test_buffer_written_to_before_the_backward_is_an_error(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*chain(approx, detail))
        for buffer in chain.buffers():
            buffer.mul_(2)
        total.backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients_of(with_memory(stack(2, Scales), memory), step)


# Layers that wait for their first batch


@in_every_mode
def test_lazy_layers(memory: str) -> None:
    torch.manual_seed(0)
    chain = Sequential(AdditiveCoupling(nn.LazyConv2d(3, 1)), memory=memory)  # type: ignore[arg-type]
    for _ in range(2):
        chain.zero_grad()
        bands = leaves()
        loss(*chain(*bands)).backward()
        plain = with_memory(chain, "store")
        plain.zero_grad()
        others = leaves()
        loss(*plain(*others)).backward()
        for x, y in zip((*bands, *chain.parameters()), (*others, *plain.parameters()), strict=True):
            assert x.grad is not None
            assert torch.allclose(x.grad, y.grad, atol=1e-6)  # type: ignore[arg-type]


@in_saving_modes
def test_lazy_statistics_are_refused(memory: str) -> None:
    norm = nn.Sequential(nn.Conv2d(1, 3, 1), nn.LazyBatchNorm2d())
    chain = Sequential(AdditiveCoupling(norm), memory=memory)  # type: ignore[arg-type]
    message = r"buffer .*running_mean of LazyBatchNorm2d waits for its first batch, .* run one under memory='store'"
    with pytest.raises(RuntimeError, match=message):
        chain(*leaves())
    with torch.no_grad():
        chain(*leaves())
    loss(*chain(*leaves())).backward()


def test_parametrized_networks_are_freed() -> None:
    """PyTorch makes a class of its own for each, which holds the network; no cache may keep that class."""
    for memory in MODES:
        network = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
        chain = Sequential(AdditiveCoupling(network), memory=memory)
        chain(torch.rand(2, 3), torch.rand(2, 3))[1].sum().backward()
        kept = weakref.ref(network)
        del network, chain
        gc.collect()
        assert kept() is None
