"""CBDNet: its number of parameters and its equation."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.cbdnet import CBDNet
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)


def written_out(net: CBDNet, x: Tensor) -> Tensor:
    """Computes the network from its weights by its equation."""
    weights = net.state_dict()

    def convs(name: str, x: Tensor, count: int) -> Tensor:
        for number in range(0, 2 * count, 2):
            kernel, bias = weights[f"{name}.{number}.weight"], weights[f"{name}.{number}.bias"]
            x = F.conv2d(x, kernel, bias, padding=1).clamp(min=0)
        return x

    def up(number: int, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, weights[f"ups.{number}.weight"], weights[f"ups.{number}.bias"], stride=2)

    def half(x: Tensor) -> Tensor:
        return x.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1))

    fine = convs("encoder.0", torch.cat([x, convs("estimator", x, 5)], dim=1), 2)
    middle = convs("encoder.1", half(fine), 3)
    coarse = convs("bottom", half(middle), 6)
    y = convs("decoder.0", up(0, coarse) + middle, 3)
    y = convs("decoder.1", up(1, y) + fine, 2)
    return x + F.conv2d(y, weights["out.weight"], weights["out.bias"])


def test_it_is_of_the_published_size() -> None:
    with torch.device("meta"):
        net = CBDNet()
    assert (num_parameters(net), num_parameters(net.estimator)) == (4_365_382, 29_507)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_it_is_what_its_equation_says(seed: int, rows: int, columns: int) -> None:
    """The output equals the equation, and the noise map has the shape of the image and no negative value."""
    net, x = randomise_(CBDNet(), seed).double(), image(2, 3, 4 * rows, 4 * columns, seed=seed)
    torch.testing.assert_close(net(x), written_out(net, x), rtol=1e-10, atol=1e-12)
    noise = net.noise_map(x)
    assert noise.shape == x.shape
    assert noise.min() >= 0
