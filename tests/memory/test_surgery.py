"""Law: a chain whose steps or networks are replaced answers in every memory mode as one that is built that way."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    Parallel,
    Predict,
    Sequential,
    Split,
    Swap,
    ToGrid,
    exact,
    set_memory,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.memory.helpers import MODES, block, in_every_mode, loss, network, two_bands
from tests.strategies import tensor


class Conditioned(nn.Module):
    """A network that adds its condition."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return self.mix(x) * (1 if condition is None else condition)


class LowRank(nn.Module):
    """A network with a correction of low rank, as in LoRA."""

    def __init__(self, inner: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.down, self.up = nn.Conv2d(inputs, 1, 1), nn.Conv2d(1, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.up(self.down(x))


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def assert_as_newly_built(
    chain: Invertible, fresh: Invertible, *bands: Tensor, condition: Tensor | None = None
) -> None:
    """The chain has the outputs, the inverse and the gradients of a chain built with the same steps, in all modes."""
    fresh.load_state_dict(chain.state_dict())
    options = {} if condition is None else {"condition": condition}
    for memory in MODES:
        set_memory(chain, memory)
        outputs = as_tuple(chain(*bands, **options))
        assert all(torch.equal(x, y) for x, y in zip(outputs, as_tuple(fresh(*bands, **options)), strict=True))
        assert_inverts(chain, *bands, condition=condition)
        assert_same_gradients(fresh, chain, *bands, tolerance=1e-10, condition=condition)


def double_bands() -> tuple[Tensor, Tensor]:
    approx, detail = two_bands()
    return approx.double(), detail.double()


def used(chain: Invertible, *bands: Tensor) -> Invertible:
    """A chain that has been trained for a step in every mode before it changes."""
    for memory in MODES:
        loss(*as_tuple(set_memory(chain, memory)(*(band.clone().requires_grad_() for band in bands)))).backward()
    return chain


SURGERY: dict[str, tuple[Callable[[Sequential], object], Callable[[], Sequential]]] = {
    "network of a coupling": (
        lambda chain: setattr(chain[0], "network", nn.Conv2d(1, 3, 1)),
        lambda: Sequential(Predict(nn.Conv2d(1, 3, 1)), block()),
    ),
    "network of a block": (
        lambda chain: setattr(chain[1].predict, "network", nn.Conv2d(1, 3, 1)),  # type: ignore[union-attr]
        lambda: Sequential(Predict(network(1, 3)), LiftingBlock(nn.Conv2d(1, 3, 1), network(3, 1))),
    ),
    "wrapped network": (
        lambda chain: setattr(chain[0], "network", LowRank(chain[0].network, 1, 3)),  # type: ignore[arg-type]
        lambda: Sequential(Predict(LowRank(network(1, 3), 1, 3)), block()),
    ),
    "item": (
        lambda chain: chain.__setitem__(0, AdditiveCoupling(nn.Conv2d(1, 3, 1))),
        lambda: Sequential(AdditiveCoupling(nn.Conv2d(1, 3, 1)), block()),
    ),
    "attribute": (
        lambda chain: setattr(chain, "0", Sequential(block(), block())),
        lambda: Sequential(Sequential(block(), block()), block()),
    ),
    "added module": (
        lambda chain: chain.add_module("2", Inverse(block())),
        lambda: Sequential(Predict(network(1, 3)), block(), Inverse(block())),
    ),
    "inserted steps of another arity": (
        lambda chain: chain.insert(1, Inverse(Split(1, 3))).insert(2, Split(1, 3)),
        lambda: Sequential(Predict(network(1, 3)), Inverse(Split(1, 3)), Split(1, 3), block()),
    ),
    "popped step": (lambda chain: chain.pop(0), lambda: Sequential(block())),
    "slice": (
        lambda chain: chain.__setitem__(slice(0, 2), [block(), block(), block()]),
        lambda: Sequential(block(), block(), block()),
    ),
}


@pytest.mark.parametrize("name", SURGERY)
def test_a_changed_chain_is_one_that_is_built_that_way(name: str) -> None:
    change, fresh = SURGERY[name]
    chain = used(randomise_(Sequential(Predict(network(1, 3)), block())).double(), *double_bands())
    assert isinstance(chain, Sequential)
    change(chain)
    assert_as_newly_built(randomise_(chain.double(), 1), fresh().double(), *double_bands())


def test_a_parametrised_network_is_trained_in_every_mode() -> None:
    def built() -> Sequential:
        return Sequential(Predict(nn.Conv2d(1, 3, 1)), block()).double()

    def parametrised(chain: Sequential) -> Sequential:
        parametrize.register_parametrization(chain[0].network, "weight", Doubled())  # type: ignore[arg-type]
        return chain

    chain = used(randomise_(built()), *double_bands())
    assert isinstance(chain, Sequential)
    assert_as_newly_built(parametrised(chain), parametrised(built()), *double_bands())


@in_every_mode
def test_conditional_networks_come_and_go(memory: str) -> None:
    chain = used(randomise_(Sequential(Predict(network(1, 3)), block())).double(), *double_bands())
    assert isinstance(chain, Sequential)
    condition = tensor(5, 2, 1, 1, 1, dtype=torch.float64)
    assert not chain.conditional
    chain[0].network = Conditioned(1, 3).double()
    assert chain.conditional
    fresh = Sequential(Predict(Conditioned(1, 3)), block()).double()
    assert_as_newly_built(randomise_(chain, 1), fresh, *double_bands(), condition=condition)
    chain[0].network = network(1, 3).double()
    set_memory(chain, memory)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Sequential got a condition, but none of its 2 steps takes one"):
        chain(*double_bands(), condition=condition)


def test_levels_and_branches_are_replaced() -> None:
    def level(*blocks: LiftingBlock) -> Sequential:
        return Sequential(Haar(), *blocks)

    x = tensor(0, 2, 1, 8, 8, dtype=torch.float64)
    pyramid = used(randomise_(LiftingPyramid([level(block()), level()])).double(), x)
    assert isinstance(pyramid, LiftingPyramid)
    pyramid.levels[1] = level(block(), block())
    fresh = LiftingPyramid([level(block()), level(block(), block())]).double()
    assert_as_newly_built(randomise_(pyramid.double(), 1), fresh, x)
    branches = Parallel(Sequential(), Sequential()).double()
    used(branches, x, x)
    setattr(branches, "1", Sequential(Haar(), block(), Inverse(Haar())))
    fresh_branches = Parallel(Sequential(), Sequential(Haar(), block(), Inverse(Haar()))).double()
    assert_as_newly_built(randomise_(branches.double(), 1), fresh_branches, x, x)


def test_an_exact_chain_sees_what_its_chain_is_given() -> None:
    chain = randomise_(Sequential(Predict(network(1, 3)), block()))
    ours, bands = exact(chain), two_bands()
    ours(*bands)
    chain[0].network = Conditioned(1, 3)
    chain.append(Swap())
    with torch.no_grad():
        outputs = as_tuple(ours(*bands))
        expected = as_tuple(exact(chain)(*bands))
        assert all(torch.equal(x, y) for x, y in zip(outputs, expected, strict=True))
        returned = as_tuple(ours.inverse(*outputs))
    assert all(torch.equal(x, y) for x, y in zip(returned, as_tuple(ToGrid(16)(*bands)), strict=True))


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_a_network_replaced_before_the_backward_pass_is_refused(memory: str) -> None:
    chain = randomise_(Sequential(Predict(network(1, 3)), block(), memory=memory))  # type: ignore[arg-type]
    total = loss(*chain(*(band.requires_grad_() for band in two_bands())))
    chain[0].network = network(1, 3)
    with pytest.raises(RuntimeError, match="child of its Predict has been replaced"):
        total.backward()
