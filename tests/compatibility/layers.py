"""The rows of the compatibility matrix: every public layer with an inverse, and the networks, as small as they get."""

__all__ = ["LAYERS", "ThereAndBack", "case"]

from collections.abc import Callable

import torch
from torch import Tensor, nn

from liftlayers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Haar,
    Inverse,
    Invertible,
    InvertibleConv1x1,
    LearnedWavelet,
    LiftingBlock,
    LiftingPyramid,
    MultiTaskNAFUNet,
    NAFBlock,
    NAFUNet,
    NonseparableLearnedWavelet,
    Parallel,
    PixelUnshuffle,
    Predict,
    Sequential,
    Split,
    Swap,
    Update,
    Wavelet,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.functional import round_to_grid
from liftlayers.testing import randomise_
from tests.strategies import tensor


class OneTask(nn.Module):
    """A network for several tasks, asked for the second of them."""

    def __init__(self) -> None:
        super().__init__()
        depths = {"encoder": (1,), "middles": (0, 1), "decoder_middle": 0, "decoder": (0,)}
        self.network = MultiTaskNAFUNet(2, 4, **depths, tasks=("denoise", "deblur"))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, "deblur")


class ThereAndBack(nn.Module):
    """A layer's outputs and, if it has an inverse, what that makes of them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *bands: Tensor) -> tuple[Tensor, ...]:
        outputs = as_tuple(self.layer(*bands))
        return (*outputs, *as_tuple(self.layer.inverse(*outputs))) if isinstance(self.layer, Invertible) else outputs


def network(in_channels: int, out_channels: int) -> nn.Module:
    """Smooth, so that its derivatives can be compared with differences."""
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, out_channels, 3, padding=1))


def block() -> LiftingBlock:
    return LiftingBlock(network(2, 6), network(6, 2))


def act_norm() -> ActNorm:
    """One that has seen its first batch: another would set it again."""
    layer = ActNorm(2)
    layer(tensor(0, 2, 2, 4, 4))
    return layer


# Name -> factory, channels of its bands.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Haar": (Haar, (2,)),
    "Wavelet": (lambda: Wavelet("5/3"), (2,)),
    "LearnedWavelet": (lambda: LearnedWavelet(scale="learned", network=network), (2,)),
    "NonseparableLearnedWavelet": (lambda: NonseparableLearnedWavelet(network=network), (2,)),
    "AdditiveCoupling": (lambda: AdditiveCoupling(network(2, 6)), (2, 6)),
    "AffineCoupling": (lambda: AffineCoupling(network(2, 12)), (2, 6)),
    "Predict": (lambda: Predict(network(2, 6)), (2, 6)),
    "Update": (lambda: Update(network(6, 2)), (2, 6)),
    "LiftingBlock": (block, (2, 6)),
    "LiftingPyramid": (lambda: LiftingPyramid([Sequential(Haar(), block()), Haar()]), (2,)),
    "Split": (lambda: Split(2, 3), (5,)),
    "Swap": (Swap, (2, 6)),
    "Parallel": (lambda: Parallel(PixelUnshuffle(2), Inverse(PixelUnshuffle(2))), (2, 8)),
    "PixelUnshuffle": (lambda: PixelUnshuffle(2), (2,)),
    "InvertibleConv1x1": (lambda: InvertibleConv1x1(2), (2,)),
    "ActNorm": (act_norm, (2,)),
    "Sequential": (lambda: Sequential(Haar(), block(), Swap(), Swap()), (2,)),
    "Inverse": (lambda: Inverse(Sequential(Haar(), block())), (2, 6)),
    "exact": (lambda: exact(Sequential(Haar(), block(), Inverse(Haar()))), (2,)),
    "NAFBlock": (lambda: NAFBlock(2), (2,)),
    "NAFUNet": (lambda: NAFUNet(2, 4, encoder=(1,), middle=0, decoder=(0,)), (2,)),
    "MultiTaskNAFUNet": (OneTask, (2,)),
}


def case(
    name: str,
    *size: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A randomised layer in evaluation mode and bands that it takes, of a batch, height and width."""
    make, channels = LAYERS[name]
    batch, height, width = size or (2, 8, 8)
    drawn = (tensor(i, batch, c, height, width, dtype=torch.float64) for i, c in enumerate(channels))
    bands = tuple(round_to_grid(band, 8).to(device, dtype) for band in drawn)  # `exact` would have them on its grid
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = make()
    return randomise_(layer).to(device, dtype).eval(), bands
