"""Exact chains in use: what they keep of a chain, conditions, and what they cost."""

import copy
import pickle
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Exact,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    OnGrid,
    Parallel,
    Predict,
    Sequential,
    ToGrid,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.exact.exact_chains import (
    Conditioned,
    Join,
    Swap,
    Thrice,
    assert_exact,
    gradients,
    pair,
    rounded,
    same,
    stack,
)
from tests.strategies import tensor

# What a chain keeps


def test_networks_see_one_layout_for_any_input() -> None:
    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.stride() == torch.empty(x.shape).stride()
            assert x.storage_offset() == 0
            return x

    for x in (torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5)):
        wide = torch.cat((x, x), dim=1)
        for same_numbers in (x.contiguous(memory_format=torch.channels_last), wide.chunk(2, dim=1)[1]):
            for batch_invariant in (False, True):
                OnGrid(Spy(), batch_invariant=batch_invariant)(same_numbers)


def test_steps_that_only_permute_numbers_are_accepted() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = AdditiveCoupling(nn.Conv2d(12, 12, 1))
    assert_exact(exact(Sequential(step, Swap(), step, Inverse(Swap()))), *pair(5))
    image = Sequential(Haar(), Predict(Thrice()), Swap(), Swap(), Inverse(Haar()))
    assert_exact(exact(image), tensor(0, 2, 3, 4, 4))
    assert_exact(exact(LiftingPyramid([Sequential(Haar(), Swap(), Swap()), Haar()])), tensor(0, 2, 3, 4, 4))


@pytest.mark.parametrize("batch_invariant", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_conditions_reach_the_networks(batch: int, batch_invariant: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        chain = Sequential(LiftingBlock(Conditioned(), nn.Conv2d(2, 2, 1)), Inverse(AdditiveCoupling(Conditioned())))
    ours = exact(chain, batch_invariant=batch_invariant)
    (a, b), condition = pair(4, 3, channels=(2, 2)), tensor(7, batch, 2, 4, 4)
    assert ours.conditional
    with torch.no_grad():
        outputs = ours(a, b, condition=condition)
        assert same(ours.inverse(*outputs, condition=condition), rounded((a, b)))
        for y, z in zip(outputs, chain(a, b, condition=condition), strict=True):
            torch.testing.assert_close(y, z, rtol=0, atol=1e-4)
    memories = []
    for memory in ("store", "reversible"):
        ours.memory = memory
        leaf = condition.clone().requires_grad_()
        memories.append(torch.autograd.grad(ours(a, b, condition=leaf)[1].sum(), leaf))
    torch.testing.assert_close(*memories)  # two steps share the condition: their gradients are summed in either order


def test_conditions_that_fit_only_one_batch_are_refused() -> None:
    """Samples of a batch of four would each get their row, and a single one of them all four rows."""
    ours, (a, b) = exact(Sequential(AdditiveCoupling(Conditioned())), batch_invariant=True), pair(4, 4, channels=(2, 2))
    condition = tensor(7, 4, 2, 4, 4)
    outputs = ours(a, b, condition=condition)
    with pytest.raises(ValueError, match="needs a condition with one row, which all samples share, or 1 rows, got 4"):
        ours.inverse(*(y[:1] for y in outputs), condition=condition)


def test_networks_are_shared_and_the_chain_is_unchanged() -> None:
    chain = Sequential(Haar(), LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)), memory="checkpoint")
    names = list(chain.state_dict())
    ours = exact(chain)
    assert [id(p) for p in ours.parameters()] == [id(p) for p in chain.parameters()]
    assert list(chain.state_dict()) == names
    assert ours.memory == "checkpoint"
    assert next(iter(ours.state_dict())) == "1.predict.network.hidden.0.weight"


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["copy", "pickle"]
)
def test_copies_are_the_same(again: Callable[[Exact], Exact]) -> None:
    chain = exact(stack(3))
    chain.memory = "reversible"
    twin, bands = again(chain), pair(6)
    assert twin.memory == "reversible"
    assert same(twin(*bands), chain(*bands))
    other = exact(randomise_(stack(3)))
    other.load_state_dict(chain.state_dict())
    assert same(other(*bands), chain(*bands))


def test_an_exact_chain_is_a_step_like_any_other() -> None:
    inner = exact(stack(2))
    chain, bands = Sequential(inner, Inverse(inner), stack(1), memory="reversible"), rounded(pair(6))
    expected = gradients(Sequential(*chain), bands, None)
    for ours, plain in zip(gradients(chain, bands, None), expected, strict=True):
        torch.testing.assert_close(ours, plain)
    outputs, log_det = inner.forward_and_log_det(*bands)
    assert same(as_tuple(outputs), inner(*bands))
    assert log_det.tolist() == [0, 0]
    assert repr(ToGrid(3)) == "ToGrid(bits=3)"
    assert "bits=16, batch_invariant=False" in repr(inner)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_the_laws_hold_on_the_grid(memory: Literal["reversible", "checkpoint"]) -> None:
    stored, kept = exact(stack(2)), exact(stack(2))
    kept.memory = memory
    assert_inverts(stored, *rounded(pair(6)))
    assert_same_gradients(stored, kept, *rounded(pair(6)))


def test_inputs_are_unchanged() -> None:
    chain, bands = (
        exact(Sequential(Haar(), LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)))),
        tensor(0, 1, 1, 4, 4),
    )
    kept = bands.clone()
    outputs = chain(bands)
    before = [y.clone() for y in outputs]
    chain.inverse(*outputs)
    assert torch.equal(bands, kept)
    assert same(outputs, tuple(before))


# Cost


def test_exact_form_of_a_trained_hiding_chain_costs_less_than_a_hundredth_of_a_decibel() -> None:
    torch.manual_seed(0)
    blocks = [LiftingBlock(ConvPredictor(12, 12), ConvPredictor(12, 12)) for _ in range(4)]
    both = Parallel(Sequential(Haar(), Join()), Sequential(Haar(), Join()))
    chain = Sequential(both, *blocks, Inverse(both))
    images = nn.functional.interpolate(torch.rand(8, 3, 6, 6), scale_factor=4, mode="bicubic").clamp(0, 1)
    cover, secret = images.roll(1, 0), images

    def hide_and_reveal(hider: Invertible) -> tuple[Tensor, Tensor]:
        stego, _ = hider(cover, secret)
        _, revealed = hider.inverse(stego, torch.zeros_like(stego))
        return (stego - cover).square().mean(), (revealed - secret).square().mean()

    def decibels() -> Tensor:
        with torch.no_grad():
            return -10 * torch.log10(torch.stack([*hide_and_reveal(chain), *hide_and_reveal(exact(chain, bits=16))]))

    before = decibels()
    optimizer = torch.optim.Adam(chain.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        sum(hide_and_reveal(chain), torch.zeros(())).backward()
        optimizer.step()
    trained = decibels()
    assert trained[1] > before[1] + 10  # it now reveals the secret
    assert (trained[:2] - trained[2:]).abs().max() < 0.01


# Networks on a grid


def test_a_network_on_a_grid_takes_a_condition_if_the_network_does() -> None:
    ones = torch.ones(1, 2, 4, 4)
    plain, conditioned = AdditiveCoupling(OnGrid(nn.Conv2d(2, 2, 1))), AdditiveCoupling(OnGrid(Conditioned()))
    assert (plain.conditional, conditioned.conditional) == (False, True)
    with pytest.raises(ValueError, match="Sequential got a condition, but none of its 1 steps takes one"):
        Sequential(plain)(ones, ones, condition=ones)


def test_a_condition_has_to_be_a_tensor() -> None:
    ones = torch.ones(1, 2, 4, 4)
    with pytest.raises(TypeError, match="exact needs a tensor as condition, got dict"):
        exact(Sequential(AdditiveCoupling(Conditioned())))(ones, ones, condition={})  # type: ignore[arg-type]
