"""A coupling of one's own on the base class."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Coupling, Predict, Sequential, Swap, Update, VolumePreserving, exact
from liftlayers.testing import assert_inverts, randomise_
from tests.laws import assert_copies, assert_inverts_both_ways, assert_log_dets, assert_modes_agree
from tests.strategies import tensor


class Gated(Coupling, VolumePreserving):
    """Adds the network's output, scaled by a learned gate."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.gate = nn.Parameter(torch.zeros(()))

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return target + self.gate.tanh() * value

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return target - self.gate.tanh() * value


class GatedFirst(Gated):
    """Changes the first band."""

    source = 1


class Cubed(Coupling):
    """Changes the target by a rule that is not linear in it, so that its log-determinant depends on the target."""

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return torch.sinh(torch.asinh(target) + value)

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return torch.sinh(torch.asinh(target) - value)

    def log_det(self, target: Tensor, value: Tensor) -> Tensor:
        slope = torch.cosh(torch.asinh(target) + value) / torch.sqrt(1 + target.square())
        return slope.log().flatten(1).sum(1)


class Counting(nn.Module):
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.mix(x) if condition is None else self.mix(x) * condition


def coupling(kind: type[Coupling], seed: int = 0) -> Coupling:
    return randomise_(kind(nn.Conv2d(2, 2, 3, padding=1)), seed).double()


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    return tensor(seed, 2, 2, 3, 4, dtype=torch.float64), tensor(seed + 1, 2, 2, 3, 4, dtype=torch.float64)


each_kind = pytest.mark.parametrize("kind", [Gated, GatedFirst, Cubed])


@each_kind
@pytest.mark.parametrize("seed", range(3))
def test_the_laws_hold(kind: type[Coupling], seed: int) -> None:
    step, bands = coupling(kind, seed), pair(seed)
    assert_inverts_both_ways(step, *bands)
    assert_modes_agree(step, *bands)


@each_kind
def test_its_log_determinant_is_that_of_autograd_and_copies_agree(kind: type[Coupling]) -> None:
    step, bands = coupling(kind), pair()
    claimed = assert_log_dets(step, *bands)
    assert (claimed == 0).all() == (kind is not Cubed)
    assert_copies(step, coupling(kind, seed=1), *bands)


def test_only_the_target_changes() -> None:
    a, b = pair()
    assert coupling(Gated)(a, b)[0] is a
    assert coupling(GatedFirst)(a, b)[1] is b


def test_its_network_is_evaluated_twice_in_a_training_step() -> None:
    networks = [Counting(), Counting()]
    chain = Sequential(Gated(networks[0]), Swap(), GatedFirst(networks[1]), memory="reversible")
    randomise_(chain)
    chain(*(x.float().requires_grad_() for x in pair()))[0].sum().backward()
    assert [network.calls for network in networks] == [2, 2]


def test_a_condition_reaches_the_network() -> None:
    step, condition = randomise_(Gated(Counting())).double(), tensor(3, 2, 1, 1, 1, dtype=torch.float64)
    assert step.conditional
    assert_inverts(step, *pair(), condition=condition)
    assert not torch.equal(step(*pair(), condition=condition)[1], step(*pair())[1])


def test_functions_are_applied_to_its_modules_as_to_others() -> None:
    seen: list[nn.Module] = []
    step = coupling(Gated)
    assert nn.Sequential(step).apply(seen.append)[0] is step
    assert step in seen
    assert step.network in seen


def test_a_coupling_without_a_log_determinant_says_so() -> None:
    class Plain(Coupling):
        def change(self, target: Tensor, value: Tensor) -> Tensor:
            return target + value

        def undo(self, target: Tensor, value: Tensor) -> Tensor:
            return target - value

    with pytest.raises(NotImplementedError, match="Plain needs log_det of its own, or VolumePreserving as its base"):
        coupling(Plain).forward_and_log_det(*pair())


def test_a_rule_must_be_defined() -> None:
    kind: Any = type("Half", (Coupling,), {"change": Gated.change})
    with pytest.raises(TypeError, match=r"abstract.*undo"):
        kind(nn.Identity())


class WritesIntoCondition(nn.Module):
    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return x if condition is None else x * condition.mul_(2)


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("wrap", [lambda chain: chain, exact], ids=["plain", "exact"])
def test_a_network_that_writes_into_its_input_is_refused(memory: Any, grad: bool, wrap: Any) -> None:
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 2, 1))
    for kind in (AdditiveCoupling, Update):
        chain = wrap(Sequential(kind(network), memory=memory))
        for direction in (chain, chain.inverse):
            bands = [band.float() * 1 for band in pair()]  # no leaves: autograd refuses to write into those itself
            with (
                torch.set_grad_enabled(grad),
                pytest.raises(RuntimeError, match=rf"({kind.__name__}|OnGrid) .*writes into it"),
            ):
                direction(*(band.requires_grad_(grad) * 1 for band in bands))


def test_a_network_that_writes_into_its_condition_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Gated needs a network that leaves its input as it is"):
        Gated(WritesIntoCondition())(*(band.float() for band in pair()), condition=torch.ones(2, 1, 1, 1))


@pytest.mark.parametrize("kind", [AdditiveCoupling, Predict, Update])
def test_where_writes_are_not_counted_a_network_gets_a_copy(kind: type[Coupling]) -> None:
    """In inference mode, and inside `torch.func`."""
    step = kind(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))).double()
    a, b = tensor(0, 3, 4).double(), tensor(1, 3, 4).double()
    with torch.inference_mode():
        bands = a.clone(), b.clone()
        again = step.inverse(*step(*bands))
    assert all(map(torch.equal, bands, (a, b)))
    assert all(torch.allclose(x, y, rtol=0, atol=1e-12) for x, y in zip(again, (a, b), strict=True))
    bands = a.clone(), b.clone()
    again = torch.func.vmap(lambda *pair: step.inverse(*step(*pair)))(*bands)
    assert all(map(torch.equal, bands, (a, b)))
    assert all(torch.allclose(x, y, rtol=0, atol=1e-12) for x, y in zip(again, (a, b), strict=True))


@torch.inference_mode()
def test_inference_tensors_are_taken() -> None:
    step = coupling(Gated).float()
    bands = [torch.rand(2, 2, 3, 4) for _ in range(2)]
    assert torch.allclose(step.inverse(*step(*bands))[1], bands[1], atol=1e-6)


def test_a_network_with_a_replaced_forward_is_freed() -> None:
    def used() -> weakref.ref[nn.Module]:
        network = nn.Conv2d(2, 2, 1)
        forward = network.forward
        network.forward = lambda x: forward(x)  # type: ignore[method-assign]
        assert not Gated(network).conditional
        return weakref.ref(network)

    reference = used()
    gc.collect()
    assert reference() is None


# What a rule may return


class Wider(Gated):
    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return torch.cat([target, value], dim=1)


class InDouble(Gated):
    """Computes in float64, as autocast computes exponentials in float32."""

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return super().change(target.double(), value)


class Columns(Cubed):
    def log_det(self, target: Tensor, value: Tensor) -> Tensor:
        return super().log_det(target, value)[:, None]


def test_a_rule_has_to_keep_the_shape_of_the_target() -> None:
    message = (
        r"Wider needs a rule that returns a target like the given one, of shape \(2, 2, .*, got shape \(2, 4, 3, 4\)"
    )
    with pytest.raises(ValueError, match=message):
        coupling(Wider)(*pair())


def test_a_rule_has_to_return_a_tensor() -> None:
    step = coupling(Gated)
    step.change = lambda target, value: None  # type: ignore[method-assign,assignment,return-value]  # noqa: ARG005
    with pytest.raises(TypeError, match="Gated needs a rule that returns a tensor, got NoneType"):
        step(*pair())


def test_the_target_keeps_its_dtype() -> None:
    step, bands = coupling(InDouble).float(), [x.float() for x in pair()]
    assert [band.dtype for band in step(*bands)] == [torch.float32] * 2
    assert [band.dtype for band in Sequential(step, memory="reversible")(*bands)] == [torch.float32] * 2


def test_a_log_determinant_has_one_number_for_each_sample() -> None:
    message = r"Columns needs a log-determinant of shape \(B,\), got \(2, 1\) for bands of 2 samples; sum over all axes"
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        with pytest.raises(ValueError, match=message):
            getattr(coupling(Columns), method)(*pair())


def test_the_source_is_one_of_two_bands() -> None:
    class Third(Gated):
        source = 2

    with pytest.raises(ValueError, match="Third needs a source of 0 or 1, got 2"):
        coupling(Third)


def test_bands_made_in_inference_mode_can_be_used_outside() -> None:
    with torch.inference_mode():
        bands = pair()
    step = coupling(Gated)
    with torch.no_grad():
        assert all(map(torch.equal, step(*bands), step(*(band.clone() for band in bands))))
