"""Law: gradients of every memory mode are those of the plain loop for every way to put chains together."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Haar, Inverse, Invertible, LiftingBlock, LiftingPyramid, Sequential, Update
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_same_gradients, randomise_
from liftlayers.wavelets.lossless import LosslessWavelet
from tests.memory.helpers import (
    MODES,
    Step,
    assert_close,
    assert_trains_alike,
    block,
    forward_step,
    gradients_of,
    in_both_directions,
    in_every_direction,
    in_every_mode,
    in_saving_modes,
    leaves,
    loss,
    network,
    stack,
    with_memory,
)
from tests.memory.modules import Counts, Own
from tests.strategies import tensor


class Turn(Invertible):
    """Swaps two bands."""

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return b, a

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return b, a


class Cut(Invertible):
    """One band of four channels into two, of one and three."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :1], x[:, 1:]

    def inverse(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b], 1)


class Conditioned(nn.Module):
    """A network that also sees one vector for each image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2, 4)
        self.first = nn.Conv2d(inputs, 4, 3, padding=1)
        self.last = nn.Conv2d(4, outputs, 3, padding=1)

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        embedded = 0 if condition is None else self.embed(condition)[:, :, None, None]
        return self.last(nn.functional.silu(self.first(x) + embedded))


# Steps of the user


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("middle", [nn.Identity, nn.Dropout, lambda: nn.BatchNorm2d(4), Counts])
def test_own_step_with_the_default_rebuild(memory: str, step: Step, middle: Callable[[], nn.Module]) -> None:
    chain = Sequential(Own(network(1, 3, middle())), block(), Own(network(1, 3)))
    assert_trains_alike(randomise_(chain), memory, step)


@in_every_mode
@in_every_direction
def test_subclass_of_a_coupling_does_not_inherit_how_it_is_rebuilt(memory: str, step: Step) -> None:
    class Twice(AdditiveCoupling):
        def forward(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return a, b + 2 * self.evaluate(a, b, condition)

        def inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return a, b - 2 * self.evaluate(a, b, condition)

    class Turned(LiftingBlock):
        def forward(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return super().forward(-approx, detail, condition=condition)

        def inverse(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            approx, detail = super().inverse(approx, detail, condition=condition)
            return -approx, detail

    chain = randomise_(Sequential(Twice(network(1, 3)), Turned(network(1, 3), network(3, 1))))
    assert_trains_alike(chain, memory, step)


# Chains in chains


@in_every_mode
@in_every_direction
def test_steps_that_permute_bands_or_change_their_number(memory: str, step: Step) -> None:
    first, swapped = block(), LiftingBlock(network(3, 1), network(1, 3))
    chain = Sequential(first, Turn(), swapped, Turn(), Sequential(Inverse(Cut()), Cut()), first)
    assert_trains_alike(randomise_(chain), memory, step)


@in_every_mode
@pytest.mark.parametrize("inner", MODES)
@in_every_direction
def test_nested_chains_in_any_mix_of_modes(memory: str, inner: Any, step: Step) -> None:
    shared = block()
    nested = Sequential(shared, Sequential(Inverse(shared), memory="store"), memory=inner)
    chain = Sequential(nested, Inverse(Sequential(AdditiveCoupling(network(1, 3)), nested)), Sequential())
    assert_trains_alike(randomise_(chain), memory, step)


@in_every_mode
@pytest.mark.parametrize("make", [Sequential, lambda: Sequential(Sequential(), Inverse(Sequential()))])
@in_every_direction
def test_empty_chain(memory: str, make: Callable[[], Sequential], step: Step) -> None:
    assert_trains_alike(make(), memory, step)


@in_every_mode
def test_pyramid_of_chains(memory: Any) -> None:
    def level() -> Sequential:
        return Sequential(Haar(), *stack(2), memory=memory)

    judged = randomise_(LiftingPyramid([level(), level()]))
    plain = copy.deepcopy(judged)
    for chain in plain.levels:
        assert isinstance(chain, Sequential)
        chain.memory = "store"
    x = tensor(0, 2, 1, 8, 8)
    assert_same_gradients(plain, judged, x, tolerance=5e-6)
    assert_same_gradients(Inverse(plain), Inverse(judged), *(y.detach() for y in plain(x)), tolerance=5e-6)
    outer = Sequential(copy.deepcopy(plain), Inverse(copy.deepcopy(plain)), memory=memory)
    assert_same_gradients(with_memory(outer, "store"), outer, x, tolerance=5e-6)


@in_every_mode
def test_networks_that_hold_chains(memory: Any) -> None:
    class Held(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.inner = stack(memory=memory)
            self.first, self.last = nn.Conv2d(inputs, 4, 1), nn.Conv2d(4, outputs, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.last(torch.cat(self.inner(y[:, :1], y[:, 1:]), 1))

    plain = stack(2, make=Held)
    judged = copy.deepcopy(plain)
    modes: dict[nn.Module, Any] = {plain: "store", judged: memory}
    for chain, mode in modes.items():
        for module in chain.modules():
            if isinstance(module, Sequential):
                module.memory = mode
    assert_close(gradients_of(judged, forward_step), gradients_of(plain, forward_step))


@in_saving_modes
def test_chains_may_begin_with_integers(memory: Any) -> None:
    class ToFloat(Invertible):
        def forward(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
            return approx / 256, detail / 256

        def inverse(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
            return (256 * approx).round().short(), (256 * detail).round().short()

    chain = randomise_(Sequential(LosslessWavelet(), ToFloat(), block()))
    x = torch.arange(64, dtype=torch.int16).reshape(1, 1, 8, 8)
    gradients = []
    for chain.memory in ("store", memory):
        total = torch.stack([y.square().sum() for y in as_tuple(chain(x))]).sum()
        gradients.append(torch.autograd.grad(total, list(chain.parameters())))
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected)


# Conditions


@in_every_mode
@in_both_directions
def test_gradient_of_a_condition(memory: str, backwards: bool) -> None:
    conditioned = LiftingBlock(Conditioned(1, 3), network(3, 1))
    condition = tensor(3, 2, 2, dtype=torch.float64).requires_grad_()
    chain = randomise_(
        Sequential(conditioned, AdditiveCoupling(network(1, 3)), Inverse(conditioned), Update(Conditioned(3, 1)))
    )

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        run = chain.inverse if backwards else chain
        loss(*run(approx, detail, condition=condition)).backward()
        loss(*Inverse(chain)(approx, detail, condition=condition.detach())).backward()

    assert_trains_alike(chain, memory, step)
    assert condition.grad is not None
    both, condition.grad = condition.grad, None
    for _ in range(2):
        gradients_of(with_memory(chain, "store"), step)
    assert_close({"condition": both}, {"condition": condition.grad})


@in_every_mode
@in_both_directions
def test_condition_that_no_step_takes_is_refused(memory: str, backwards: bool) -> None:
    chain = with_memory(stack(), memory)
    run = chain.inverse if backwards else chain
    with pytest.raises(ValueError, match="Sequential got a condition, but none of its 2 steps takes one"):
        run(*leaves(), condition=torch.zeros(2, 2))


def test_condition_that_autograd_cannot_follow_is_refused() -> None:
    """Only "reversible" would lose its gradient; the other modes pass on what the networks take."""

    class Gains(nn.Module):
        def forward(self, x: Tensor, *, condition: dict[str, float] | None = None) -> Tensor:
            return x * (condition or {"gain": 1.0})["gain"]

    bands = torch.ones(1, 2), torch.ones(1, 2)
    for memory in ("store", "checkpoint"):
        _, detail = Sequential(AdditiveCoupling(Gains()), memory=memory)(*bands, condition={"gain": 3.0})
        assert torch.equal(detail, torch.full((1, 2), 4.0))
    with pytest.raises(TypeError, match=r"memory='reversible' needs a tensor as condition, .* got dict; with 'store'"):
        Sequential(AdditiveCoupling(Gains()), memory="reversible")(*bands, condition={"gain": 3.0})
