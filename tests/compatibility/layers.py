"""The rows of the compatibility matrix: the layers of the registry, as small as they get."""

__all__ = ["ThereAndBack", "case"]

import torch
from torch import Tensor, nn

from liftlayers import Invertible
from liftlayers._bands import as_tuple
from liftlayers.functional import round_to_grid
from tests.registry import REGISTRY
from tests.tensors import build, tensor


class ThereAndBack(nn.Module):
    """A layer's outputs and, if it has an inverse, what the inverse makes of them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *bands: Tensor) -> tuple[Tensor, ...]:
        outputs = as_tuple(self.layer(*bands))
        return (*outputs, *as_tuple(self.layer.inverse(*outputs))) if isinstance(self.layer, Invertible) else outputs


def smooth(in_channels: int, out_channels: int) -> nn.Module:
    """A network whose derivatives can be compared with differences."""
    first, last = nn.Conv2d(in_channels, 4, 3, padding=1), nn.Conv2d(4, out_channels, 3, padding=1)
    return nn.Sequential(first, nn.Tanh(), last)


def case(
    name: str, *size: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A randomised layer in evaluation mode, and bands that it takes of the given batch, height and width.

    Lines have no height, and volumes a depth of 4. Layers of integers have no parameters, and get int32.
    """
    layer, (batch, height, width) = REGISTRY[name], size or (2, 8, 8)
    channels = layer.channels(2, 6)
    sides = (4, height, width)[-layer.rank :]
    drawn = (tensor(i, batch, c, *sides, dtype=torch.float64) for i, c in enumerate(channels))
    if layer.integers:
        bands = tuple((100 * band).to(device, torch.int32) for band in drawn)
    else:
        bands = tuple(round_to_grid(band, 8).to(device, dtype) for band in drawn)  # `exact` needs them on its grid
    return build(lambda: layer.make(smooth, 2, 6), 0, dtype).to(device).eval(), bands
