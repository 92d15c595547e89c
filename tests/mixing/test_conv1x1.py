"""The invertible 1x1 convolution: a rotation at the start, its factors, autocast, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from liftlayers.mixing.conv1x1 import InvertibleConv1x1
from liftlayers.testing import assert_inverts, randomise_
from tests.strategies import build, seeds, tensor

sides = st.lists(st.integers(1, 4), max_size=3).map(tuple)  # of vectors, lines, images, volumes


@given(seed=seeds(), channels=st.integers(1, 24))
def test_starts_as_a_rotation(seed: int, channels: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weight = InvertibleConv1x1(channels).weight.detach().double()
    torch.testing.assert_close(weight @ weight.T, torch.eye(channels).double(), rtol=0, atol=1e-5)
    assert torch.linalg.det(weight) > 0
    x = tensor(seed, 1, channels, 3, 3)
    step = InvertibleConv1x1(channels)
    torch.testing.assert_close(step(x).norm(), x.norm())
    assert step.forward_and_log_det(x)[1].abs().max() < 1e-4


def test_starts_as_another_rotation_each_time() -> None:
    assert not torch.equal(InvertibleConv1x1(4).weight, InvertibleConv1x1(4).weight)


@given(seed=seeds(), channels=st.integers(1, 5))
def test_is_a_convolution_with_its_weight(seed: int, channels: int) -> None:
    step = build(lambda: InvertibleConv1x1(channels), seed, torch.float64)
    assert isinstance(step, InvertibleConv1x1)
    x = tensor(seed, 2, channels, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(step(x), F.conv2d(x, step.weight[:, :, None, None]))
    backwards = F.conv2d(x, torch.linalg.inv(step.weight)[:, :, None, None])
    torch.testing.assert_close(step.inverse(x), backwards)


@given(seed=seeds(), channels=st.integers(1, 5))
def test_vectors_are_multiplied_by_the_matrix(seed: int, channels: int) -> None:
    step, x = randomise_(InvertibleConv1x1(channels), seed), tensor(seed, 4, channels)
    torch.testing.assert_close(step(x), x @ step.weight.T)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 87), (torch.float64, 708)])
def test_scales_in_the_range_of_floats_have_an_inverse(dtype: torch.dtype, largest: float) -> None:
    mix, x = InvertibleConv1x1(2).to(dtype), 1 + tensor(0, 4, 2, dtype=dtype).sigmoid()
    for value in (-largest, largest, -1.5 * largest):
        with torch.no_grad():
            mix.upper.zero_()
            mix.lower.zero_()
            mix.log_scale.fill_(value)
            assert torch.allclose(mix.inverse(mix(x)), x) == (abs(value) <= largest)


def test_permutation_and_signs_are_saved_and_not_learned() -> None:
    step = InvertibleConv1x1(4)
    assert {name for name, _ in step.named_parameters()} == {"lower", "upper", "log_scale"}
    assert set(step.state_dict()) == {"lower", "upper", "log_scale", "permutation", "sign"}


def test_the_unused_halves_of_its_factors_have_no_effect() -> None:
    step, x = InvertibleConv1x1(4), tensor(0, 1, 4, 2, 2)
    before = step(x)
    with torch.no_grad():
        step.lower.add_(torch.ones(4, 4).triu())
        step.upper.add_(torch.ones(4, 4).tril())
    assert torch.equal(step(x), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_both_directions_leave_autocast(dtype: torch.dtype) -> None:
    step, x = randomise_(InvertibleConv1x1(4)), tensor(0, 1, 4, 3, 3)
    with torch.autocast("cpu", dtype=dtype):
        inside, weight = step(x), step.weight
        torch.testing.assert_close(step.inverse(inside), x)
    assert torch.equal(inside, step(x))
    assert torch.equal(weight, step.weight)


def test_log_dets_may_be_added_to_in_place() -> None:
    for direction in (InvertibleConv1x1(3).forward_and_log_det, InvertibleConv1x1(3).inverse_and_log_det):
        _, log_det = direction(tensor(0, 2, 3, 2, 2))
        expected = log_det + 1
        log_det += 1
        assert torch.equal(log_det, expected)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0, 4)], ids=str)
def test_empty_tensors_keep_their_shape(shape: tuple[int, ...]) -> None:
    step, x = InvertibleConv1x1(3), torch.zeros(shape)
    assert step(x).shape == step.inverse(x).shape == shape


def test_shapes_are_known_without_data() -> None:
    with torch.device("meta"):
        step = InvertibleConv1x1(4)
        assert step.inverse(step(torch.zeros(2, 4, 3, 5))).shape == (2, 4, 3, 5)


# What it refuses


def test_no_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="InvertibleConv1x1 needs channels of at least 1, got 0"):
        InvertibleConv1x1(0)


def test_the_wrong_tensor_is_refused() -> None:
    step = InvertibleConv1x1(3)
    for direction in (step, step.inverse, step.forward_and_log_det, step.inverse_and_log_det):
        with pytest.raises(ValueError, match=r"InvertibleConv1x1 needs a \(B, 3, \.\.\.\) tensor, got \(1, 4, 2, 2\)"):
            direction(torch.zeros(1, 4, 2, 2))
        with pytest.raises(TypeError, match=r"parameters' torch\.float32, got torch\.float64"):
            direction(torch.zeros(1, 3, 2, 2, dtype=torch.float64))
        with pytest.raises(ValueError, match="needs a tensor on its parameters' device, cpu, got meta"):
            direction(torch.zeros(1, 3, 2, 2, device="meta"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_of_16_bits_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"InvertibleConv1x1 needs float32 or float64 parameters, got {dtype}"):
        InvertibleConv1x1(3).to(dtype)(torch.zeros(1, 3, 2, 2, dtype=dtype))


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.9999, 0.99999])
def test_averages_of_models_keep_the_permutation(decay: float) -> None:
    step, x = InvertibleConv1x1(24), tensor(0, 2, 24, 3, 3)
    average = AveragedModel(step, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for _ in range(4):
        average.update_parameters(step)
    assert torch.equal(average(x), step(x))
    assert_inverts(average.module, x)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_permutation_of_many_channels_survives_16_bits(dtype: torch.dtype) -> None:
    step = InvertibleConv1x1(300)
    before = step.permutation.clone()
    assert torch.equal(step.to(dtype).float().permutation, before)
