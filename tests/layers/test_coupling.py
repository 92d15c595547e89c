"""The additive coupling: its equation, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import AdditiveCoupling
from liftlayers.testing import assert_inverts, randomise_
from tests.strategies import seeds, tensor

widths = st.tuples(st.integers(1, 5), st.integers(1, 5))


@given(seed=seeds(), widths=widths, rest=st.lists(st.integers(1, 4), max_size=3))
def test_adds_a_function_of_the_first_band_to_the_second(seed: int, widths: tuple[int, int], rest: list[int]) -> None:
    """Bands of any rank: with a linear map of the channels, whatever follows them."""

    class OfChannels(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input.movedim(1, -1)).movedim(-1, 1)

    network = randomise_(OfChannels(*widths), seed)
    step = AdditiveCoupling(network)
    a, b = tensor(seed, 2, widths[0], *rest), tensor(seed + 1, 2, widths[1], *rest)
    out_a, out_b = step(a, b)
    assert out_a is a
    assert torch.equal(out_b, b + network(a))
    assert torch.equal(step.inverse(a, b)[1], b - network(a))
    assert_inverts(step, a, b)


def test_network_keeps_its_name_in_the_state_dict() -> None:
    assert list(AdditiveCoupling(nn.Linear(2, 2)).state_dict()) == ["network.weight", "network.bias"]


def test_an_output_that_would_broadcast_is_refused() -> None:
    step = AdditiveCoupling(nn.Conv2d(3, 1, 1))
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 9, 4, 4)
    message = r"AdditiveCoupling needs a network output of shape \(2, 9, 4, 4\), got \(2, 1, 4, 4\)"
    for direction in (step, step.inverse):
        with pytest.raises(ValueError, match=message):
            direction(a, b)


def test_a_network_that_returns_no_tensor_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(TypeError, match="AdditiveCoupling needs a network that returns a tensor, got tuple"):
        AdditiveCoupling(Pair())(torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
def test_integer_bands_are_refused(position: int, dtype: torch.dtype) -> None:
    bands = [torch.zeros(1, 2), torch.zeros(1, 2)]
    bands[position] = bands[position].to(dtype)
    step = AdditiveCoupling(nn.Linear(2, 2))
    for direction in (step, step.inverse):
        with pytest.raises(TypeError, match=f"AdditiveCoupling needs floating-point tensors, got {dtype}"):
            direction(*bands)


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="AdditiveCoupling needs tensors, got list"):
        AdditiveCoupling(nn.Linear(2, 2))([1.0, 2.0], torch.zeros(1, 2))


def test_bands_on_two_devices_are_refused() -> None:
    step = AdditiveCoupling(nn.Linear(2, 2))
    for direction in (step, step.inverse):
        with pytest.raises(ValueError, match="AdditiveCoupling needs its bands on one device, got cpu and meta"):
            direction(torch.zeros(1, 2), torch.zeros(1, 2, device="meta"))


def test_the_wrong_number_of_channels_is_refused_by_the_network() -> None:
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 4 channels"):
        AdditiveCoupling(nn.Conv2d(3, 9, 1))(torch.zeros(1, 4, 2, 2), torch.zeros(1, 9, 2, 2))
