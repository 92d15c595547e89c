"""The protocol: Sequential, Inverse and check_inverse."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Haar,
    Inverse,
    InverseCheck,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    Sequential,
    VolumePreserving,
    check_inverse,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.invertible import is_made_of_steps
from liftlayers.memory._run import Memory
from liftlayers.testing import assert_same_gradients, randomise_
from tests.strategies import Case, chains, tensor


class Scale(Invertible):
    """Multiplies one band, and divides it, by two factors that need not agree."""

    def __init__(self, factor: float, back: float | None = None) -> None:
        super().__init__()
        self.factor, self.back = factor, factor if back is None else back

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def inverse(self, x: Tensor) -> Tensor:
        return x / self.back


class Shift(Invertible):
    """Adds a number to one band; takes back another one."""

    def __init__(self, there: float, back: float | None = None) -> None:
        super().__init__()
        self.there, self.back = there, there if back is None else back

    def forward(self, x: Tensor) -> Tensor:
        return x + self.there

    def inverse(self, x: Tensor) -> Tensor:
        return x - self.back


def block() -> LiftingBlock:
    return randomise_(LiftingBlock(ConvPredictor(3, 9, hidden_channels=4), ConvPredictor(9, 3, hidden_channels=4)))


# Invertible


def test_both_directions_must_be_defined() -> None:
    class Half(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(TypeError, match=r"abstract method .*inverse"):
        Half()  # type: ignore[abstract]


# Sequential


def test_a_direction_defined_anew_has_no_old_log_determinant() -> None:
    class Doubled(Haar):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(2 * x)

        def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
            return super().inverse(approx, detail) / 2

    class Mirrored(Haar, VolumePreserving):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(x.flip(-1))

        def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
            return super().inverse(approx, detail).flip(-1)

    x = torch.ones(2, 1, 4, 4)
    with pytest.raises(
        NotImplementedError, match=r"Doubled needs forward_and_log_det .* or VolumePreserving as its base"
    ):
        Doubled().forward_and_log_det(x)
    with pytest.raises(NotImplementedError, match="Doubled needs"):
        Inverse(Doubled()).forward_and_log_det(*Doubled()(x))
    assert torch.equal(Mirrored().forward_and_log_det(x)[1], torch.zeros(2))


class Loud:
    """A mixin that doubles the last band."""

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        *rest, last = super().forward(*bands, condition=condition)  # type: ignore[misc]
        return *rest, 2 * last

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        return super().inverse(*bands[:-1], bands[-1] / 2, condition=condition)  # type: ignore[misc]


class LoudCoupling(Loud, AdditiveCoupling):  # type: ignore[misc]
    pass


class LouderCoupling(LoudCoupling):
    pass


class LoudBlock(Loud, LiftingBlock):  # type: ignore[misc]
    pass


class StillCoupling(Loud, AdditiveCoupling, VolumePreserving):  # type: ignore[misc]
    """Promises what is not so, as whoever promises may."""


@pytest.mark.parametrize("kind", [LoudCoupling, LouderCoupling, LoudBlock])
def test_a_direction_defined_anew_by_a_mixin_leaves_nothing_old(kind: Callable[..., Invertible]) -> None:
    """Neither the log-determinant, nor how it is rebuilt, taken apart or made exact."""
    num_networks = 2 if kind is LoudBlock else 1
    step = randomise_(kind(*(nn.Linear(2, 2) for _ in range(num_networks))))
    pair = tensor(0, 3, 2), tensor(1, 3, 2)
    with pytest.raises(NotImplementedError, match=f"{kind.__name__} needs forward_and_log_det"):
        step.forward_and_log_det(*pair)
    assert not is_made_of_steps(step)
    assert_same_gradients(Sequential(step), Sequential(step, memory="reversible"), *pair, tolerance=1e-5)
    with pytest.raises(TypeError, match=rf"{kind.__name__}"):
        exact(step)(*pair)


def test_volume_may_be_promised_again_and_stays_so() -> None:
    class Child(StillCoupling):
        pass

    for kind in (StillCoupling, Child):
        step, pair = kind(nn.Linear(2, 2)), (torch.ones(3, 2), torch.ones(3, 2))
        assert torch.equal(step.forward_and_log_det(*pair)[1], torch.zeros(3))
        assert torch.equal(step.inverse_and_log_det(*pair)[1], torch.zeros(3))


def test_a_layer_without_arguments_says_so() -> None:
    assert str(inspect.signature(Haar)) == "() -> None"


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


def test_bands_come_bare_or_as_a_tuple() -> None:
    x = tensor(0, 1, 3, 4, 4)
    assert isinstance(Sequential(Haar(), Inverse(Haar()))(x), Tensor)
    assert isinstance(Sequential(Haar())(x), tuple)
    assert isinstance(Sequential(Haar()).inverse(*Haar()(x)), Tensor)


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
def test_errors_tell_where_in_the_chain_they_were_raised(memory: Memory, backwards: bool) -> None:
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
def test_an_empty_chain_has_no_use_for_a_condition(memory: Memory, name: str) -> None:
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


def test_a_step_that_takes_other_bands_is_named_with_the_one_before() -> None:
    x, pair = torch.zeros(1, 3, 8, 8), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 8, 8))
    with pytest.raises(ValueError, match=r"step 2 \(Haar\) takes 1 band\(s\), got 2 from step 1 \(LiftingBlock\)"):
        Sequential(Haar(), block(), Haar())(x)
    with pytest.raises(ValueError, match=r"step 0 \(LiftingBlock\) takes 2 band\(s\), got 1 from the caller"):
        Sequential(block())(x)
    with pytest.raises(ValueError, match=r"step 1 \(LiftingBlock\) takes 2 band\(s\), got 3 from step 0 \(LiftingPyr"):
        Sequential(LiftingPyramid([Haar(), Haar()]), block())(x)
    with pytest.raises(ValueError, match=r"step 0 \(Haar\) takes 1 band\(s\), got 2 from the caller"):
        Sequential(Haar())(*pair)


def test_the_same_on_the_way_back() -> None:
    x, pair = torch.zeros(1, 3, 8, 8), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 8, 8))
    with pytest.raises(ValueError, match=r"step 1 \(LiftingBlock\) takes back 2 band\(s\), got 1 from the caller"):
        Sequential(Haar(), block()).inverse(x)
    with pytest.raises(ValueError, match=r"step 0 \(LiftingBlock\) takes back 2 band\(s\), got 1 from step 1 \(Haar\)"):
        Sequential(block(), Haar()).inverse(*pair)


# Inverse


def test_inverse_swaps_the_directions() -> None:
    x = tensor(0, 1, 3, 4, 4)
    bands = Haar()(x)
    assert torch.equal(Inverse(Haar())(*bands), Haar().inverse(*bands))
    for actual, expected in zip(as_tuple(Inverse(Haar()).inverse(x)), bands, strict=True):
        assert torch.equal(actual, expected)


def test_the_inverse_of_an_inverse_is_the_module_itself() -> None:
    for module in (Haar(), block(), Sequential(Haar(), block())):
        assert Inverse(Inverse(module)) is module
        assert Inverse(module).module is module


def test_hooks_fire_on_an_inverse() -> None:
    inverse, calls = Inverse(Haar()), []
    inverse.register_forward_pre_hook(lambda _module, _inputs: calls.append("before"))
    inverse.register_forward_hook(lambda _module, _inputs, _output: calls.append("after"))
    inverse(*Haar()(torch.zeros(1, 1, 4, 4)))
    assert calls == ["before", "after"]


def test_an_inverse_has_the_modules_parameters() -> None:
    module = block()
    inverse = Inverse(module)
    assert list(inverse.parameters()) == list(module.parameters())
    assert list(inverse.state_dict()) == [f"module.{name}" for name in module.state_dict()]


def repickled(module: Invertible) -> Invertible:
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, repickled])
def test_an_inverse_is_copied_and_pickled(clone: Callable[[Invertible], Invertible]) -> None:
    inverse, pair = Inverse(block()), (tensor(0, 1, 3, 4, 4), tensor(1, 1, 9, 4, 4))
    other = clone(inverse)
    assert type(other) is Inverse
    assert other is not inverse
    for actual, expected in zip(as_tuple(other(*pair)), as_tuple(inverse(*pair)), strict=True):
        assert torch.equal(actual, expected)
    chain = clone(Sequential(Haar(), Inverse(Haar())))
    assert isinstance(chain, Sequential)
    assert [type(step) for step in chain] == [Haar, Inverse]


def test_what_does_not_invert_has_no_inverse() -> None:
    with pytest.raises(TypeError, match="Inverse needs an Invertible module, got Conv2d"):
        Inverse(nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Inverse needs an Invertible module, got NoneType"):
        Inverse(None)  # type: ignore[arg-type]


# check_inverse


def test_values_of_a_case_computed_by_hand() -> None:
    """x = (1, -2) in float32: there x * 3 = (3, -6), back / 3 + 1/1024. So e = 2^-10 and A = 6, where max|x| = 2."""
    chain = Sequential(Shift(0.0, -(2.0**-10)), Scale(3.0))
    check = check_inverse(chain, torch.tensor([1.0, -2.0]))
    assert check == InverseCheck(error=2.0**-10, units=2.0**-10 / (2.0**-24 * 6), growth=3.0)


def test_units_are_those_of_the_dtype() -> None:
    for dtype, roundoff in ((torch.float32, 2.0**-24), (torch.float64, 2.0**-53)):
        check = check_inverse(Shift(0.0, 2.0**-7), torch.ones(3, dtype=dtype))
        assert check == InverseCheck(2.0**-7, 2.0**-7 / roundoff, 1.0)


def test_amplitude_is_the_largest_on_the_way_not_at_its_ends() -> None:
    chain = Sequential(Scale(8.0), Scale(0.125), Shift(0.0, 2.0**-10))
    assert check_inverse(chain, torch.ones(2)) == InverseCheck(2.0**-10, 2.0**-10 / (2.0**-24 * 8), 8.0)
    nested = Sequential(Sequential(Scale(8.0), Scale(0.125)), Shift(0.0, 2.0**-10))
    assert check_inverse(nested, torch.ones(2)) == check_inverse(chain, torch.ones(2))


def test_amplitude_counts_what_an_inverted_chain_goes_through() -> None:
    """Inside an Inverse too: its way there is the way back of the module it holds."""
    chain = Inverse(Sequential(Scale(0.125), Scale(8.0)))
    assert check_inverse(chain, torch.ones(2)) == InverseCheck(0.0, 0.0, 1.0)  # / 8, then x 8
    chain = Inverse(Sequential(Scale(8.0), Scale(0.125)))
    assert check_inverse(chain, torch.ones(2)) == InverseCheck(0.0, 0.0, 8.0)  # x 8, then / 8
    assert check_inverse(Sequential(chain, Shift(0.0)), torch.ones(2)) == InverseCheck(0.0, 0.0, 8.0)


def test_the_worst_of_several_bands_counts() -> None:
    class Pair(Invertible):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a, b

        def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a + 0.25, b - 0.5

    assert check_inverse(Pair(), torch.ones(2), torch.full((3,), 4.0)) == InverseCheck(0.5, 0.5 / (2.0**-24 * 4), 1.0)


def test_an_exact_inverse_has_no_error() -> None:
    assert check_inverse(Haar(), torch.ones(1, 1, 2, 2)) == InverseCheck(0.0, 0.0, 2.0)
    assert check_inverse(Sequential(), torch.ones(1)) == InverseCheck(0.0, 0.0, 1.0)


def test_zero_input_has_no_scale() -> None:
    assert check_inverse(Haar(), torch.zeros(1, 1, 4, 4)) == InverseCheck(0.0, 0.0, 1.0)
    assert check_inverse(Shift(0.0, 1.0), torch.zeros(2)) == InverseCheck(1.0, math.inf, 1.0)


def test_empty_bands_are_measured_as_zero() -> None:
    assert check_inverse(Haar(), torch.zeros(0, 1, 4, 4)) == InverseCheck(0.0, 0.0, 1.0)


class Spoils(Invertible):
    """Sends one band of two to nan on the way back."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, b

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return (a * math.nan, b) if self.position == 0 else (a, b * math.nan)


@pytest.mark.parametrize("position", [0, 1])
def test_nan_is_never_an_inverse(position: int) -> None:
    check = check_inverse(Spoils(position), torch.ones(2), torch.ones(2))
    assert math.isnan(check.error)
    assert math.isnan(check.units)


def test_hooks_are_gone_afterwards_also_after_an_error() -> None:
    chain = Sequential(Haar(), block())
    check_inverse(chain, tensor(0, 1, 3, 4, 4))
    with pytest.raises(ValueError, match="even height and width, got 3 x 4"):
        check_inverse(chain, tensor(0, 1, 3, 3, 4))
    assert not any(module._forward_hooks for module in chain.modules())
    assert not any("inverse" in vars(module) for module in chain.modules())


def test_gradients_are_left_alone() -> None:
    chain, x = Sequential(Haar(), block()), tensor(0, 1, 3, 4, 4).requires_grad_()
    check_inverse(chain, x)
    assert x.grad is None
    assert torch.is_grad_enabled()


class Halves(Invertible):
    """Loses size on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> Tensor:
        return x[..., ::2]


class Doubles(Invertible):
    """Returns a band too many on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_an_inverse_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"returns bands of shapes \[\(2, 4\)\], got \[\(2, 2\)\]"):
        check_inverse(Halves(), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"returns bands of shapes \[\(2, 4\)\], got \[\(2, 4\), \(2, 4\)\]"):
        check_inverse(Doubles(), torch.zeros(2, 4))


def test_what_has_no_inverse_is_not_checked() -> None:
    with pytest.raises(TypeError, match="check_inverse needs an Invertible module, got Linear"):
        check_inverse(nn.Linear(2, 2), torch.ones(2))  # type: ignore[arg-type]


def test_complex_bands_are_measured() -> None:
    """By their absolute values: 3 + 4i has 5."""
    z = torch.tensor([3 + 4j])
    assert check_inverse(Sequential(), z) == InverseCheck(0.0, 0.0, 1.0)
    assert check_inverse(Scale(2.0, 4.0), z) == InverseCheck(2.5, 2.5 / (2.0**-24 * 10), 2.0)


def test_nothing_to_invert_is_refused() -> None:
    with pytest.raises(ValueError, match="check_inverse needs at least one band, got none"):
        check_inverse(Haar())


class AddsAtMost100(Invertible):
    """Inverts small integers only."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 100

    def inverse(self, x: Tensor) -> Tensor:
        return (x - 100).clamp(max=100)


def test_integer_bands_have_no_roundoff() -> None:
    whole = torch.tensor([-(2**63), 0, 2**63 - 1])
    assert check_inverse(Sequential(), whole) == (0.0, 0.0, 1.0)
    assert check_inverse(AddsAtMost100(), torch.tensor([50])).units == 0
    photo = torch.tensor([50, 101], dtype=torch.uint8)
    assert check_inverse(AddsAtMost100(), photo) == (1.0, math.inf, 201 / 101)
