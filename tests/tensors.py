"""Tensors and modules that are a function of a seed alone, so that a failing test can be run again."""

__all__ = ["Case", "build", "tensor"]

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from liftlayers import Invertible
from liftlayers.testing import randomise_

M = TypeVar("M", bound=nn.Module)


class Case(NamedTuple):
    """An invertible module with random parameters, and bands that it takes."""

    module: Invertible
    bands: tuple[Tensor, ...]

    def to(self, device: str) -> "Case":
        return Case(self.module.to(device), tuple(band.to(device) for band in self.bands))


def tensor(seed: int, *shape: int, dtype: torch.dtype = torch.float32, positive: bool = False) -> Tensor:
    """Uniform numbers in [0, 1], or normal ones; the same in every dtype up to rounding."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand if positive else torch.randn
    return draw(shape, generator=generator, dtype=torch.float64).to(dtype)


def build(factory: Callable[[], M], seed: int, dtype: torch.dtype = torch.float32) -> M:
    """Calls a factory and randomises the module that it returns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory()
    return randomise_(module, seed).to(dtype)
