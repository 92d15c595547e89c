"""Shared by the tests of FrEIA: networks, our modules and FrEIA graphs that hold both."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    Sequential,
)
from liftlayers.interop import AsFrEIA
from liftlayers.testing import randomise_

ff: Any = pytest.importorskip("FrEIA.framework")


fm: Any = pytest.importorskip("FrEIA.modules")


IMAGE = [(4, 4, 4)]


class Conditional(nn.Module):
    """A network with a condition of its output's shape."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.tanh(self.conv(x) if condition is None else self.conv(x) + condition)


class Scale(Invertible):
    """Multiplies by a learned number: a layer with a log-determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp()

    def inverse(self, x: Tensor) -> Tensor:
        return x * (-self.log_scale).exp()

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self(x), self.log_scale * x[0].numel() * x.new_ones(len(x))

    def inverse_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(x), -self.log_scale * x[0].numel() * x.new_ones(len(x))


def conv(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def block(seed: int = 0) -> LiftingBlock:
    return randomise_(LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)), seed)


def chain(seed: int = 0, **options: Any) -> Sequential:
    """From an image to an image of its size."""
    return Sequential(Haar(), block(seed), block(seed + 1), Inverse(Haar()), **options)


def sequence(*dims: int, steps: list[tuple[Any, dict[str, Any]]]) -> Any:
    net = ff.SequenceINN(*dims)
    for kind, options in steps:
        net.append(kind, **options)
    return net


def seeded(make: Callable[[], Any], seed: int) -> Any:
    """A FrEIA module with its own initialisation: its fixed permutations are parameters, which must not be drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def split_and_concat() -> Any:
    """Our Haar transform, FrEIA's blocks on both bands, and a join of bands from two nodes."""
    source = ff.InputNode(3, 8, 8)
    haar = ff.Node(source, AsFrEIA, {"module": Sequential(Haar(), block())})
    glow = ff.Node(haar.out1, fm.GLOWCouplingBlock, {"subnet_constructor": conv, "clamp": 1.0})
    parts = ff.Node(glow, fm.Split, {"section_sizes": (3, 6)})
    joined = ff.Node([haar.out0, parts.out0], fm.Concat, {})
    lift = ff.Node([joined.out0, parts.out1], AsFrEIA, {"module": randomise_(AdditiveCoupling(conv(6, 6)))})
    outputs = [ff.OutputNode(lift.out0), ff.OutputNode(lift.out1)]
    return ff.GraphINN([source, haar, glow, parts, joined, lift, *outputs])
