"""Drawn networks of integers, and one whose numbers come from a formula."""

__all__ = ["FIXED_SHA256", "fixed_network", "networks", "numbers", "sha256"]

import hashlib

import torch
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import IntegerConv2d, IntegerPredictor
from liftlayers.testing import randomise_
from tests.strategies import seeds

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def numbers(seed: int, *shape: int, dtype: torch.dtype = torch.int16) -> Tensor:
    """Integers of the whole range of a dtype, most of them small; in floats, those of int16."""
    limits = torch.iinfo(dtype if dtype in INTEGERS else torch.int16)
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randint(limits.min, limits.max, shape, generator=generator)
    small = torch.randint(max(-300, limits.min), min(300, limits.max), shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < 0.9, small, whole).to(dtype)


@st.composite
def networks(draw: st.DrawFn) -> tuple[IntegerConv2d | IntegerPredictor, Tensor]:
    """A network of any shape and scale, and its input."""
    channels, out_channels = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    seed, zero_mean = draw(seeds()), draw(st.booleans())
    if draw(st.booleans()):
        in_bits, out_bits = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        kernel, signed = draw(st.sampled_from([1, 3, 5])), draw(st.booleans())
        settings = {"signed": signed, "zero_mean": zero_mean}
        network = IntegerConv2d(channels, out_channels, kernel, in_bits=in_bits, out_bits=out_bits, **settings)
    else:
        hidden = {"hidden_channels": draw(st.integers(1, 60)), "num_hidden": draw(st.integers(1, 3))}
        network = IntegerPredictor(channels, out_channels, **hidden, zero_mean=zero_mean)
    randomise_(network, seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0 ** draw(st.integers(-9, 5)))
    shape = draw(st.integers(1, 3)), channels, draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return network, numbers(seed, *shape, dtype=draw(st.sampled_from([*INTEGERS, torch.float32])))


def fixed_network() -> tuple[IntegerPredictor, Tensor]:
    """A frozen network and its input, both from formulas on integers, so that they are the same on every machine."""
    network = IntegerPredictor(3, 9, hidden_channels=16, num_hidden=2).frozen()
    state = network.state_dict()
    for position, (name, tensor) in enumerate(state.items()):
        count = torch.arange(tensor.numel()) * (7919 + 2 * position)
        largest = {"weight": 127, "bias": 5000, "shift": 1}[name.rpartition(".")[2]]
        values = count % (2 * largest + 1) - largest + (9 if name.endswith("shift") else 0)
        state[name] = values.view_as(tensor).to(tensor.dtype)
    network.load_state_dict(state)
    return network, (torch.arange(2 * 3 * 32 * 40) * 104729 % 511 - 255).view(2, 3, 32, 40).to(torch.int16)


def sha256(output: Tensor) -> str:
    return hashlib.sha256(output.cpu().to(torch.int32).contiguous().numpy().astype("<i4").tobytes()).hexdigest()


FIXED_SHA256 = "1b941692b06a4a4550a69310b6580ec4fcac812fc8fb3b2d7cfbb3a4e2875740"
