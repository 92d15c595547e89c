"""ActNorm in chains: the first pass writes parameters and a buffer, in every memory mode."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from liftlayers import AdditiveCoupling, Haar, Inverse, Invertible, LiftingPyramid, Sequential
from liftlayers.chains.parallel import Parallel
from liftlayers.couplings.affine import AffineCoupling
from liftlayers.mixing.actnorm import ActNorm
from liftlayers.mixing.rearrange import Split, Swap
from liftlayers.testing import assert_same_gradients, randomise_
from tests.laws import assert_inverts_both_ways
from tests.mixing.actnorms import assigned, batch, initialised, loaded, loaded_from, repickled
from tests.strategies import tensor

# In chains: the first pass writes parameters and a buffer, in every memory mode


def coupling() -> Invertible:
    return randomise_(AffineCoupling(nn.Conv2d(1, 4, 3, padding=1)))


def single() -> tuple[Invertible, ...]:
    return ActNorm(3), Split(1, 2), coupling(), Inverse(Split(1, 2)), ActNorm(3)


def nested() -> tuple[Invertible, ...]:
    level = Sequential(Haar(), Parallel(ActNorm(3), ActNorm(9)))
    return Sequential(ActNorm(3)), LiftingPyramid([level]), Parallel(ActNorm(3), Sequential(ActNorm(9), ActNorm(9)))


def shared() -> tuple[Invertible, ...]:
    norm = ActNorm(3)
    return norm, Split(1, 2), coupling(), Inverse(Split(1, 2)), norm


@pytest.mark.parametrize("make", [single, nested, shared])
@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_first_and_later_passes_have_the_gradients_of_plain_autograd(
    make: Callable[[], tuple[Invertible, ...]], memory: str
) -> None:
    stored = Sequential(*make()).double()
    kept = copy.deepcopy(stored)
    kept.memory = memory  # type: ignore[assignment]
    for seed in range(2):  # the first pass initialises
        x = tensor(seed, 2, 3, 4, 6, dtype=torch.float64) * 3 + 1
        assert_same_gradients(stored, kept, x, tolerance=1e-10)
        for name, value in stored.state_dict().items():
            assert torch.equal(kept.state_dict()[name], value), name
    assert all(bool(flag) for name, flag in kept.named_buffers() if name.endswith("initialised"))


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
def test_a_training_step_after_the_first_pass_moves_the_initialised_values(memory: str) -> None:
    chain = Sequential(ActNorm(3), memory=memory)  # type: ignore[arg-type]
    norm = chain[0]
    assert isinstance(norm, ActNorm)
    optimiser = torch.optim.SGD(chain.parameters(), lr=0.1)
    x = batch(0)
    y = chain(x)
    assert isinstance(y, Tensor)
    before = norm.bias.detach().clone()
    y.sum().backward()
    optimiser.step()
    assert norm.bias.grad is not None
    assert norm.bias.grad.abs().min() > 0
    torch.testing.assert_close(before, -x.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.bias.detach(), before - 0.1 * norm.bias.grad)


def test_frozen_parameters_are_initialised_too() -> None:
    norm = ActNorm(3).requires_grad_(False)
    assert abs(float(norm(batch(0)).std()) - 1) < 0.01


def test_it_works_in_front_of_couplings() -> None:
    chain = Sequential(Parallel(ActNorm(1), ActNorm(2)), AdditiveCoupling(nn.Conv2d(1, 2, 3, padding=1)), Swap())
    bands = tensor(0, 2, 1, 4, 4), tensor(1, 2, 2, 4, 4)
    chain(*bands)
    assert_inverts_both_ways(randomise_(chain), *bands)


def test_functional_call_initialises_what_it_is_given() -> None:
    norm, x = ActNorm(3), batch(0)
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    y = functional_call(norm, state, x)
    assert torch.equal(functional_call(norm, state, 2 * x + 1), loaded_from(state)(2 * x + 1))
    assert not bool(norm.initialised)
    assert torch.equal(norm(x), y)


def test_functional_call_leaves_the_module_as_it_was() -> None:
    """Both with parameters and with plain tensors."""
    norm, x = ActNorm(3), batch(0)
    state = {name: nn.Parameter(p.detach().clone()) for name, p in norm.named_parameters()}
    lent = functional_call(norm, {**state, "initialised": torch.tensor(False)}, x)
    assert not bool(norm.initialised)
    assert torch.equal(norm(x), lent)
    assert bool(norm.initialised)


def test_clearing_the_flag_starts_over() -> None:
    norm, x = initialised(3), batch(1)
    norm(x)
    norm.initialised.fill_(False)
    with pytest.raises(RuntimeError, match="ActNorm needs to be initialised before inverse"):
        norm.inverse(x)
    assert torch.equal(norm(x), ActNorm(3)(x))


@pytest.mark.parametrize("move", [lambda norm: norm._apply(torch.clone), assigned, copy.deepcopy, repickled])
def test_the_backward_pass_of_the_first_batch_does_not_initialise_again(move: Callable[[ActNorm], ActNorm]) -> None:
    """A reversible chain gives it the earlier value of its flag; a move, to another device for instance, replaces the
    buffer of the flag."""
    norm = move(ActNorm(3))
    y = Sequential(norm, memory="reversible")(batch(0))
    assert isinstance(y, Tensor)
    versions = [parameter._version for parameter in norm.parameters()]
    y.square().sum().backward()
    assert [parameter._version for parameter in norm.parameters()] == versions


def test_it_works_in_inference_mode() -> None:
    with torch.inference_mode():
        norm, x = ActNorm(3), batch(0)
        assert torch.equal(norm(x), ActNorm(3)(x))
        assert torch.equal(norm(2 * x), loaded(norm)(2 * x))


def test_log_dets_may_be_added_to_in_place() -> None:
    norm, x = initialised(3), batch(0)
    for direction in (norm.forward_and_log_det, norm.inverse_and_log_det):
        _, log_det = direction(x)
        expected = log_det + 1
        log_det += 1
        assert torch.equal(log_det, expected)
