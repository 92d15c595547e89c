"""assert_same_gradients, and both assertions with a condition: what they catch, and how they report it."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Invertible, Predict, Sequential, check_inverse
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.steps import block
from tests.strategies import Case, chains, tensor


def bands(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return tensor(0, 1, 3, 4, 4, dtype=dtype), tensor(1, 1, 9, 4, 4, dtype=dtype)


# assert_same_gradients


@given(case=chains(max_steps=3))
def test_a_copy_has_the_same_gradients(case: Case) -> None:
    assert_same_gradients(case.module, copy.deepcopy(case.module), *case.bands)


def test_inputs_and_gradients_are_unchanged() -> None:
    module, pair = block(), tuple(x.requires_grad_() for x in bands())
    before = [x.detach().clone() for x in pair]
    assert_same_gradients(module, module, *pair)
    for x, y in zip(pair, before, strict=True):
        assert x.grad is None
        assert torch.equal(x, y)
    assert all(parameter.grad is None for parameter in module.parameters())


class DetachedPrediction(Predict):
    """Like `Predict`, but its prediction carries no gradient."""

    def forward(self, a: Tensor, b: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        return a, b - self.network(a).detach()


def test_a_detached_branch_is_caught_and_named() -> None:
    right = Predict(randomise_(nn.Conv2d(3, 9, 1)))
    message = r"gradient of (band 0 differs by|network\.weight is missing on one side)"
    with pytest.raises(AssertionError, match=message):
        assert_same_gradients(right, DetachedPrediction(right.network), *bands())


def test_a_missing_gradient_is_caught_on_either_side() -> None:
    class KeepsTheBand(DetachedPrediction):
        """The gradients of its bands are right and those of its network are missing."""

        def forward(self, a: Tensor, b: Tensor, **_: object) -> tuple[Tensor, Tensor]:
            parameters = {name: value.detach() for name, value in self.network.named_parameters()}
            return a, b - torch.func.functional_call(self.network, parameters, a)

    right = Predict(randomise_(nn.Conv2d(3, 9, 1)))
    wrong = KeepsTheBand(right.network)
    for a, b in ((right, wrong), (wrong, right)):
        with pytest.raises(AssertionError, match=r"gradient of network\.weight is missing on one side"):
            assert_same_gradients(a, b, *bands())


def test_outputs_without_any_gradient_are_caught() -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    for a, b in ((nn.Identity(), Detached()), (Detached(), nn.Identity())):
        with pytest.raises(AssertionError, match="gradient of band 0 is missing on one side"):
            assert_same_gradients(a, b, torch.ones(2))


def test_a_differing_gradient_is_caught_and_named() -> None:
    right, wrong = block(), block()
    with torch.no_grad():
        wrong.update.network.get_parameter("last.weight")[0, 0, 0, 0] += 1e-2
    with pytest.raises(AssertionError, match=r"gradient of band \d differs by \S+, where \S+ is allowed"):
        assert_same_gradients(right, wrong, *bands())


def test_a_parameter_that_differs_alone_is_named() -> None:
    class Offset(nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.slope, self.offset = slope, nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.slope * self.offset

    with pytest.raises(AssertionError, match=r"gradient of offset differs by \S+, where \S+ is allowed"):
        assert_same_gradients(Offset(1.0), Offset(1.01), torch.ones(3))
    assert_same_gradients(Offset(1.0), Offset(1.01), torch.ones(3), tolerance=0.02)


def test_nan_gradients_are_caught() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (0 * x).sqrt() * 0 + x

    with pytest.raises(AssertionError, match="gradient of band 0 differs by nan"):
        assert_same_gradients(nn.Identity(), Root(), torch.ones(2))


def test_other_parameters_are_caught_and_named() -> None:
    with pytest.raises(AssertionError, match=r"parameters differ: \['network.bias'\]"):
        assert_same_gradients(
            AdditiveCoupling(nn.Linear(2, 2)), AdditiveCoupling(nn.Linear(2, 2, bias=False)), *torch.ones(2, 1, 2)
        )


def test_unused_and_frozen_parameters_are_no_difference() -> None:
    module = block()
    module.unused = nn.Parameter(torch.zeros(2))
    module.predict.requires_grad_(False)
    assert_same_gradients(module, copy.deepcopy(module), *bands())


# With a condition


class Seeing(nn.Module):
    """A network that uses the condition and, by mistake, scales it in place."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3 + 2, 9, 3, padding=1)
        self.factor = factor

    def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
        if self.factor != 1.0:
            condition.mul_(self.factor)
        return self.conv(torch.cat([x, condition], dim=1))


def test_conditions_reach_both_directions() -> None:
    chain = randomise_(Sequential(Predict(Seeing()), Predict(Seeing())))
    condition = tensor(2, 1, 2, 4, 4)
    assert_inverts(chain, *bands(), condition=condition)
    assert check_inverse(chain, *bands(), condition=condition).units < 32
    with pytest.raises(TypeError, match="condition"):
        assert_inverts(chain, *bands())


def test_integer_bands_are_refused_and_integer_conditions_accepted() -> None:
    class Labelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 9)

        def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
            return x.mean(1, keepdim=True) * self.table(condition)[:, :, None, None]

    with pytest.raises(TypeError, match=r"assert_same_gradients needs floating-point tensors, got torch\.int64"):
        assert_same_gradients(nn.Identity(), nn.Identity(), torch.ones(2).long())
    step, labels = randomise_(Predict(Labelled())), torch.tensor([3])
    assert_same_gradients(step, copy.deepcopy(step), *bands(), condition=labels)
    with pytest.raises(AssertionError, match=r"gradient of band 0 differs"):
        assert_same_gradients(step, randomise_(Predict(Labelled()), 1), *bands(), condition=labels)


def test_writing_into_the_condition_is_caught() -> None:
    class Shifted(Invertible):
        def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
            return x + condition.mul_(0.5)

        def inverse(self, x: Tensor, *, condition: Tensor) -> Tensor:
            return x - condition

    with pytest.raises(AssertionError, match="Shifted writes into its condition"):
        assert_inverts(Shifted(), torch.ones(1, 2), condition=torch.ones(1, 2))
    with pytest.raises(RuntimeError, match="Predict needs a network that leaves its input as it is"):
        assert_inverts(randomise_(Predict(Seeing(0.5))), *bands(), condition=tensor(2, 1, 2, 4, 4))


def test_gradients_of_conditions_are_compared() -> None:
    stored = randomise_(Sequential(Predict(Seeing()), Predict(Seeing())))
    rebuilt = copy.deepcopy(stored)
    rebuilt.memory = "reversible"
    condition = tensor(2, 1, 2, 4, 4)
    assert_same_gradients(stored, rebuilt, *bands(), tolerance=1e-5, condition=condition)
    for parameter in rebuilt.parameters():
        parameter.data.mul_(2)
    with pytest.raises(AssertionError, match=r"gradient of (band|condition)"):
        assert_same_gradients(stored, rebuilt, *bands(), condition=condition)
    assert condition.grad is None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_are_compared_where_autograd_is_off(context: Any) -> None:
    layers = nn.Linear(2, 2), nn.Linear(2, 2)
    with context(), pytest.raises(AssertionError, match="gradient of band 0 differs"):
        assert_same_gradients(*layers, torch.rand(3, 2))


def test_dropout_is_the_same_in_both() -> None:
    stored = Sequential(AdditiveCoupling(nn.Sequential(nn.Linear(9, 9), nn.Dropout(0.5))))
    rebuilt = copy.deepcopy(stored)
    rebuilt.memory = "reversible"
    assert_same_gradients(stored, rebuilt, tensor(0, 2, 9), tensor(1, 2, 9))


def test_a_condition_has_to_be_a_tensor() -> None:
    with pytest.raises(TypeError, match="assert_same_gradients needs a tensor as condition, got dict"):
        assert_same_gradients(Predict(Seeing()), Predict(Seeing()), *bands(), condition={})  # type: ignore[arg-type]
