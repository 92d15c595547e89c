"""Networks of integers: the same numbers in every way to evaluate them, within the bound of their sums."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from liftlayers import (
    IntegerConv2d,
    IntegerPredictor,
    LiftingBlock,
    LiftingPyramid,
    LosslessWavelet,
    Sequential,
    frozen,
)
from liftlayers.memory.container import Memory
from liftlayers.testing import assert_same_gradients, assert_same_integers, randomise_
from tests.nn.integers import FIXED_SHA256, fixed_network, networks, numbers, sha256
from tests.strategies import part_of_the_examples, seeds, tensor

Network = IntegerConv2d | IntegerPredictor


@part_of_the_examples(2, least=25)
@given(drawn=networks())
def test_all_paths_return_the_same_numbers(drawn: tuple[Network, Tensor]) -> None:
    assert_same_integers(*drawn)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["compiled", "onnxruntime"])
def test_compilers_return_the_same_numbers(path: str) -> None:
    network = randomise_(IntegerPredictor(3, 9, num_hidden=2))
    assert_same_integers(network, numbers(0, 2, 3, 24, 20, dtype=torch.int16), paths=[path])


@given(drawn=networks(), rows=st.integers(1, 8))
def test_tiles_that_overlap_by_the_reach_give_the_whole(drawn: tuple[Network, Tensor], rows: int) -> None:
    network, x = drawn
    layers = [layer for layer in network.modules() if isinstance(layer, IntegerConv2d)]
    reach = sum(layer.weight.shape[-1] // 2 for layer in layers)
    whole, cut = network(x), min(rows, x.shape[2] - 1)
    start = max(0, cut - reach)
    assert torch.equal(network(x[:, :, : cut + reach + 1])[:, :, :cut], whole[:, :, :cut])
    assert torch.equal(network(x[:, :, start:])[:, :, cut - start :], whole[:, :, cut:])


@given(drawn=networks())
def test_the_bound_is_kept_and_weights_have_seven_bits(drawn: tuple[Network, Tensor]) -> None:
    network, _ = drawn
    assert int(network.bounds().max()) <= 2**22
    weights = [numbers for name, numbers in network.frozen().state_dict().items() if name.endswith("weight")]
    assert weights
    assert all(numbers.dtype == torch.int8 and int(numbers.abs().amax()) <= 127 for numbers in weights)


@pytest.mark.parametrize("zero_mean", [False, True])
@pytest.mark.parametrize("value", [0.3, 0.51, 0.75, 1.1])
def test_the_bound_is_kept_by_many_small_weights(value: float, zero_mean: bool) -> None:
    """A smaller scale can round all of them up: 0.75 becomes 1."""
    conv = IntegerConv2d(1024, 2, zero_mean=zero_mean)
    with torch.no_grad():
        conv.weight.fill_(value)[:, :, 0] *= -1
        conv.bias.zero_()
    network = frozen(conv)
    assert 0 < int(network.bounds().max()) <= 2**22
    network.load_state_dict(network.state_dict())
    assert torch.equal(torch.func.vmap(lambda x: conv(x[None]).squeeze(0))(x := torch.ones(1, 1024, 2, 2)), network(x))


def test_weights_use_their_bits() -> None:
    weights = randomise_(IntegerConv2d(4, 8)).frozen().get_buffer("weight")
    assert (weights.abs().amax((1, 2, 3)) >= 64).all()


@given(seed=seeds(), signed=st.booleans())
def test_the_equation(seed: int, signed: bool) -> None:
    """Computed by numpy, in int64, from the frozen numbers."""
    conv = frozen(randomise_(IntegerConv2d(2, 3, in_bits=1, out_bits=2, signed=signed), seed))
    x = numbers(seed, 1, 2, 5, 6)
    weight, bias, shift = (conv.get_buffer(name).numpy().astype(np.int64) for name in ("weight", "bias", "shift"))
    codes = np.pad(x[0].numpy().astype(np.int64).clip(-255 if signed else 0, 255), ((0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(codes, (3, 3), axis=(1, 2))
    sums = np.einsum("ihwkl,oikl->ohw", windows, weight) + bias[:, None, None]
    assert torch.equal(conv(x)[0].long(), torch.from_numpy(sums >> shift[:, None, None]))


def test_frozen_and_trained_numbers_are_as_documented() -> None:
    conv = IntegerConv2d(1, 1, 1, in_bits=2, out_bits=1)
    with torch.no_grad():
        conv.weight.fill_(0.75)  # 96 * 2^-7
        conv.bias.fill_(0.3)  # 153.6 * 2^-9
    numbers = {name: int(value) for name, value in frozen(conv).state_dict().items()}
    assert numbers == {"weight": 96, "bias": 154 + 128, "shift": 8}  # the half of 2^8 is part of the bias
    assert conv(torch.tensor([[[[2.0]]]])).item() == 1  # (0.75 * 0.5 + 0.3) * 2 = 1.35


def test_a_mean_of_zero_hides_constants() -> None:
    conv = randomise_(IntegerConv2d(1, 4, zero_mean=True))
    inside = conv(torch.full((1, 1, 5, 5), 200.0))[..., 1:-1, 1:-1]
    expected = conv(torch.zeros(1, 1, 5, 5))[..., 1:-1, 1:-1]
    assert (inside - expected).abs().max() <= 8  # the weights of a kernel sum to at most 4 of 127


def test_gradients_pass_through_the_roundings() -> None:
    conv, plain = IntegerConv2d(2, 3), nn.Conv2d(2, 3, 3, padding=1)
    state = {name: (64 * numbers).round() / 64 for name, numbers in randomise_(conv).state_dict().items()}
    state["bias"] = state["bias"].round()  # now nothing needs to be rounded
    conv.load_state_dict(state)
    plain.load_state_dict(state)
    assert_same_gradients(plain, conv, (50 * tensor(0, 1, 2, 5, 5)).round())


def test_integer_and_float_inputs_agree() -> None:
    network, x = randomise_(IntegerPredictor(2, 3)), numbers(0, 1, 2, 6, 5)
    assert network(x).dtype == torch.int32
    for dtype in (torch.float32, torch.float64):
        assert network(x.to(dtype)).dtype == dtype
        assert torch.equal(network(x.to(dtype)), network(x).to(dtype))
    on_grid = randomise_(IntegerPredictor(2, 3, bits=8))(tensor(0, 1, 2, 6, 5))
    assert torch.equal(on_grid * 256, (on_grid * 256).round())
    assert on_grid.abs().max() > 0


def test_a_fixed_network_returns_known_numbers() -> None:
    network, x = fixed_network()
    assert sha256(network(x)) == FIXED_SHA256


class Changed(TorchFunctionMode):
    """Convolutions with errors like those of Winograd's transform."""

    def __torch_function__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        result = func(*args, **(kwargs or {}))  # type: ignore[operator]
        return result + 1e-3 * torch.rand_like(result) if func is torch.conv2d else result


def test_a_kernel_that_does_more_than_multiply_and_add_is_caught() -> None:
    with Changed(), pytest.raises(RuntimeError, match="IntegerConv2d needs sums that are integers"):
        randomise_(IntegerConv2d(1, 2))(numbers(0, 1, 1, 8, 8))


# Freezing


def test_copies_share_what_the_network_shares() -> None:
    conv = randomise_(IntegerConv2d(2, 2))
    copied = frozen(nn.Sequential(conv, nn.Sequential(conv)))
    assert copied.get_submodule("0") is copied.get_submodule("1.0")
    assert isinstance(conv.weight, nn.Parameter)


class Doubled(IntegerConv2d):
    """A layer whose frozen form would return other numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_layers_that_do_more_than_convolve_are_not_frozen() -> None:
    message = "frozen needs an IntegerConv2d with its own forward and without hooks, got"
    with pytest.raises(TypeError, match=f"{message} Doubled with another forward"):
        frozen(nn.Sequential(Doubled(1, 1)))
    for register in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        conv = IntegerConv2d(1, 1)
        handle = register(conv, lambda *_: None)
        with pytest.raises(TypeError, match=f"{message} IntegerConv2d with forward hooks"):
            conv.frozen()
        handle.remove()
        conv.frozen()


def test_layers_with_another_parametrization_are_frozen() -> None:
    conv, x = randomise_(IntegerConv2d(2, 3)), numbers(0, 1, 2, 5, 5)
    before = conv(x)
    nn.utils.parametrize.register_parametrization(conv, "weight", nn.Tanh())
    assert torch.equal(frozen(conv)(x), conv(x))
    assert not torch.equal(conv(x), before)


def test_frozen_networks_load_what_they_saved() -> None:
    block = LiftingBlock(IntegerPredictor(1, 3), IntegerPredictor(3, 1))
    other, bands = frozen(block), (numbers(0, 1, 1, 4, 4), numbers(1, 1, 3, 4, 4))
    trained = randomise_(block)
    other.load_state_dict(frozen(trained).state_dict())
    assert all(torch.equal(x, y) for x, y in zip(other(*bands), trained(*bands), strict=True))


def test_sums_beyond_the_bound_are_refused() -> None:
    conv = IntegerConv2d(40, 2).frozen()
    state = conv.state_dict()
    state["weight"] = torch.stack([torch.full((40, 3, 3), value, dtype=torch.int8) for value in (1, 50)])
    state["bias"] = torch.zeros(2, dtype=torch.int32)
    message = f"a frozen IntegerConv2d needs bounds of at most 4194304, got {255 * 360 * 50} in channel 1 of it"
    before = conv.bounds()
    with pytest.raises(ValueError, match=message):
        conv.load_state_dict(state)
    assert torch.equal(conv.bounds(), before)  # nothing was loaded
    with pytest.raises(ValueError, match=r"got 4590000 in channel 1 of 0$"):
        nn.Sequential(conv).load_state_dict({f"0.{name}": value for name, value in state.items()})


def test_other_dtypes_are_not_cast_when_loaded() -> None:
    conv = IntegerConv2d(1, 1).frozen()
    state = {name: value.float() for name, value in conv.state_dict().items()}
    with pytest.raises(ValueError, match=r"needs weight in torch.int8, got torch.float32"):
        conv.load_state_dict(state)


# In chains


@pytest.mark.parametrize(("dtype", "side"), [(torch.uint8, 16), (torch.int16, 256)])
def test_a_learned_pyramid_returns_all_values(dtype: torch.dtype, side: int) -> None:
    levels = (
        Sequential(LosslessWavelet(), LiftingBlock(IntegerPredictor(1, 3), IntegerPredictor(3, 1))) for _ in range(3)
    )
    pyramid = randomise_(LiftingPyramid(list(levels)))
    limits = torch.iinfo(dtype)
    values = torch.arange(limits.min, limits.max + 1)[torch.randperm(side**2)].view(1, 1, side, side).to(dtype)
    assert len(values.unique()) == 2**limits.bits
    bands = pyramid(values)
    assert all(band.dtype == dtype for band in bands)
    assert torch.equal(pyramid.inverse(*bands), values)
    assert not torch.equal(bands[-1], LosslessWavelet()(values)[1])  # the networks do something


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
def test_training_in_floats_has_the_bits_of_the_integers(memory: Memory) -> None:
    level = Sequential(LosslessWavelet(), LiftingBlock(IntegerPredictor(1, 3), IntegerPredictor(3, 1)), memory=memory)
    pyramid, x = (
        randomise_(LiftingPyramid([level, LosslessWavelet("haar")])),
        numbers(0, 2, 1, 8, 12, dtype=torch.uint8),
    )
    bands = pyramid(x.float().requires_grad_())
    assert all(torch.equal(a.float(), b) for a, b in zip(pyramid(x.to(torch.int16)), bands, strict=True))
    total = torch.stack([band.square().sum() for band in bands]).sum()
    gradients = torch.autograd.grad(total, list(pyramid.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


# Refusals


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint16, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("network", [IntegerConv2d(1, 1), IntegerPredictor(1, 1)], ids=["conv", "predictor"])
def test_other_dtypes_are_refused(network: nn.Module, dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=rf"Integer\w+ needs uint8, .* int64, float32 or float64, got {dtype}$"):
        network(torch.zeros(1, 1, 4, 4).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_in_half_precision_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"IntegerConv2d needs weights in float32 or float64, got {dtype}"):
        IntegerConv2d(1, 1).to(dtype)(torch.zeros(1, 1, 4, 4))


def test_numbers_that_are_not_whole_are_refused() -> None:
    with pytest.raises(RuntimeError, match="needs sums that are integers: its input or bias is not"):
        randomise_(IntegerConv2d(1, 1))(torch.full((1, 1, 4, 4), 0.3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_biases_that_are_not_finite_are_refused(value: float) -> None:
    conv = IntegerConv2d(1, 1)
    conv.bias.data.fill_(value)
    with pytest.raises(RuntimeError, match="needs sums that are integers: its input or bias is not"):
        conv(torch.ones(1, 1, 4, 4))


def test_integers_off_the_grid_are_refused() -> None:
    with pytest.raises(TypeError, match=r"IntegerPredictor with bits=8 needs floats on that grid, got torch.int16"):
        IntegerPredictor(1, 1, bits=8)(numbers(0, 1, 1, 4, 4))


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for network in (IntegerConv2d(2, 1), IntegerPredictor(2, 1)):
        with pytest.raises(ValueError, match=rf"needs a \(B, 2, H, W\) tensor, got {re.escape(str(shape))}"):
            network(torch.zeros(shape))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="IntegerConv2d needs an odd kernel_size, got 2"):
        IntegerConv2d(1, 1, 2)
    with pytest.raises(ValueError, match="IntegerConv2d needs out_channels of at least 1, got 0"):
        IntegerConv2d(1, 0)
    with pytest.raises(TypeError, match="IntegerConv2d needs a whole number as in_bits, got 0"):
        IntegerConv2d(1, 1, in_bits=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="IntegerConv2d needs out_bits from -52 to 52, got -53"):
        IntegerConv2d(1, 1, out_bits=-53)
    with pytest.raises(TypeError, match=r"IntegerPredictor needs a whole number as input_bits, got 1\.5"):
        IntegerPredictor(1, 1, input_bits=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="IntegerPredictor needs input_bits from -52 to 52, got 200"):
        IntegerPredictor(1, 1, input_bits=200)
    with pytest.raises(ValueError, match="IntegerPredictor needs hidden_bits from -52 to 52, got 53"):
        IntegerPredictor(1, 1, input_bits=50)
    with pytest.raises(ValueError, match="IntegerPredictor needs 0 to 52 bits, got 53"):
        IntegerPredictor(1, 1, bits=53)
    with pytest.raises(ValueError, match="IntegerPredictor needs hidden_channels of at least 1, got 0"):
        IntegerPredictor(1, 1, hidden_channels=0)


def test_shapes_can_be_computed_without_values() -> None:
    with torch.device("meta"):
        network, x = IntegerPredictor(1, 3), torch.rand(1, 1, 4, 4)
    assert network(x).shape == (1, 3, 4, 4)
