"""randomise_: the scale of each parameter, and what it leaves alone."""

import copy

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    ConvPredictor,
    LayerNorm2d,
    NAFBlock,
)
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.steps import block
from tests.strategies import seeds, tensor


def bands(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return tensor(0, 1, 3, 4, 4, dtype=dtype), tensor(1, 1, 9, 4, 4, dtype=dtype)


# randomise_


@given(seed=seeds())
def test_the_same_seed_draws_the_same_parameters(seed: int) -> None:
    once = ConvPredictor(3, 9)
    again = copy.deepcopy(once)
    assert randomise_(once, seed) is once
    torch.manual_seed(seed)  # the global state does not matter
    randomise_(again, seed)
    for x, y in zip(once.parameters(), again.parameters(), strict=True):
        assert torch.equal(x, y)


def test_other_seeds_draw_other_parameters() -> None:
    zero, one = (randomise_(ConvPredictor(3, 9), seed) for seed in (0, 1))
    for x, y in zip(zero.parameters(), one.parameters(), strict=True):
        assert not torch.equal(x, y)


def test_global_random_state_is_unchanged() -> None:
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


def test_transposed_weights_have_the_scale_of_their_fan_in() -> None:
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


def test_laws_hold_under_any_default_device() -> None:
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


def test_parameters_without_values_are_refused_and_empty_ones_stay() -> None:
    with pytest.raises(
        ValueError, match="randomise_ needs parameters that have values, got weight, which is on the meta"
    ):
        randomise_(nn.Linear(2, 2, device="meta"))
    empty = nn.Module()
    empty.weight = nn.Parameter(torch.zeros(0, 3))
    assert randomise_(empty).weight.shape == (0, 3)
