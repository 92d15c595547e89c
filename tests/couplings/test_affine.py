"""The affine coupling: its equation, its bounds, conditions, and what it refuses."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import ConvPredictor, Inverse, Sequential
from liftlayers.couplings.affine import AffineCoupling
from liftlayers.mixing.rearrange import Swap
from liftlayers.testing import assert_same_gradients, randomise_
from tests.laws import assert_inverts_both_ways, assert_modes_agree
from tests.strategies import seeds, tensor

widths = st.tuples(st.integers(1, 4), st.integers(1, 4))
sides = st.tuples(st.integers(1, 5), st.integers(1, 5))


def coupling(first: int, second: int, *, clamp: float = 2.0) -> AffineCoupling:
    return AffineCoupling(ConvPredictor(first, 2 * second, hidden_channels=4), clamp=clamp)


class Fixed(nn.Module):
    """A network with a fixed output."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, _x: Tensor) -> Tensor:
        return self.output


class Conditioned(nn.Module):
    """A network that sees a condition with its band, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.calls = 0

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        self.calls += 1
        return torch.tanh(self.conv(torch.cat([x, condition], dim=1)))


@given(seed=seeds())
def test_equation(seed: int) -> None:
    """The exponent as in HiNet: twice the clamp times a centred logistic function."""
    step = randomise_(coupling(2, 3, clamp=1.5), seed).double()
    a, b = tensor(seed, 2, 2, 4, 3, dtype=torch.float64), tensor(seed + 1, 2, 3, 4, 3, dtype=torch.float64)
    raw, shift = step.network(a)[:, :3], step.network(a)[:, 3:]
    out_a, out_b = step(a, b)
    assert out_a is a
    exponent = 1.5 * 2 * (torch.sigmoid(raw) - 0.5)
    torch.testing.assert_close(out_b, b * torch.exp(exponent) + shift)
    log_det = step.forward_and_log_det(a, b)[1]
    torch.testing.assert_close(log_det, exponent.flatten(1).sum(1))
    assert (log_det.abs() > 0).all()


def test_bands_of_any_rank() -> None:
    step = randomise_(AffineCoupling(nn.Linear(4, 6)))
    assert_inverts_both_ways(step, tensor(0, 5, 4), tensor(1, 5, 3))


@pytest.mark.parametrize("raw", [1e4, -1e4, 3e38, -3e38])
@pytest.mark.parametrize("clamp", [1.0, 2.0, 8.0])
def test_finite_for_any_output_of_the_network(raw: float, clamp: float) -> None:
    output = torch.cat([torch.full((1, 2, 2, 2), raw), tensor(0, 1, 2, 2, 2)], dim=1).requires_grad_()
    step = AffineCoupling(Fixed(output), clamp=clamp)
    a, b = tensor(1, 1, 2, 2, 2), tensor(2, 1, 2, 2, 2)
    for direction in (step.forward_and_log_det, step.inverse_and_log_det):
        (_, changed), log_det = direction(a, b)
        assert changed.isfinite().all()
        assert math.isclose(abs(float(log_det.detach())), 8 * clamp, rel_tol=1e-6)
        (gradient,) = torch.autograd.grad(changed.sum() + log_det.sum(), output)
        assert gradient.isfinite().all()


def test_modes_agree() -> None:
    chain = Sequential(coupling(2, 3), Swap(), coupling(3, 2), Inverse(coupling(3, 2)))
    pair = tensor(0, 2, 2, 4, 3, dtype=torch.float64), tensor(1, 2, 3, 4, 3, dtype=torch.float64)
    assert_modes_agree(randomise_(chain).double(), *pair)


def test_network_keeps_its_name_in_the_state_dict() -> None:
    assert list(AffineCoupling(nn.Linear(2, 2)).state_dict()) == ["network.weight", "network.bias"]


def test_condition_reaches_the_network_and_gets_its_gradient() -> None:
    def chain() -> Sequential:
        return randomise_(Sequential(AffineCoupling(Conditioned()), Swap(), AffineCoupling(Conditioned()))).double()

    class Bound(nn.Module):
        """Makes the condition a band, so that its gradient is compared too."""

        def __init__(self, memory: str, *, back: bool) -> None:
            super().__init__()
            self.chain = chain()
            self.chain.memory = memory  # type: ignore[assignment]
            self.direction = self.chain.inverse if back else self.chain

        def forward(self, a: Tensor, b: Tensor, condition: Tensor) -> Tensor | tuple[Tensor, ...]:
            return self.direction(a, b, condition=condition)

    bands = [tensor(i, 2, channels, 4, 4, dtype=torch.float64) for i, channels in enumerate((2, 2, 1))]
    a, b, condition = bands
    step = chain()[0]
    assert step.conditional
    assert not torch.equal(step(a, b, condition=condition)[1], step(a, b, condition=-condition)[1])
    torch.testing.assert_close(step.inverse(*step(a, b, condition=condition), condition=condition)[1], b)
    _, log_det = step.forward_and_log_det(a, b, condition=condition)
    _, back = step.inverse_and_log_det(*step(a, b, condition=condition), condition=condition)
    torch.testing.assert_close(log_det, -back)
    for back in (False, True):
        for memory in ("reversible", "checkpoint"):
            assert_same_gradients(Bound("store", back=back), Bound(memory, back=back), *bands, tolerance=1e-10)


@pytest.mark.parametrize("wrap", [lambda step: step, Inverse], ids=["forward", "inverse"])
def test_rebuilds_with_a_single_evaluation(wrap: Callable[[AffineCoupling], AffineCoupling]) -> None:
    network = Conditioned()
    chain = Sequential(wrap(AffineCoupling(network)), memory="reversible")
    a, b, condition = (tensor(i, 1, channels, 3, 3) for i, channels in enumerate((2, 2, 1)))
    out_a, out_b = chain(a.requires_grad_(), b, condition=condition)
    (out_a.sum() + out_b.sum()).backward()
    assert network.calls == 2  # one forward, one backward


def test_under_autocast_the_bands_keep_their_dtype() -> None:
    step = randomise_(coupling(2, 3))
    a, b = tensor(0, 1, 2, 4, 4), tensor(1, 1, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = step(a, b)
        assert outputs[1].dtype == torch.float32
        torch.testing.assert_close(step.inverse(*outputs)[1], b)


# What it refuses


@pytest.mark.parametrize("clamp", [0, -1.5, math.inf, math.nan, None])
def test_clamps_that_do_not_bound_are_refused(clamp: float) -> None:
    with pytest.raises(ValueError, match=f"AffineCoupling needs a positive, finite clamp, got {clamp}"):
        AffineCoupling(nn.Linear(2, 2), clamp=clamp)


@pytest.mark.parametrize("channels", [1, 9, 17])
def test_another_number_of_output_channels_is_refused(channels: int) -> None:
    step = AffineCoupling(nn.Conv2d(3, channels, 1))
    message = rf"network output of shape \(2, 18, 4, 4\), got \(2, {channels}, 4, 4\)"
    for direction in (step, step.inverse, step.forward_and_log_det, step.inverse_and_log_det, step.rebuild):
        with pytest.raises(ValueError, match=message):
            direction(torch.zeros(2, 3, 4, 4), torch.zeros(2, 9, 4, 4))


def test_bands_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"output of shape \(2, 2, 4, 4\), got \(1, 2, 4, 4\)"):
        AffineCoupling(nn.Conv2d(3, 2, 1))(torch.zeros(1, 3, 4, 4), torch.zeros(2, 1, 4, 4))


def test_bands_without_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"AffineCoupling needs bands of shape \(B, C, ...\), got \(2,\)"):
        AffineCoupling(nn.Linear(2, 4))(torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize("position", [0, 1])
def test_integer_bands_are_refused(position: int) -> None:
    bands = [torch.zeros(1, 2), torch.zeros(1, 2)]
    bands[position] = bands[position].long()
    with pytest.raises(TypeError, match=r"AffineCoupling needs floating-point tensors, got torch\.int64"):
        AffineCoupling(nn.Linear(2, 4)).inverse(*bands)


def test_bands_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="AffineCoupling needs its bands on one device, got cpu and meta"):
        AffineCoupling(nn.Linear(2, 4))(torch.zeros(1, 2), torch.zeros(1, 2, device="meta"))


def test_a_network_that_returns_no_tensor_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(TypeError, match="AffineCoupling needs a network that returns a tensor, got tuple"):
        AffineCoupling(Pair())(torch.zeros(1, 2), torch.zeros(1, 2))


def test_a_condition_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="AffineCoupling got a condition, but its network, Linear, takes none"):
        AffineCoupling(nn.Linear(2, 4))(torch.zeros(1, 2), torch.zeros(1, 2), condition=torch.zeros(1, 2))
