"""The laws themselves: what `liftlayers.testing` catches, and how it says so."""

import copy

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Inverse,
    Invertible,
    LayerNorm2d,
    LiftingBlock,
    NAFBlock,
    Predict,
    Sequential,
    check_inverse,
)
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.strategies import Case, chains, seeds, tensor


def block() -> LiftingBlock:
    return randomise_(LiftingBlock(ConvPredictor(3, 9, hidden_channels=4), ConvPredictor(9, 3, hidden_channels=4)))


def bands(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return tensor(0, 1, 3, 4, 4, dtype=dtype), tensor(1, 1, 9, 4, 4, dtype=dtype)


# randomise_


@given(seed=seeds())
def test_the_same_seed_draws_the_same_parameters(seed: int) -> None:
    once = ConvPredictor(3, 9)
    again = copy.deepcopy(once)
    assert randomise_(once, seed) is once
    torch.manual_seed(seed)  # the global state has no say
    randomise_(again, seed)
    for x, y in zip(once.parameters(), again.parameters(), strict=True):
        assert torch.equal(x, y)


def test_other_seeds_draw_other_parameters() -> None:
    zero, one = (randomise_(ConvPredictor(3, 9), seed) for seed in (0, 1))
    for x, y in zip(zero.parameters(), one.parameters(), strict=True):
        assert not torch.equal(x, y)


def test_global_random_state_is_left_alone() -> None:
    network, before = NAFBlock(4), torch.get_rng_state()
    randomise_(network, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_randomise_refuses_parameters_without_values_and_draws_nothing() -> None:
    first = nn.Linear(2, 2)
    before = first.weight.detach().clone()
    with pytest.raises(ValueError, match=r"randomise_ needs parameters that have values, got 1\.weight"):
        randomise_(nn.Sequential(first, nn.LazyLinear(2)))
    assert torch.equal(first.weight, before)


def test_weights_have_the_scale_of_their_fan_in() -> None:
    for layer in (nn.Linear(64, 64), nn.Conv2d(32, 32, 3), nn.Conv2d(256, 256, 5, groups=256)):
        fan_in = layer.weight[0].numel()
        assert float(randomise_(layer).weight.detach().std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)


def test_transposed_weights_have_the_scale_of_what_an_output_sees() -> None:
    for layer, fan_in in (
        (nn.ConvTranspose2d(64, 16, 3), 64 * 9),
        (nn.ConvTranspose2d(64, 16, 4, stride=2), 64 * 4),
        (nn.ConvTranspose1d(256, 256, 5, groups=256), 5),
    ):
        assert float(randomise_(layer).weight.detach().std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)


def test_weights_with_one_input_an_output_are_weights() -> None:
    for layer in (nn.Linear(1, 4096), nn.Conv2d(1, 4096, 1), nn.ConvTranspose2d(4096, 4096, 1, groups=4096)):
        assert float(randomise_(layer).weight.detach().std()) == pytest.approx(3**-0.5, rel=0.05)


def test_tied_parameters_are_drawn_once() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    apart = nn.ParameterList(torch.empty(p.shape) for p in tied.parameters())
    for x, y in zip(randomise_(tied).parameters(), randomise_(apart).parameters(), strict=True):
        assert torch.equal(x, y)


def test_laws_hold_whatever_the_default_device() -> None:
    module, pair = block(), bands()
    again = copy.deepcopy(module)
    with torch.device("meta"):
        randomise_(again)
        assert_inverts(module, *pair)
        assert_same_gradients(module, again, *pair)


def test_vectors_and_scales_are_drawn_around_one_or_zero() -> None:
    layer = LayerNorm2d(4096)
    layer.scale = nn.Parameter(torch.rand(4096, 1, 1))  # as in NAFBlock
    randomise_(layer)
    for vector, before in ((layer.weight, 1), (layer.bias, 0), (layer.scale, 0)):
        assert float(vector.detach().mean()) == pytest.approx(before, abs=0.01)
        assert float(vector.detach().std()) == pytest.approx(0.1, rel=0.05)


def test_no_parameter_stays_at_zero() -> None:
    for network in (NAFBlock(4), ConvPredictor(3, 9)):
        assert all(bool((parameter != 0).all()) for parameter in randomise_(network).parameters())


def test_dtype_and_gradient_flags_are_kept() -> None:
    layer = nn.Conv2d(3, 3, 1).to(torch.bfloat16).requires_grad_(False)
    randomise_(layer)
    assert all(parameter.dtype == torch.bfloat16 for parameter in layer.parameters())
    assert not any(parameter.requires_grad for parameter in layer.parameters())


# assert_inverts; tests/test_laws.py has the broken chains


class Off(Invertible):
    """An inverse that is wrong by a given amount."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> Tensor:
        return x + self.by


def test_error_and_bound_are_told() -> None:
    numbers = r"off by 0\.000977, 1\.64e\+04 units of eps A at growth 1, where 32 are allowed"
    message = rf"inverse\(forward\(x\)\) of Off is {numbers}"
    with pytest.raises(AssertionError, match=message):
        assert_inverts(Off(2.0**-10), torch.ones(2))


def test_the_bound_can_be_set() -> None:
    assert_inverts(Off(2.0**-10), torch.ones(2), bound=2.0**14)
    with pytest.raises(AssertionError, match="2 units of eps A at growth 1, where 1 are allowed"):
        assert_inverts(Off(2.0**-23), torch.ones(2), bound=1.0)


def test_the_bound_grows_with_the_bands_beyond_four() -> None:
    class Rounds(Invertible):
        """Exact on integers, off by 300 units roundoff on what lies so near to one."""

        def __init__(self, growth: float) -> None:
            super().__init__()
            self.growth = growth

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.growth).round()

        def inverse(self, x: Tensor) -> Tensor:
            return x / self.growth

    x = torch.tensor([1 + 300 * 2.0**-24])
    with pytest.raises(AssertionError, match="75 units of eps A at growth 4, where 32 are allowed"):
        assert_inverts(Rounds(4.0), x)
    assert_inverts(Rounds(8.0), x)  # 37.5 units, where 64 are allowed


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("back", [False, True], ids=["forward", "inverse"])
def test_nan_is_caught_and_not_taken_for_a_written_input(position: int, back: bool) -> None:
    class Spoils(Invertible):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return (a * torch.nan, b) if position == 0 else (a, b * torch.nan)

        def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a, b

    module = Inverse(Spoils()) if back else Spoils()
    with pytest.raises(AssertionError, match="is off by nan"):
        assert_inverts(module, torch.ones(2), torch.ones(2))


class Scribbles(Invertible):
    """Writes into its input in one direction."""

    def __init__(self, *, forward: bool) -> None:
        super().__init__()
        self.on_forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(1) if self.on_forward else x + 1

    def inverse(self, x: Tensor) -> Tensor:
        return x - 1 if self.on_forward else x.sub_(1)


def test_writing_into_the_input_is_caught_in_both_directions() -> None:
    with pytest.raises(AssertionError, match=r"^Scribbles writes into its input 0"):
        assert_inverts(Scribbles(forward=True), torch.ones(2))
    with pytest.raises(AssertionError, match=r"^inverse of Scribbles writes into its input 0"):
        assert_inverts(Scribbles(forward=False), torch.ones(2))


def test_cancelling_intermediate_bands_do_not_fail_a_right_chain() -> None:
    """Bands of size 1000 on the way allow for errors of their size, seen from either end."""
    thousand, back = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(thousand.weight, 1000.1)
    nn.init.constant_(back.weight, -1000.1)
    chain = Sequential(AdditiveCoupling(thousand), AdditiveCoupling(back))
    pair = tensor(0, 1, 1, 8, 8, positive=True), tensor(1, 1, 1, 8, 8, positive=True)
    assert_inverts(chain, *pair)
    assert_inverts(Inverse(chain), *pair)


# assert_same_gradients


@given(case=chains(max_steps=3))
def test_a_copy_has_the_same_gradients(case: Case) -> None:
    assert_same_gradients(case.module, copy.deepcopy(case.module), *case.bands)


def test_inputs_and_gradients_are_left_alone() -> None:
    module, pair = block(), tuple(x.requires_grad_() for x in bands())
    before = [x.detach().clone() for x in pair]
    assert_same_gradients(module, module, *pair)
    for x, y in zip(pair, before, strict=True):
        assert x.grad is None
        assert torch.equal(x, y)
    assert all(parameter.grad is None for parameter in module.parameters())


class DetachedPrediction(Predict):
    """As `Predict`, but its prediction carries no gradient."""

    def forward(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        return approx, detail - self.network(approx).detach()


def test_a_detached_branch_is_caught_and_named() -> None:
    right = Predict(randomise_(nn.Conv2d(3, 9, 1)))
    message = r"gradient of (band 0 differs by|network\.weight is missing on one side)"
    with pytest.raises(AssertionError, match=message):
        assert_same_gradients(right, DetachedPrediction(right.network), *bands())


def test_a_missing_gradient_is_caught_on_either_side() -> None:
    class KeepsTheBand(DetachedPrediction):
        """Its bands' gradients are right; its network's are missing."""

        def forward(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
            frozen = torch.func.functional_call(
                self.network, {name: value.detach() for name, value in self.network.named_parameters()}, approx
            )
            return approx, detail - frozen

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


def test_parameters_without_use_and_frozen_ones_are_no_difference() -> None:
    module = block()
    module.unused = nn.Parameter(torch.zeros(2))
    module.predict.requires_grad_(False)
    assert_same_gradients(module, copy.deepcopy(module), *bands())


# With a condition


class Seeing(nn.Module):
    """A network that looks at the condition, and by a slip scales it where it stands."""

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


def test_integer_bands_have_no_gradients_to_compare_but_integer_conditions_may_stand_beside_them() -> None:
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
    with pytest.raises(AssertionError, match="Predict writes into its condition"):
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
