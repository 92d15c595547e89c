"""ActNorm: initialised once, from the first batch; how this survives copies and loading, and what it refuses."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import AffineCoupling, ConvPredictor, Haar, Inverse, Invertible, Sequential
from liftlayers.mixing.actnorm import ActNorm
from liftlayers.testing import randomise_
from tests.laws import assert_inverts_both_ways
from tests.mixing.actnorms import assigned, batch, initialised, loaded, repickled
from tests.strategies import dtypes, seeds, tensor

sides = st.lists(st.integers(1, 4), max_size=3).map(tuple)  # of vectors, lines, images, volumes


@given(seed=seeds(), channels=st.integers(1, 4), dtype=dtypes)
def test_the_first_batch_leaves_normalised(seed: int, channels: int, dtype: torch.dtype) -> None:
    y = ActNorm(channels).to(dtype)(batch(seed, channels, dtype))
    variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-5, atol=0)


def test_equation() -> None:
    norm, x = initialised(3), batch(1)
    scale, bias = norm.log_scale.exp().view(1, 3, 1, 1), norm.bias.view(1, 3, 1, 1)
    assert torch.equal(norm(x), scale * (x + bias))


def test_later_batches_are_not_normalised_again() -> None:
    norm = ActNorm(3)
    norm(batch(0))
    kept = copy.deepcopy(norm.state_dict())
    norm(5 * batch(1) + 7)
    assert all(torch.equal(norm.state_dict()[name], value) for name, value in kept.items())


def loaded_in_a_chain(norm: ActNorm) -> ActNorm:
    chain = Sequential(Haar(), ActNorm(3))
    chain.load_state_dict(Sequential(Haar(), norm).state_dict())
    copied = chain[1]
    assert isinstance(copied, ActNorm)
    return copied


survivals = [copy.deepcopy, repickled, loaded, assigned, loaded_in_a_chain]


@pytest.mark.parametrize("survive", survivals)
def test_initialisation_survives(survive: Callable[[ActNorm], ActNorm]) -> None:
    norm = ActNorm(3)
    y = norm(batch(0))
    other = survive(norm)
    assert bool(other.initialised)
    assert torch.equal(other.inverse(y), norm.inverse(y))
    x = 3 * batch(1) - 2
    assert torch.equal(other.train()(x), norm(x))  # would differ if it were initialised again


@pytest.mark.parametrize("survive", [survive for survive in survivals if survive is not assigned])
def test_missing_initialisation_survives_too(survive: Callable[[ActNorm], ActNorm]) -> None:
    other = survive(ActNorm(3))
    assert not bool(other.initialised)
    assert abs(float(other(batch(0)).detach().std()) - 1) < 0.01


def test_loading_an_uninitialised_state_starts_over() -> None:
    norm = initialised(3)
    norm.load_state_dict(ActNorm(3).state_dict())
    x = batch(0)
    assert torch.equal(norm(x), ActNorm(3)(x))


def test_constant_channels_keep_their_scale() -> None:
    x = batch(0)
    x[:, 0], x[:, 1] = 0.1, 0.0
    norm = ActNorm(3)
    y = norm(x)
    assert torch.equal(norm.log_scale[:2], torch.zeros(2))
    assert y[:, :2].abs().max() < 1e-6
    assert_inverts_both_ways(norm, x)
    assert_inverts_both_ways(norm, batch(1))


def test_a_single_pixel_is_a_constant_channel() -> None:
    norm = ActNorm(3)
    assert torch.equal(norm(tensor(0, 1, 3, 1, 1)), torch.zeros(1, 3, 1, 1))
    assert torch.equal(norm.log_scale, torch.zeros(3))


def test_16_bit_batches_do_not_overflow() -> None:
    norm = ActNorm(1).half()
    y = norm(torch.tensor([-1000.0, 1000.0]).half().view(2, 1, 1, 1))
    torch.testing.assert_close(y.flatten(), torch.tensor([-1.0, 1.0]).half(), rtol=2e-3, atol=0)


@given(seed=seeds(), sides=st.lists(st.integers(2, 4), max_size=3).map(tuple))
def test_the_first_batch_of_any_rank_leaves_normalised(seed: int, sides: tuple[int, ...]) -> None:
    y = ActNorm(3)(3 + 2 * tensor(seed, 8, 3, *sides)).detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(3), rtol=0, atol=1e-4)


def test_log_det_of_the_pass_that_initialises() -> None:
    x = batch(0)
    norm = ActNorm(3)
    _, log_det = norm.forward_and_log_det(x)
    torch.testing.assert_close(log_det.detach(), -30 * x.std(dim=(0, 2, 3), correction=0).log().sum().expand(4))


def test_state_dict() -> None:
    assert set(ActNorm(3).state_dict()) == {"log_scale", "bias", "initialised"}


# What it refuses


def test_a_first_batch_under_a_transform_is_refused() -> None:
    def total(x: Tensor) -> Tensor:
        return norm(x).sum()

    norm, x = ActNorm(3), batch(0)
    for transform in (torch.func.vmap, torch.func.grad):
        with pytest.raises(RuntimeError, match=r"ActNorm needs its first batch outside torch\.func"):
            transform(total)(x.unsqueeze(0) if transform is torch.func.vmap else x)
    norm(x)
    torch.testing.assert_close(torch.func.grad(total)(x), norm.log_scale.exp().view(-1, 1, 1).expand(x.shape))


def test_use_before_initialisation_is_refused() -> None:
    norm, x = ActNorm(3), batch(0)
    way_out = "call its forward once in training mode, or load the state dict of an initialised one"
    for direction in (norm.inverse, norm.inverse_and_log_det, Inverse(norm)):
        with pytest.raises(RuntimeError, match=f"ActNorm needs to be initialised before inverse: {way_out}"):
            direction(x)
    with pytest.raises(RuntimeError, match="ActNorm needs to be initialised before forward in evaluation mode"):
        norm.eval()(x)
    assert not bool(norm.initialised)


def test_a_first_batch_without_finite_numbers_is_refused() -> None:
    norm = ActNorm(3)
    with pytest.raises(ValueError, match="batch of finite numbers to initialise from, got an empty one"):
        norm(torch.zeros(0, 3, 2, 2))
    for value in (torch.inf, torch.nan):
        with pytest.raises(ValueError, match="batch of finite numbers to initialise from, got infinite or nan values"):
            norm(torch.full((1, 3, 2, 2), value))
    assert not bool(norm.initialised)


def test_no_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="ActNorm needs channels of at least 1, got -1"):
        ActNorm(-1)


def test_the_wrong_tensor_is_refused() -> None:
    norm = initialised(3)
    for direction in (norm, norm.inverse, norm.forward_and_log_det, norm.inverse_and_log_det):
        with pytest.raises(ValueError, match=r"ActNorm needs a \(B, 3, \.\.\.\) tensor, got \(1, 4, 2, 2\)"):
            direction(torch.zeros(1, 4, 2, 2))
        with pytest.raises(TypeError, match=r"parameters' torch\.float32, got torch\.bfloat16"):
            direction(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16))
        with pytest.raises(ValueError, match="ActNorm needs a tensor on its parameters' device, cpu, got meta"):
            direction(torch.zeros(1, 3, 2, 2, device="meta"))


@pytest.mark.parametrize("training", [True, False])
def test_shapes_are_computed_on_the_meta_device(training: bool) -> None:
    norm, x = ActNorm(3).to("meta").train(training), torch.empty(2, 3, 4, 4, device="meta")
    assert norm.inverse(norm(x)).shape == x.shape
    assert norm.forward_and_log_det(x)[1].shape == (2,)


@pytest.mark.parametrize("make", [lambda: ActNorm(3), lambda: AffineCoupling(ConvPredictor(3, 6))])
def test_log_determinants_of_large_images_in_half_precision(make: Callable[[], Invertible]) -> None:
    """They are more than float16 can hold."""
    step = randomise_(make(), seed=0)
    bands = [tensor(seed, 1, 3, 128, 256) for seed in range(1 if isinstance(step, ActNorm) else 2)]
    with torch.no_grad():
        step(*bands)  # initialises
        step.half()
        for parameter in step.parameters():
            parameter.add_(1)
        _, log_det = step.forward_and_log_det(*(band.half() for band in bands))
        _, expected = step.double().forward_and_log_det(*(band.half().double() for band in bands))
    assert abs(expected) > torch.finfo(torch.float16).max
    assert torch.allclose(log_det.double(), expected, rtol=1e-2)


@pytest.mark.parametrize("size", [1e-30, 1e-24, 1.0, 1e20, 1e35])
def test_a_first_batch_may_be_of_any_size(size: float) -> None:
    """The squares of its values are not numbers of float32."""
    norm, x = ActNorm(2), tensor(0, 64, 2, 8, 8) * size
    y, log_det = norm.forward_and_log_det(x)
    assert isinstance(y, Tensor)
    assert torch.allclose(y.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(y.std(dim=(0, 2, 3)), torch.ones(2), rtol=1e-3)
    assert torch.allclose(log_det, torch.tensor(-128 * math.log(size)), rtol=1e-2, atol=1)
    assert (norm.inverse(y) - x).abs().max() <= 1e-6 * x.abs().max()  # type: ignore[operator]
