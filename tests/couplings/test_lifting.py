"""Predict, Update and the block of both: their equations, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import ConvPredictor, Inverse, Invertible, LiftingBlock, Predict, Update, VolumePreserving
from liftlayers.testing import assert_log_det, randomise_
from tests.strategies import bands, build, seeds, tensor


def lifting_block(channels: int, seed: int, dtype: torch.dtype) -> LiftingBlock:
    block = build(
        lambda: LiftingBlock(ConvPredictor(channels, 3 * channels), ConvPredictor(3 * channels, channels)), seed, dtype
    )
    assert isinstance(block, LiftingBlock)
    return block


@given(pair=bands(), seed=seeds())
def test_equations_forward(pair: tuple[Tensor, Tensor], seed: int) -> None:
    a, d = pair
    block = lifting_block(a.shape[1], seed, a.dtype)
    p, u = block.predict.network, block.update.network
    assert torch.equal(block.predict(a, d)[1], d - p(a))
    assert block.predict(a, d)[0] is a
    assert torch.equal(block.update(a, d)[0], a + u(d))
    assert block.update(a, d)[1] is d
    new_a, new_d = block(a, d)
    assert torch.equal(new_d, d - p(a))
    assert torch.equal(new_a, a + u(d - p(a)))  # of the new detail, not the old one


@given(pair=bands(), seed=seeds())
def test_equations_inverse(pair: tuple[Tensor, Tensor], seed: int) -> None:
    a, d = pair
    block = lifting_block(a.shape[1], seed, a.dtype)
    p, u = block.predict.network, block.update.network
    assert torch.equal(block.predict.inverse(a, d)[1], d + p(a))
    assert torch.equal(block.update.inverse(a, d)[0], a - u(d))
    old_a, old_d = block.inverse(a, d)
    assert torch.equal(old_a, a - u(d))
    assert torch.equal(old_d, d + p(a - u(d)))


def test_haar_is_a_block_with_fixed_taps() -> None:
    """In one dimension d = odd - even and s = even + d / 2, the mean; Haar up to the scales 2^(1/2) and -2^(-1/2)."""

    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    even, odd = tensor(0, 1, 1, 1, 8, dtype=torch.float64), tensor(1, 1, 1, 1, 8, dtype=torch.float64)
    s, d = LiftingBlock(nn.Identity(), Half())(even, odd)
    torch.testing.assert_close(s, (even + odd) / 2, rtol=0, atol=1e-15)
    assert torch.equal(d, odd - even)


def test_a_block_starts_as_the_identity() -> None:
    block = LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3))
    pair = tensor(0, 1, 3, 4, 4), tensor(1, 1, 9, 4, 4)
    for direction in (block, block.inverse):
        for band, before in zip(direction(*pair), pair, strict=True):
            assert torch.equal(band, before)


def test_a_block_takes_steps_or_networks() -> None:
    predict, update = Predict(ConvPredictor(3, 9)), Update(ConvPredictor(9, 3))
    block = LiftingBlock(predict, update)
    assert block.predict is predict
    assert block.update is update
    around = LiftingBlock(predict.network, update.network)
    assert around.predict.network is predict.network
    assert around.update.network is update.network
    assert block.state_dict().keys() == around.state_dict().keys()
    assert {name.split(".hidden")[0].split(".last")[0] for name in block.state_dict()} == {
        "predict.network",
        "update.network",
    }


def test_steps_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(TypeError, match="Predict needs a network, got Update, which is an invertible step"):
        LiftingBlock(Update(ConvPredictor(9, 3)), Predict(ConvPredictor(3, 9)))


STEPS = [
    (Predict(nn.Conv2d(3, 9, 1)), "Predict"),
    (Update(nn.Conv2d(9, 3, 1)), "Update"),
    (LiftingBlock(nn.Conv2d(3, 9, 1), nn.Conv2d(9, 3, 1)), "(Predict|Update)"),
]
steps = pytest.mark.parametrize(("step", "name"), STEPS, ids=lambda value: type(value).__name__)


@steps
def test_integer_bands_are_refused(step: Invertible, name: str) -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 9, 4, 4, dtype=torch.uint8)
    for direction in (step, Inverse(step)):
        with pytest.raises(TypeError, match=f"^{name} needs floating-point tensors, got torch.uint8"):
            direction(*images)


@steps
def test_bands_on_two_devices_are_refused(step: Invertible, name: str) -> None:
    pair = torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4, device="meta")
    for direction in (step, Inverse(step)):
        with pytest.raises(ValueError, match=f"^{name} needs its bands on one device, got (cpu and meta|meta and cpu)"):
            direction(*pair)


@pytest.mark.parametrize("kind", [Predict, Update])
def test_an_output_that_would_broadcast_is_refused(kind: type[Predict] | type[Update]) -> None:
    message = rf"{kind.__name__} needs a network output of shape \(1, 3, 4, 4\), got \(1, 1, 4, 4\)"
    step = kind(nn.Conv2d(3, 1, 1))
    for direction in (step, step.inverse):
        with pytest.raises(ValueError, match=message):
            direction(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("kind", [Predict, Update])
def test_a_network_that_returns_no_tensor_is_refused(kind: type[Predict] | type[Update]) -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> None:
            del x

    with pytest.raises(TypeError, match=f"{kind.__name__} needs a network that returns a tensor, got NoneType"):
        kind(Nothing())(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))


def test_bands_of_different_sizes_are_refused() -> None:
    message = r"Predict needs a network output of shape \(1, 9, 2, 2\), got \(1, 9, 4, 4\)"
    block = randomise_(LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
    with pytest.raises(ValueError, match=message):
        block(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 2, 2))


class Doubled(Predict):
    """Doubles the volume in each number of the detail."""

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return 2 * target - value

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return (target + value) / 2


class Stated(Doubled):
    def forward_and_log_det(self, *bands: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        return self(*bands), torch.full((len(bands[0]),), bands[1][0].numel() * math.log(2), dtype=bands[0].dtype)

    def inverse_and_log_det(self, *bands: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        return self.inverse(*bands), -self.forward_and_log_det(*bands)[1]


def test_a_block_has_the_log_determinant_of_its_steps() -> None:
    networks = [randomise_(ConvPredictor(1, 1), seed=seed).double() for seed in range(2)]
    pair = tensor(0, 2, 1, 2, 2).double(), tensor(1, 2, 1, 2, 2).double()
    assert_log_det(LiftingBlock(Stated(networks[0]), networks[1]), *pair)
    unstated = LiftingBlock(Doubled(networks[0]), networks[1])
    for function in (unstated.forward_and_log_det, unstated.inverse_and_log_det):
        with pytest.raises(NotImplementedError, match="Doubled needs forward_and_log_det and inverse_and_log_det"):
            function(*pair)


def test_a_subclass_of_a_block_may_promise_to_keep_volume() -> None:
    class Turned(LiftingBlock, VolumePreserving):
        def forward(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return super().forward(-approx, detail, condition=condition)

        def inverse(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            approx, detail = super().inverse(approx, detail, condition=condition)
            return -approx, detail

    block = Turned(*(randomise_(ConvPredictor(1, 1), seed=seed).double() for seed in range(2)))
    assert_log_det(block, tensor(0, 2, 1, 2, 2).double(), tensor(1, 2, 1, 2, 2).double())
