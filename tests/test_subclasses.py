"""A subclass that returns the same numbers keeps its layer's log-determinant and exact form; others raise errors."""

from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions.transforms import ExpTransform
from torch.nn.utils import prune

from liftlayers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Haar,
    Inverse,
    Invertible,
    InvertibleConv1x1,
    LiftingBlock,
    Parallel,
    PixelUnshuffle,
    Sequential,
    ToGrid,
    VolumePreserving,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.interop.transforms import FromTransform
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.laws import assert_log_dets
from tests.strategies import tensor


class Reports:
    """A mixin that notes each call and changes nothing."""

    calls = 0

    def forward(self, *bands: Tensor, **options: Any) -> Any:
        self.calls += 1
        return super().forward(*bands, **options)  # type: ignore[misc]

    def inverse(self, *bands: Tensor, **options: Any) -> Any:
        self.calls += 1
        return super().inverse(*bands, **options)  # type: ignore[misc]


class ReportingHaar(Reports, Haar):
    pass


class ReportingCoupling(Reports, AdditiveCoupling):
    pass


class ReportingAffine(Reports, AffineCoupling):
    pass


class ReportingBlock(Reports, LiftingBlock):
    pass


def linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1)


def built(kind: type[Invertible]) -> tuple[Invertible, tuple[Tensor, ...]]:
    pair = tuple(tensor(i, 2, c, 4, 4, dtype=torch.float64) for i, c in enumerate((1, 3)))
    if issubclass(kind, Haar):
        return kind(), pair[:1]
    if issubclass(kind, LiftingBlock):
        return randomise_(kind(linear(1, 3), linear(3, 1))).double(), pair
    return randomise_(kind(linear(1, 6 if issubclass(kind, AffineCoupling) else 3))).double(), pair  # type: ignore[call-arg]


REPORTING = [ReportingHaar, ReportingCoupling, ReportingAffine, ReportingBlock]


@pytest.mark.parametrize("kind", REPORTING)
def test_a_subclass_that_only_reports_keeps_the_log_determinant(kind: type[Invertible]) -> None:
    step, bands = built(kind)
    assert_log_dets(step, *bands)


@pytest.mark.parametrize("kind", REPORTING)
@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_a_subclass_that_only_reports_is_called_and_trained_in_every_mode(kind: type[Invertible], memory: Any) -> None:
    step, bands = built(kind)
    assert_inverts(step, *bands)
    before = step.calls  # type: ignore[attr-defined]
    assert_same_gradients(Sequential(step), Sequential(step, memory=memory), *bands, tolerance=1e-10)
    assert step.calls >= before + 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [ReportingHaar, ReportingCoupling])
def test_a_subclass_that_only_reports_is_exact(kind: type[Invertible]) -> None:
    step, bands = built(kind)
    chain = exact(Sequential(step))
    returned = as_tuple(chain.inverse(*as_tuple(chain(*bands))))
    assert all(torch.equal(x, y) for x, y in zip(returned, as_tuple(ToGrid(16)(*bands)), strict=True))
    assert step.calls == 0 or kind is ReportingHaar  # type: ignore[attr-defined]  # the coupling is evaluated as a copy


class Halved(AdditiveCoupling):
    """Changes the rule, and keeps volume."""

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return target + value / 2

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return target - value / 2


class Tripled(AdditiveCoupling):
    """Changes the rule, and does not keep volume."""

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return 3 * target + value

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return (target - value) / 3


class Shifted(AffineCoupling):
    """Calls the layer and adds to what it returns."""

    def forward(self, *bands: Tensor, **options: Any) -> Any:
        a, b = super().forward(*bands, **options)
        return a, 2 * b

    def inverse(self, a: Tensor, b: Tensor, **options: Any) -> Any:
        return super().inverse(a, b / 2, **options)


class TripledTwice(Tripled):
    pass


class Doubles:
    """A mixin that doubles what a layer returns."""

    def forward(self, *bands: Tensor, **options: Any) -> Any:
        return tuple(2 * x for x in as_tuple(super().forward(*bands, **options)))  # type: ignore[misc]

    def inverse(self, *bands: Tensor, **options: Any) -> Any:
        return super().inverse(*(x / 2 for x in bands), **options)  # type: ignore[misc]


CHANGED = [Halved, Tripled, TripledTwice, Shifted]


@pytest.mark.parametrize("kind", CHANGED)
def test_a_subclass_that_changes_the_map_has_no_log_determinant(kind: type[Invertible]) -> None:
    step, bands = built(kind)
    for direction in (step, Inverse(step)):
        for method in (direction.forward_and_log_det, direction.inverse_and_log_det):
            with pytest.raises(NotImplementedError, match=f"{kind.__name__} .*needs"):
                method(*bands)


def doubled(kind: type[Invertible], *arguments: Any) -> Invertible:
    return type(f"Doubled{kind.__name__}", (Doubles, kind), {})(*arguments)


@pytest.mark.parametrize(
    "step",
    [
        doubled(ActNorm, 1),
        doubled(InvertibleConv1x1, 1),
        doubled(Sequential, PixelUnshuffle(2)),
        doubled(Parallel, PixelUnshuffle(2)),
        doubled(Inverse, InvertibleConv1x1(1)),
        doubled(FromTransform, ExpTransform()),
        Sequential(doubled(Sequential, PixelUnshuffle(2))),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_subclass_that_doubles_outputs_has_no_log_determinant(step: Invertible) -> None:
    bands = tensor(0, 2, 1, 4, 4)
    outputs = as_tuple(step(bands))
    with pytest.raises(NotImplementedError, match="needs forward_and_log_det"):
        step.forward_and_log_det(bands)
    with pytest.raises(NotImplementedError, match="needs forward_and_log_det"):
        step.inverse_and_log_det(*outputs)


@pytest.mark.parametrize("kind", CHANGED)
@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_a_subclass_that_changes_the_map_is_trained_in_every_mode(kind: type[Invertible], memory: Any) -> None:
    step, bands = built(kind)
    chain = Sequential(step, Inverse(built(kind)[0]), step)
    assert_inverts(chain, *bands)
    assert_same_gradients(chain, Sequential(*chain, memory=memory), *bands, tolerance=1e-10)


@pytest.mark.parametrize("kind", [Halved, Tripled, TripledTwice])
def test_a_subclass_that_changes_the_map_is_not_exact(kind: type[Invertible]) -> None:
    step, bands = built(kind)
    with pytest.raises(TypeError, match=rf"step 0 of 1 \({kind.__name__}\) changes the map of AdditiveCoupling"):
        exact(Sequential(step))(*bands)


class Gated(AdditiveCoupling):
    """Calls the network through a gate, with a rounding error of its own."""

    def evaluate(self, source: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return 0.37 * super().evaluate(source, target, condition)


def test_a_subclass_that_changes_what_its_network_returns_is_not_exact() -> None:
    step, bands = built(Gated)
    assert_log_dets(step, *bands)
    with pytest.raises(TypeError, match=r"step 0 of 1 \(Gated\) changes the map of AdditiveCoupling"):
        exact(Sequential(step))(*bands)


def test_a_class_that_promises_again_has_its_own_log_determinant() -> None:
    class Promised(Halved, VolumePreserving):
        pass

    step, bands = built(Promised)
    assert_log_dets(step, *bands)


def test_a_method_replaced_on_one_module_counts_as_well() -> None:
    step, bands = built(AdditiveCoupling)

    def tripled(self: AdditiveCoupling, a: Tensor, b: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        return a, 3 * b + self.evaluate(a, b, None)

    def divided(self: AdditiveCoupling, a: Tensor, b: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        return a, (b - self.evaluate(a, b, None)) / 3

    step.forward, step.inverse = MethodType(tripled, step), MethodType(divided, step)
    with pytest.raises(NotImplementedError, match="AdditiveCoupling needs"):
        step.forward_and_log_det(*bands)
    assert_same_gradients(Sequential(step), Sequential(step, memory="reversible"), *bands, tolerance=1e-10)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
@pytest.mark.parametrize("wrap", [lambda step: step, lambda step: Sequential(step)], ids=["step", "chain"])
def test_a_subclass_of_inverse_is_called(memory: Any, wrap: Any) -> None:
    step, bands = built(AdditiveCoupling)
    chain = Sequential(doubled(Inverse, wrap(step)))
    assert_same_gradients(chain, Sequential(*chain, memory=memory), *bands, tolerance=1e-10)
    for x, y in zip(chain(*bands), Sequential(*chain, memory=memory)(*bands), strict=True):
        assert torch.equal(x, y)


def test_a_comparison_leaves_no_trace() -> None:
    """Neither batch statistics nor random numbers: the network may have dropout."""
    norm = nn.BatchNorm2d(1)
    step = ReportingAffine(nn.Sequential(norm, nn.Dropout(0.5), nn.Conv2d(1, 6, 1)))
    pair = torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)
    torch.manual_seed(0)
    step.forward_and_log_det(*pair)
    after = torch.get_rng_state()
    assert norm.num_batches_tracked == 1
    torch.manual_seed(0)
    step(*pair)
    assert torch.equal(torch.get_rng_state(), after)


def test_an_attribute_called_rebuild_is_no_method() -> None:
    class Flagged(Haar):
        def __init__(self) -> None:
            super().__init__()
            self.rebuild = True

    step, x = Flagged(), tensor(0, 1, 1, 4, 4, dtype=torch.float64)
    assert_same_gradients(Sequential(step), Sequential(step, memory="reversible"), x, tolerance=1e-10)


@pytest.mark.parametrize("kind", [AffineCoupling, AdditiveCoupling])
def test_subclasses_around_pruned_networks_are_compared(kind: type[AffineCoupling | AdditiveCoupling]) -> None:
    """A pruned weight has a graph, which `copy.deepcopy` refuses; comparing leaves buffers as they are."""

    class Counting(kind):  # type: ignore[misc, valid-type]
        def forward(self, a: Tensor, b: Tensor, **options: Any) -> Any:
            self.calls += 1
            return super().forward(a, b, **options)

    linear = nn.Linear(2, 4 if kind is AffineCoupling else 2)
    prune.l1_unstructured(linear, "weight", 0.5)
    network = nn.Sequential(nn.BatchNorm1d(2), linear)
    counting, plain = Counting(network), kind(network)
    counting.register_buffer("calls", torch.zeros(()))
    pair = tensor(0, 3, 2), tensor(1, 3, 2)
    network.eval()
    bands, log_det = counting.forward_and_log_det(*pair)
    expected, expected_log_det = plain.forward_and_log_det(*pair)
    assert torch.equal(bands[1], expected[1])
    assert torch.equal(log_det, expected_log_det)
    assert counting.calls == (kind is AdditiveCoupling)  # which runs its forward itself
