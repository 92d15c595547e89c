"""Sequential: a list of steps that runs them in order and back, and names the step that fails."""

from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Inverse,
    Invertible,
    LiftingPyramid,
    Sequential,
    Swap,
    check_inverse,
)
from liftlayers._bands import as_tuple
from liftlayers.memory.container import Memory
from tests.steps import Scale, Shift, block
from tests.strategies import Case, chains, tensor

# Sequential


@given(case=chains())
def test_sequential_runs_its_steps_in_order_and_back(case: Case) -> None:
    chain, given_bands = case
    assert isinstance(chain, Sequential)
    bands = given_bands
    for step in chain:
        bands = as_tuple(step(*bands))
    for actual, expected in zip(as_tuple(chain(*given_bands)), bands, strict=True):
        assert torch.equal(actual, expected)
    returned = bands
    for step in reversed(list(chain)):
        returned = as_tuple(step.inverse(*returned))
    for actual, expected in zip(as_tuple(chain.inverse(*bands)), returned, strict=True):
        assert torch.equal(actual, expected)


def test_order_matters_and_is_kept() -> None:
    chain = Sequential(Scale(2.0), Shift(1.0))
    assert as_tuple(chain(torch.tensor([3.0])))[0].item() == 7.0
    assert as_tuple(chain.inverse(torch.tensor([7.0])))[0].item() == 3.0


def test_sequential_is_a_list_of_its_steps() -> None:
    steps = [Haar(), block(), block(), Inverse(Haar())]
    chain = Sequential(*steps)
    assert len(chain) == 4
    assert list(chain) == steps
    assert [chain[i] for i in range(4)] == steps
    assert [chain[i] for i in range(-4, 0)] == steps
    for index in (4, -5):
        with pytest.raises(IndexError):
            chain[index]


@pytest.mark.parametrize(
    "index", [slice(1, 3), slice(None), slice(None, None, 2), slice(-2, None), slice(3, 1), slice(None, None, -1)]
)
def test_a_slice_is_a_sequential_of_the_same_steps(index: slice) -> None:
    steps = [Haar(), block(), block(), Inverse(Haar())]
    part = Sequential(*steps)[index]
    assert isinstance(part, Sequential)
    assert list(part) == steps[index]


def test_a_slice_runs_on_its_own() -> None:
    chain, x = Sequential(Haar(), block(), block()), tensor(0, 1, 3, 4, 4)
    for actual, expected in zip(as_tuple(chain[1:](*chain[0](x))), as_tuple(chain(x)), strict=True):
        assert torch.equal(actual, expected)


def test_one_band_is_returned_bare_and_several_as_a_tuple() -> None:
    x = tensor(0, 1, 3, 4, 4)
    assert isinstance(Sequential(Haar(), Inverse(Haar()))(x), Tensor)
    assert isinstance(Sequential(Haar())(x), tuple)
    assert isinstance(Sequential(Haar()).inverse(*Haar()(x)), Tensor)


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
def test_a_step_that_returns_a_list_is_refused(memory: Any) -> None:
    class Listed(Swap):
        def forward(self, a: Tensor, b: Tensor) -> Any:
            return [b, a]

    with pytest.raises(TypeError, match="bands are one tensor or a tuple of tensors, got a list of 2"):
        Sequential(Listed(), memory=memory)(torch.ones(1, requires_grad=True), torch.ones(1))


def test_an_empty_chain_is_the_identity() -> None:
    x, y = tensor(0, 2), tensor(1, 2)
    assert Sequential()(x) is x
    assert Sequential().inverse(x) is x
    assert Sequential()(x, y) == (x, y)
    assert len(Sequential()) == 0
    assert list(Sequential()) == []


def test_nesting_changes_nothing() -> None:
    steps = [Haar(), block(), block(), block()]
    flat, nested = Sequential(*steps), Sequential(steps[0], Sequential(steps[1], Sequential(*steps[2:])))
    x = tensor(0, 1, 3, 4, 4)
    for actual, expected in zip(as_tuple(nested(x)), as_tuple(flat(x)), strict=True):
        assert torch.equal(actual, expected)


def test_parameters_are_named_by_position() -> None:
    names = list(Sequential(Haar(), block()).state_dict())
    assert names[0] == "1.predict.network.hidden.0.weight"
    assert {name.split(".")[0] for name in names} == {"1"}


def test_a_shared_step_counts_every_time_but_has_its_parameters_once() -> None:
    step = block()
    chain = Sequential(step, step)
    assert len(chain) == 2
    assert len(list(chain.parameters())) == len(list(step.parameters()))


def test_train_and_eval_reach_every_step() -> None:
    chain = Sequential(AdditiveCoupling(nn.Dropout(0.5)), Sequential(AdditiveCoupling(nn.Dropout(0.5)))).eval()
    assert not any(module.training for module in chain.modules())
    pair = tensor(0, 1, 3), tensor(1, 1, 3)
    assert check_inverse(chain, *pair).units <= 32


def test_steps_that_do_not_invert_are_refused() -> None:
    with pytest.raises(TypeError, match="Sequential needs Invertible steps, got Conv2d at position 1"):
        Sequential(Haar(), nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Sequential needs Invertible steps, got list at position 0"):
        Sequential([Haar()])  # type: ignore[arg-type]


def test_steps_are_appended() -> None:
    steps = [Haar(), block(), Inverse(Haar())]
    chain = Sequential()
    for step in steps:
        assert chain.append(step) is chain
    assert list(chain) == steps
    assert list(chain.state_dict()) == list(Sequential(*steps).state_dict())
    x = tensor(0, 1, 3, 4, 4)
    assert torch.equal(as_tuple(chain(x))[0], as_tuple(Sequential(*steps)(x))[0])
    with pytest.raises(ValueError, match=r"step 3 \(LiftingBlock\) takes 2 band\(s\), got 1 from step 2 \(Inverse\)"):
        chain.append(block())(x)
    with pytest.raises(TypeError, match="Sequential needs Invertible steps, got Conv2d at position 4"):
        chain.append(nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
@pytest.mark.parametrize("backwards", [False, True])
def test_errors_name_the_step_that_raised_them(memory: Memory, backwards: bool) -> None:
    class Fails(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError(f"no {x}")

        inverse = forward

    chain = Sequential(Scale(1.0), Inverse(Sequential(Shift(0.0), Fails())), memory=memory)
    for run in (chain.inverse, chain.inverse_and_log_det) if backwards else (chain, chain.forward_and_log_det):
        with pytest.raises(RuntimeError) as caught:
            run(torch.zeros(2, requires_grad=True))
        if "needs forward_and_log_det" not in str(caught.value):
            assert caught.value.__notes__ == ["in step 1 (Fails)", "in step 1 (Inverse)"]


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
@pytest.mark.parametrize("name", ["forward", "inverse", "forward_and_log_det", "inverse_and_log_det"])
def test_an_empty_chain_refuses_a_condition(memory: Memory, name: str) -> None:
    with pytest.raises(ValueError, match="Sequential got a condition, but none of its 0 steps takes one"):
        getattr(Sequential(memory=memory), name)(torch.ones(2), condition=torch.ones(2))


@pytest.mark.parametrize("name", ["forward_and_log_det", "inverse_and_log_det"])
def test_a_log_determinant_needs_a_batch(name: str) -> None:
    with pytest.raises(ValueError, match=r"step 0 \(Haar\) takes.* band\(s\), got 0 from the caller"):
        getattr(Sequential(Haar()), name)()
    with pytest.raises(ValueError, match=r"a log-determinant needs bands of shape \(B, \.\.\.\), got none"):
        getattr(Sequential(), name)()
    with pytest.raises(ValueError, match=r"a log-determinant needs bands of shape \(B, \.\.\.\), got \(\)"):
        getattr(Sequential(), name)(torch.tensor(1.0))


def test_a_wrong_number_of_bands_names_both_steps() -> None:
    x, pair = torch.zeros(1, 3, 8, 8), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 8, 8))
    with pytest.raises(ValueError, match=r"step 2 \(Haar\) takes 1 band\(s\), got 2 from step 1 \(LiftingBlock\)"):
        Sequential(Haar(), block(), Haar())(x)
    with pytest.raises(ValueError, match=r"step 0 \(LiftingBlock\) takes 2 band\(s\), got 1 from the caller"):
        Sequential(block())(x)
    with pytest.raises(ValueError, match=r"step 1 \(LiftingBlock\) takes 2 band\(s\), got 3 from step 0 \(LiftingPyr"):
        Sequential(LiftingPyramid([Haar(), Haar()]), block())(x)
    with pytest.raises(ValueError, match=r"step 0 \(Haar\) takes 1 band\(s\), got 2 from the caller"):
        Sequential(Haar())(*pair)


def test_a_wrong_number_of_bands_names_both_steps_of_the_inverse() -> None:
    x, pair = torch.zeros(1, 3, 8, 8), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 8, 8))
    with pytest.raises(ValueError, match=r"step 1 \(LiftingBlock\) takes back 2 band\(s\), got 1 from the caller"):
        Sequential(Haar(), block()).inverse(x)
    with pytest.raises(ValueError, match=r"step 0 \(LiftingBlock\) takes back 2 band\(s\), got 1 from step 1 \(Haar\)"):
        Sequential(block(), Haar()).inverse(*pair)
    with pytest.raises(ValueError, match=r"got 1 from the caller; pass bands one by one, as in f\(\*bands\)"):
        Sequential(Haar()).inverse(pair)  # type: ignore[arg-type]
