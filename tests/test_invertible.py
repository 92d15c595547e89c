"""The protocol: both directions, subclasses of a layer, and Inverse."""

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Haar,
    Inverse,
    Invertible,
    InvertibleConv1x1,
    LiftingBlock,
    PixelUnshuffle,
    Sequential,
    Split,
    Swap,
    VolumePreserving,
    exact,
)
from liftlayers._bands import Bands, as_tuple
from liftlayers.invertible import is_made_of_steps
from liftlayers.memory.container import Memory
from liftlayers.testing import assert_same_gradients, randomise_
from tests.steps import block
from tests.strategies import tensor

# Invertible


def test_both_directions_must_be_defined() -> None:
    class Half(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(TypeError, match=r"abstract method .*inverse"):
        Half()  # type: ignore[abstract]


# Subclasses


def test_a_subclass_with_another_map_has_no_log_determinant() -> None:
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
    """Makes a promise that is wrong; nothing checks it."""


@pytest.mark.parametrize("kind", [LoudCoupling, LouderCoupling, LoudBlock])
def test_a_mixin_with_another_map_inherits_no_shortcut(kind: Callable[..., Invertible]) -> None:
    """Shortcuts are the log-determinant, rebuilding, taking apart and exact."""
    num_networks = 2 if kind is LoudBlock else 1
    step = randomise_(kind(*(nn.Linear(2, 2) for _ in range(num_networks))))
    pair = tensor(0, 3, 2), tensor(1, 3, 2)
    with pytest.raises(NotImplementedError, match=f"{kind.__name__} needs forward_and_log_det"):
        step.forward_and_log_det(*pair)
    assert not is_made_of_steps(step)
    assert_same_gradients(Sequential(step), Sequential(step, memory="reversible"), *pair, tolerance=1e-5)
    with pytest.raises(TypeError, match=rf"{kind.__name__}"):
        exact(step)(*pair)


def test_a_subclass_may_promise_again_that_it_keeps_volume() -> None:
    class Child(StillCoupling):
        pass

    for kind in (StillCoupling, Child):
        step, pair = kind(nn.Linear(2, 2)), (torch.ones(3, 2), torch.ones(3, 2))
        assert torch.equal(step.forward_and_log_det(*pair)[1], torch.zeros(3))
        assert torch.equal(step.inverse_and_log_det(*pair)[1], torch.zeros(3))


def test_a_layer_without_arguments_has_an_empty_signature() -> None:
    assert str(inspect.signature(Swap)) == "() -> None"


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


def test_inverse_refuses_other_modules() -> None:
    with pytest.raises(TypeError, match="Inverse needs an Invertible module, got Conv2d"):
        Inverse(nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Inverse needs an Invertible module, got NoneType"):
        Inverse(None)  # type: ignore[arg-type]


# repr


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        (ActNorm(3), "ActNorm(3)"),
        (InvertibleConv1x1(4), "InvertibleConv1x1(4)"),
        (Split(1, 2), "Split(1, 2)"),
        (PixelUnshuffle(2), "PixelUnshuffle(2)"),
        (Sequential(Swap()), "Sequential(\n  (0): Swap()\n)"),
        (Sequential(Swap(), memory="reversible"), "Sequential(\n  memory='reversible'\n  (0): Swap()\n)"),
        (AffineCoupling(nn.Identity(), clamp=1), "AffineCoupling(\n  clamp=1\n  (network): Identity()\n)"),
    ],
)
def test_repr_shows_the_settings(module: Invertible, shown: str) -> None:
    assert repr(module) == shown


def test_repr_of_an_exact_chain_shows_its_memory() -> None:
    shown = repr(exact(Sequential(memory="reversible"), bits=8)).splitlines()[1]
    assert shown == "  bits=8, batch_invariant=False, anywhere=False, memory='reversible'"


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
def test_the_inverse_of_a_subclass_of_inverse_is_that_of_its_map(memory: Memory) -> None:
    class Twice(Inverse):
        def forward(self, *bands: Tensor, **options: Tensor) -> Bands:
            return 2 * super().forward(*bands, **options)  # type: ignore[operator]

        def inverse(self, *bands: Tensor, **options: Tensor) -> Bands:
            return super().inverse(bands[0] / 2, **options)

    twice, x = Twice(PixelUnshuffle(2)), tensor(0, 1, 4, 2, 2)
    assert torch.equal(Inverse(twice)(twice(x)), x)  # type: ignore[arg-type]
    assert torch.equal(Inverse(Inverse(twice))(x), twice(x))  # type: ignore[arg-type]
    chain = Sequential(twice, Inverse(twice), memory=memory)  # type: ignore[arg-type]
    assert torch.equal(chain(x), x)  # type: ignore[arg-type]


def test_a_condition_by_position_is_no_band() -> None:
    class Shift(VolumePreserving):
        def forward(self, a: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
            return a + condition

        def inverse(self, a: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
            return a - condition

    a, shift = tensor(0, 2, 1), tensor(1, 2, 1)
    assert torch.equal(Sequential(Shift())(a, condition=shift), a + shift)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Shift.* takes 1 band"):
        Sequential(Split(1, 1), Shift())(tensor(0, 2, 2))
