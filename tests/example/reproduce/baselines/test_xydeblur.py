"""XYDeblur: its number of parameters, a second implementation of its equation, and its two corrections."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.xydeblur import XYDeblur
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)

Weights = dict[str, Tensor]


def random_xydeblur(seed: int = 0) -> XYDeblur:
    return randomise_(XYDeblur(width=4), seed).double()


def convolve(weights: Weights, name: str, x: Tensor, *, stride: int = 1, padding: int = 1) -> Tensor:
    return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding)


def six_blocks(weights: Weights, name: str, x: Tensor) -> Tensor:
    for block in range(6):
        x = x + convolve(weights, f"{name}.{block}.2", convolve(weights, f"{name}.{block}.0", x).relu())
    return x


def encoded(weights: Weights, x: Tensor) -> list[Tensor]:
    features = []
    for name, stride in (("fine", 1), ("middle", 2), ("coarse", 2)):
        x = convolve(weights, f"encoder.{name}.0", x, stride=stride).relu()
        x = six_blocks(weights, f"encoder.{name}.2", x)
        features.append(x)
    return features


def decoded(weights: Weights, features: list[Tensor]) -> Tensor:
    fine, middle, x = features
    for name, finer, skip in (("coarse", "middle", middle), ("middle", "fine", fine)):
        weight, bias = (weights[f"decoder.{name}.1.{kind}"] for kind in ("weight", "bias"))
        x = F.conv_transpose2d(six_blocks(weights, f"decoder.{name}.0", x), weight, bias, stride=2, padding=1).relu()
        x = convolve(weights, f"decoder.merge_{finer}.0", torch.cat([x, skip], dim=1), padding=0).relu()
    return convolve(weights, "decoder.last", six_blocks(weights, "decoder.fine", x))


def test_it_is_of_the_published_size() -> None:
    with torch.device("meta"):
        assert num_parameters(XYDeblur()) == 4_918_627


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_its_second_pass_differs_by_a_turn_alone(seed: int, rows: int, columns: int) -> None:
    """The second correction is the first one's decoder on turned features, turned back."""
    net, x = random_xydeblur(seed), image(2, 3, 4 * rows, 4 * columns, seed=seed)
    weights = net.state_dict()
    features = encoded(weights, x)
    first = decoded(weights, features)
    second = decoded(weights, [torch.rot90(feature, 1, dims=(2, 3)) for feature in features])
    assert second.shape == (2, 3, 4 * columns, 4 * rows)
    torch.testing.assert_close(net(x), x + first + torch.rot90(second, 3, dims=(2, 3)), rtol=1e-12, atol=1e-12)
    assert (net(x) - x).abs().mean() > 0.001  # so that the identity does not pass


def test_kernels_without_direction_correct_twice_the_same() -> None:
    """If every kernel of the decoder is the same after a quarter turn, the two corrections are equal."""
    net, x = random_xydeblur(), image(1, 3, 8, 12)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.ndim == 4 and not name.startswith("encoder"):
                turns = [torch.rot90(parameter, turn, dims=(2, 3)) for turn in range(4)]
                parameter.copy_(torch.stack(turns).mean(dim=0))
    torch.testing.assert_close(net(x) - x, 2 * net.decoder(net.encoder(x)), rtol=1e-11, atol=1e-11)
