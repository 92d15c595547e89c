"""HiNet's predictor: its size, its start, its equation, any image size."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from liftlayers import AdditiveCoupling, Sequential
from liftlayers.couplings.affine import AffineCoupling
from liftlayers.mixing.rearrange import Swap
from liftlayers.nn.dense import DensePredictor
from liftlayers.testing import assert_inverts, randomise_
from tests.strategies import images, seeds, tensor


@pytest.mark.parametrize(("in_channels", "out_channels", "expected"), [(12, 12, 84_380), (3, 9, 69_500)])
def test_has_hinets_size(in_channels: int, out_channels: int, expected: int) -> None:
    with torch.device("meta"):
        network = DensePredictor(in_channels, out_channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@given(x=images(multiple=1, dtype=torch.float64), growth=st.integers(1, 5), seed=seeds())
def test_equation(x: torch.Tensor, growth: int, seed: int) -> None:
    network = randomise_(DensePredictor(x.shape[1], 2, growth=growth), seed).double()
    state = network.state_dict()
    seen = [x]
    for number in range(4):
        weight, bias = state[f"hidden.{number}.weight"], state[f"hidden.{number}.bias"]
        h = F.conv2d(torch.cat(seen, dim=1), weight, bias, padding=1)
        seen.append(torch.maximum(h, 0.01 * h))
    expected = F.conv2d(torch.cat(seen, dim=1), state["last.weight"], state["last.bias"], padding=1)
    torch.testing.assert_close(network(x), expected)


def test_starts_at_zero_with_small_hidden_weights_and_biases() -> None:
    torch.manual_seed(0)
    network = DensePredictor(12, 12)
    assert torch.equal(network(tensor(0, 1, 12, 5, 7)), torch.zeros(1, 12, 5, 7))
    hidden = torch.cat([p.detach().flatten() for p in network.hidden.parameters()])
    biases = torch.cat([p.detach().flatten() for name, p in network.hidden.named_parameters() if name.endswith("bias")])
    assert abs(float(hidden.std()) - 0.01) < 2e-4
    assert abs(float(biases.std()) - 0.01) < 2e-3
    (gradient,) = torch.autograd.grad(network(tensor(0, 1, 12, 5, 7)).sum(), [network.last.weight])
    assert gradient.abs().max() > 0


def test_fits_an_affine_coupling() -> None:
    step = AffineCoupling(DensePredictor(3, 18, growth=8))
    a, b = tensor(0, 2, 3, 6, 5), tensor(1, 2, 9, 6, 5)
    assert torch.equal(step(a, b)[1], b)  # at its zero start
    assert_inverts(randomise_(step), a, b)


class Pair(nn.Module):
    """Scale and shift from a network each, as HiNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.rho, self.eta = DensePredictor(12, 12), DensePredictor(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.rho(x), self.eta(x)], dim=1)


def test_hinet_can_be_built() -> None:
    def block() -> Sequential:
        return Sequential(Swap(), AdditiveCoupling(DensePredictor(12, 12)), Swap(), AffineCoupling(Pair()))

    with torch.device("meta"):
        hinet = Sequential(*(block() for _ in range(16)))
    assert sum(parameter.numel() for parameter in hinet.parameters()) == 4_050_240
    chain, x1, x2 = randomise_(block()), tensor(0, 1, 12, 4, 4), tensor(1, 1, 12, 4, 4)
    phi, pair = chain[1].get_submodule("network"), chain[3].get_submodule("network")
    y1 = x1 + phi(x2)
    rho, eta = pair(y1).chunk(2, dim=1)
    y2 = x2 * torch.exp(2.0 * 2 * (torch.sigmoid(rho) - 0.5)) + eta
    torch.testing.assert_close(chain(x1, x2), (y1, y2))
    assert_inverts(chain, x1, x2)


def test_the_wrong_input_is_refused() -> None:
    network = DensePredictor(3, 9)
    with pytest.raises(ValueError, match=r"DensePredictor needs a \(B, 3, H, W\) tensor, got \(1, 4, 2, 2\)"):
        network(torch.zeros(1, 4, 2, 2))
    with pytest.raises(TypeError, match=r"DensePredictor needs floating-point tensors, got torch\.uint8"):
        network(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("sizes", "which"), [((0, 9, 4), "in_channels"), ((3, 0, 4), "out_channels"), ((3, 9, 0), "growth")]
)
def test_numbers_below_one_are_refused(sizes: tuple[int, int, int], which: str) -> None:
    with pytest.raises(ValueError, match=f"DensePredictor needs {which} of at least 1, got 0"):
        DensePredictor(sizes[0], sizes[1], growth=sizes[2])
