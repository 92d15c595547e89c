"""RLFN: its numbers of parameters, a second implementation of its equations, and the least size of its images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.rlfn import RLFN
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)

SIZES = {  # by scale and channels; 52 is RLFN, 48 is RLFN-S
    (4, 52): 543_740,
    (2, 52): 526_856,
    (1, 52): 522_635,
    (4, 48): 470_208,
    (2, 48): 454_620,
    (1, 48): 450_723,
}


def written_out(net: RLFN, x: Tensor) -> Tensor:
    """Computes the network from its weights by its equations."""
    weights = net.state_dict()

    def conv(name: str, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding)

    h = shallow = conv("head", 255 * x, padding=1)
    for number in range(6):
        block, y = f"body.{number}", h
        for layer in range(3):
            y = conv(f"{block}.convs.{layer}", y, padding=1)
            y = y.maximum(0.05 * y)
        y = conv(f"{block}.mix", y + h)
        few = conv(f"{block}.attention.squeeze", y)
        windows = conv(f"{block}.attention.halve", few, stride=2).unfold(2, 7, 3).unfold(3, 7, 3)
        coarse = conv(f"{block}.attention.around", windows.amax(dim=(-2, -1)), padding=1)
        gate = F.interpolate(coarse, y.shape[-2:], mode="bilinear") + conv(f"{block}.attention.here", few)
        h = y / (1 + (-conv(f"{block}.attention.excite", gate)).exp())
    out = conv("tail", shallow + conv("body.6", h, padding=1), padding=1) / 255  # (B, 3 s s, H, W)
    batch, _, height, width = out.shape
    s = net.scale
    out = out.view(batch, 3, s, s, height, width).permute(0, 1, 4, 2, 5, 3).reshape(batch, 3, s * height, s * width)
    return out + x if s == 1 else out


@pytest.mark.parametrize(("scale", "channels"), SIZES)
def test_it_is_of_the_published_size(scale: int, channels: int) -> None:
    with torch.device("meta"):
        assert num_parameters(RLFN(scale, channels)) == SIZES[scale, channels]


@settings(deadline=None, max_examples=5)
@given(
    seed=st.integers(0, 2**31), scale=st.sampled_from([1, 2, 4]), height=st.integers(15, 26), width=st.integers(15, 26)
)
def test_it_is_what_its_equations_say(seed: int, scale: int, height: int, width: int) -> None:
    """The output has the enlarged size and equals the equations."""
    net, x = randomise_(RLFN(scale, channels=8), seed).double(), image(2, 3, height, width, seed=seed)
    y = net(x)
    assert y.shape == (2, 3, scale * height, scale * width)
    torch.testing.assert_close(y, written_out(net, x), rtol=1e-10, atol=1e-12)
