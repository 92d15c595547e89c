"""Helpers for the tests of hiders: random images, numbers of parameters, and the dense network of HiNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def images(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(*shape, generator=generator, dtype=dtype) for _ in range(count)]


def dense(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """HiNet's dense network by its definition: four convolutions, each on all earlier features, and a linear one."""
    for number in range(4):
        weight, bias = (weights[f"{name}.hidden.{number}.{kind}"] for kind in ("weight", "bias"))
        x = torch.cat([x, F.leaky_relu(F.conv2d(x, weight, bias, padding=1), 0.01)], dim=1)
    return F.conv2d(x, weights[f"{name}.last.weight"], weights[f"{name}.last.bias"], padding=1)
