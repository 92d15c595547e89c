"""The networks inside Predict and Update: parameter counts, their equations, a zero start, any size."""

import itertools
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import ConvPredictor, ResidualPredictor
from liftlayers.testing import randomise_
from tests.strategies import seeds, tensor


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "expected"), [(12, 12, 21_504), (3, 9, 18_048), (9, 3, 18_048)]
)
@pytest.mark.parametrize("dilation", [1, 2])
def test_residual_predictor_has_pirnets_size(in_channels: int, out_channels: int, expected: int, dilation: int) -> None:
    with torch.device("meta"):
        assert num_parameters(ResidualPredictor(in_channels, out_channels, dilation=dilation)) == expected


@given(widths=st.tuples(*[st.integers(1, 20)] * 3), num_hidden=st.integers(1, 3))
def test_conv_predictor_has_the_size_of_its_convolutions(widths: tuple[int, int, int], num_hidden: int) -> None:
    before, hidden, after = widths
    with torch.device("meta"):
        network = ConvPredictor(before, after, hidden_channels=hidden, num_hidden=num_hidden)
    sides = [before, *[hidden] * num_hidden, after]
    expected = sum(9 * a * b + b for a, b in itertools.pairwise(sides))
    assert num_parameters(network) == expected


predictors = pytest.mark.parametrize(
    "make",
    [ConvPredictor, partial(ConvPredictor, num_hidden=2), ResidualPredictor, partial(ResidualPredictor, dilation=2)],
    ids=["conv", "conv, two hidden", "residual", "residual, dilated"],
)


@predictors
def test_starts_at_zero_but_learns(make: Callable[..., nn.Module]) -> None:
    network, x = make(3, 9), tensor(0, 2, 3, 6, 5)
    y = network(x)
    assert torch.equal(y, torch.zeros(2, 9, 6, 5))
    # the last layer moves first, then the others
    (gradient,) = torch.autograd.grad(y.sum(), [network.get_parameter("last.weight")])
    assert gradient.abs().max() > 0
    assert randomise_(network)(x).abs().max() > 0


@predictors
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=seeds())
def test_keeps_any_size(make: Callable[..., nn.Module], size: tuple[int, int], seed: int) -> None:
    assert randomise_(make(2, 5), seed)(tensor(seed, 1, 2, *size)).shape == (1, 5, *size)


@predictors
@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8), (8, 8), (1, 3, 8, 8, 8)])
def test_other_shapes_are_refused(make: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    numbers = re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"(Conv|Residual)Predictor needs a \(B, 3, H, W\) tensor, got {numbers}$"):
        make(3, 9)(torch.zeros(shape))


@predictors
def test_integers_are_refused(make: Callable[..., nn.Module]) -> None:
    with pytest.raises(TypeError, match=r"Predictor needs floating-point tensors, got torch\.uint8; call \.float\(\)"):
        make(3, 9)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("number", [0, -9])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        *((ConvPredictor, name) for name in ("hidden_channels", "num_hidden")),
        *((ResidualPredictor, name) for name in ("hidden_channels", "dilation")),
    ],
)
def test_numbers_below_one_are_refused(make: Callable[..., nn.Module], name: str, number: int) -> None:
    who = make.__name__
    with pytest.raises(ValueError, match=f"^{who} needs {name} of at least 1, got {number}$"):
        make(3, 9, **{name: number})
    with pytest.raises(ValueError, match=f"^{who} needs in_channels of at least 1, got {number}$"):
        make(number, 9)
    with pytest.raises(ValueError, match=f"^{who} needs out_channels of at least 1, got {number}$"):
        make(3, number)


def test_a_negative_number_of_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="ResidualPredictor needs num_blocks of at least 0, got -1"):
        ResidualPredictor(3, 9, num_blocks=-1)


@pytest.mark.parametrize("kernel_size", [-1, 0, 2, 4])
def test_even_kernels_are_refused(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=f"ResidualPredictor needs an odd, positive kernel_size, got {kernel_size}$"):
        ResidualPredictor(3, 9, kernel_size=kernel_size)


def test_kernels_of_a_fraction_are_refused() -> None:
    with pytest.raises(TypeError, match=r"ResidualPredictor needs a whole number as kernel_size, got 3\.0"):
        ResidualPredictor(3, 9, kernel_size=3.0)  # type: ignore[arg-type]
    ResidualPredictor(3, 9, kernel_size=np.int64(3))  # type: ignore[arg-type]


def test_conv_predictor_equation() -> None:
    network, x = randomise_(ConvPredictor(2, 4, hidden_channels=3, num_hidden=2)), tensor(0, 1, 2, 5, 6)
    weights = dict(network.named_parameters())
    h = x
    for layer in ("hidden.0", "hidden.2"):
        h = F.conv2d(h, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=1)
        h = torch.maximum(h, 0.1 * h)
    expected = F.conv2d(h, weights["last.weight"], weights["last.bias"], padding=1)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("dilation", [1, 2])
def test_residual_predictor_equation(dilation: int) -> None:
    network, x = randomise_(ResidualPredictor(2, 4, num_blocks=2, dilation=dilation)), tensor(0, 1, 2, 9, 8)
    weights = dict(network.named_parameters())

    def separable(h: Tensor, name: str) -> Tensor:
        depthwise, pointwise = weights[f"{name}.0.weight"], weights[f"{name}.1.weight"]
        return F.conv2d(
            F.conv2d(h, depthwise, padding=2 * dilation, dilation=dilation, groups=len(depthwise)), pointwise
        )

    h = F.conv2d(x, weights["first.weight"], padding=1)
    for block in ("blocks.0", "blocks.1"):
        inner = F.leaky_relu(separable(h, f"{block}.separable1"), 0.01)
        h = F.leaky_relu(h + separable(inner, f"{block}.separable2"), 0.01)
    torch.testing.assert_close(network(x), F.conv2d(h, weights["last.weight"], padding=1))
    assert all(parameter.ndim == 4 for parameter in network.parameters())  # no bias anywhere


def test_residual_predictor_sees_as_far_as_its_kernels_reach() -> None:
    """3 + 8 x 4 + 2 = 37 pixels across, as in the paper; the depthwise kernels reach twice as far when dilated."""
    for dilation, reach in ((1, 37), (2, 69)):
        network = randomise_(ResidualPredictor(1, 1, dilation=dilation).double())
        x = torch.zeros(1, 1, 81, 81, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x + tensor(0, 1, 1, 81, 81).double())[..., 40, 40].sum(), x)
        rows = gradient[0, 0].abs().sum(dim=1).nonzero()
        assert int(rows.max() - rows.min()) + 1 == reach


def test_residual_predictor_starts_by_kaiming_fan_out() -> None:
    network = ResidualPredictor(12, 12)
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv is not network.last:
            fan_out = conv.out_channels * conv.kernel_size[0] ** 2  # PyTorch's, which ignores groups
            bound = (6 / fan_out) ** 0.5
            assert 0.9 * bound <= float(conv.weight.detach().abs().max()) <= bound
