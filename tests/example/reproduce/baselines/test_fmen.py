"""FMEN: its number of parameters, and that its two forms are the same function, at the border too."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.fmen import FMEN
from torch import Tensor, nn
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)

SIZES = {4: (1_045_866, 341_066), 2: (1_029_630, 324_830), 1: (1_025_571, 320_771)}  # trained and deployed


def random_fmen(scale: int, seed: int = 0) -> FMEN:
    """A network with random weights and random batch statistics, in eval mode."""
    net = randomise_(FMEN(scale), seed)
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.3, 3.0, generator=generator)
    return net.double().eval()


def written_out(net: FMEN, x: Tensor) -> Tensor:
    """Computes the deployed form from its weights by its equations."""
    weights = net.state_dict()

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def leaky(x: Tensor) -> Tensor:
        return x.maximum(0.1 * x)

    def block(name: str, x: Tensor) -> Tensor:
        return conv(f"{name}.second", leaky(conv(f"{name}.first", x)))

    def attention(name: str, x: Tensor, *, count: int) -> Tensor:
        gate = leaky(conv(f"{name}.squeeze", x))
        for number in range(count):
            gate = block(f"{name}.blocks.{number}", gate)
        return x / (1 + (-conv(f"{name}.excite", leaky(gate))).exp())

    shallow = conv("head", 255 * x)
    h = attention("body.1", conv("body.0", shallow), count=2)
    for number in (2, 4, 6, 8):
        h = attention(f"body.{number + 1}", block(f"body.{number}", h), count=1)
    return F.pixel_shuffle(conv("tail", shallow + conv("body.10", h)), net.scale) / 255 + (x if net.scale == 1 else 0)


@pytest.mark.parametrize("scale", SIZES)
def test_it_is_of_the_published_size(scale: int) -> None:
    with torch.device("meta"):
        net = FMEN(scale)
        assert (num_parameters(net), num_parameters(net.deployed())) == SIZES[scale]


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1, 2]), height=st.integers(1, 9), width=st.integers(1, 9))
def test_it_is_deployed_without_a_change(seed: int, scale: int, height: int, width: int) -> None:
    """The deployed form gives the same output as the form for training, and the output of its equations."""
    net, x = random_fmen(scale, seed), image(2, 3, height, width, seed=seed)
    y = net(x)
    assert y.shape == (2, 3, scale * height, scale * width)
    deployed = net.deployed()
    torch.testing.assert_close(deployed(x), y, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(deployed(x), written_out(deployed, x), rtol=1e-10, atol=1e-10)


def test_each_step_of_deploying_counts() -> None:
    """A change of any statistic, bias or kernel changes the deployed form, so none is left out by chance."""
    net, x = random_fmen(1), image(1, 3, 4, 4)
    del net.body[3:]  # their weights are not changed below
    before, weights = net.deployed()(x), net.state_dict()
    for name, tensor in weights.items():
        if name.startswith(("body.1.squeeze.", "body.1.excite.", "body.2.first.")) and tensor.ndim:
            kept = tensor.clone()
            tensor.mul_(1.5).add_(0.1)
            assert not torch.allclose(net.deployed()(x), before, rtol=1e-7, atol=1e-9), name
            tensor.copy_(kept)
    assert torch.equal(net.deployed()(x), before)


def test_deploying_leaves_the_network_as_it_is() -> None:
    net = FMEN()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.deployed().modules())
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
