"""DnCNN: its number of parameters, and normalisations that are merged into the convolutions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.dncnn import DnCNN
from torch import Tensor, nn
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)

SIZES = {  # by channels and layers; with normalisations and merged
    (1, 17): (557_057, 555_137),
    (3, 17): (559_363, 557_443),
    (1, 20): (668_225, 665_921),
    (3, 20): (670_531, 668_227),
}


def random_dncnn(channels: int, layers: int, seed: int) -> DnCNN:
    """A network with random weights and random batch statistics, in eval mode."""
    net = randomise_(DnCNN(channels, layers), seed)
    generator = torch.Generator().manual_seed(seed)
    for norm in net.norms:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.3, 3.0, generator=generator)
    return net.double().eval()


def written_out(net: DnCNN, x: Tensor) -> Tensor:
    """Computes the merged form from its weights by its equation."""
    weights, h = list(net.state_dict().values()), x
    for number in range(0, len(weights), 2):
        h = F.conv2d(h.clamp(min=0) if number else h, weights[number], weights[number + 1], padding=1)
    return x - h


@pytest.mark.parametrize(("channels", "layers"), SIZES)
def test_it_is_of_the_published_size(channels: int, layers: int) -> None:
    with torch.device("meta"):
        net, plain = DnCNN(channels, layers), DnCNN(channels, layers, batch_norm=False)
        assert (num_parameters(net), num_parameters(plain)) == SIZES[channels, layers]
        assert num_parameters(net.merged()) == num_parameters(plain)


@settings(deadline=None, max_examples=5)
@given(
    seed=st.integers(0, 2**31),
    channels=st.sampled_from([1, 3]),
    layers=st.integers(2, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_it_is_merged_without_a_change(seed: int, channels: int, layers: int, height: int, width: int) -> None:
    """Merging the normalisations changes neither the output nor the network itself."""
    net, x = random_dncnn(channels, layers, seed), image(2, channels, height, width, seed=seed)
    merged, before = net.merged(), {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.testing.assert_close(merged(x), net(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(merged(x), written_out(merged, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(merged.merged()(x), merged(x), rtol=0, atol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_one_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="DnCNN needs at least two layers, got 1"):
        DnCNN(layers=1)
