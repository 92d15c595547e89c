"""Every layer once: how it is built, which bands it takes, and which tests it belongs to.

The laws (`tests/test_laws.py`), the drawn cases (`tests/strategies.py`), the tests on a GPU and the compatibility
matrix (`tests/compatibility/`) all go through this list.
"""

__all__ = ["LAWS", "REGISTRY", "ROWS", "Layer", "Network", "deep_chain", "listed", "predictor"]

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform

from liftlayers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BiasFreePredictor,
    BlockScrambling,
    ConvPredictor,
    Haar,
    IntegerPredictor,
    Inverse,
    InvertibleConv1x1,
    LearnedWavelet,
    LiftingBlock,
    LiftingPyramid,
    LosslessColour,
    LosslessWavelet,
    MultiTaskNAFUNet,
    NAFBlock,
    NAFUNet,
    NonseparableLearnedWavelet,
    Packed,
    Parallel,
    PixelUnshuffle,
    Predict,
    ResidualPredictor,
    Sequential,
    Split,
    Swap,
    UndecimatedWavelet,
    Update,
    Wavelet,
    exact,
)
from liftlayers.functional import garrote_threshold, hard_threshold, soft_threshold
from liftlayers.functional.schemes import SCHEMES
from liftlayers.interop import from_transform
from tests.tensors import Case, build, tensor

Network = Callable[[int, int], nn.Module]  # channels in and out -> a network that keeps height and width


class Parts(NamedTuple):
    """What a layer is built from: a kind of network, two numbers of channels and options."""

    network: Network
    a: int
    b: int
    options: dict[str, Any]


def image(a: int, _b: int) -> tuple[int, ...]:
    return (a,)


def pair(a: int, b: int) -> tuple[int, ...]:
    return a, b


def haar_bands(a: int, _b: int) -> tuple[int, ...]:
    return a, 3 * a


@dataclass(frozen=True)
class Layer:
    """How a layer is built and what it takes."""

    build: Callable[[Parts], nn.Module]
    channels: Callable[[int, int], tuple[int, ...]] = pair  # of its bands
    multiple: int = 1  # height and width are multiples of it
    rank: int = 2  # spatial axes of its bands
    any_rank: bool = False  # bands may be vectors, lines, images or volumes
    options: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # values of each; the first is the default
    inverts: bool = True  # as floats do, up to rounding: the laws hold
    row: bool = True  # it has a row in the compatibility matrix
    integers: bool = False  # its bands are integers; in the matrix, int32

    def make(self, network: Network, a: int, b: int, **options: Any) -> nn.Module:
        defaults = {name: values[0] for name, values in self.options.items()}
        return self.build(Parts(network, a, b, defaults | options))


def block(p: Parts) -> LiftingBlock:
    return LiftingBlock(p.network(p.a, p.b), p.network(p.b, p.a))


def haar_block(p: Parts) -> LiftingBlock:
    """A block on the bands of a Haar transform."""
    return block(p._replace(b=3 * p.a))


def act_norm(channels: int) -> ActNorm:
    """It has seen its first batch; otherwise the next one would initialise it."""
    layer = ActNorm(channels)
    layer(tensor(0, 2, channels, 4, 4))
    return layer


class Function(nn.Module):
    """A function of one tensor as a layer."""

    def __init__(self, function: Callable[..., Tensor], *options: float) -> None:
        super().__init__()
        self.function, self.options = function, options

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.options)


class OneTask(nn.Module):
    """A network for several tasks that always runs the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        depths = {"encoder": (1,), "middles": (0, 1), "decoder_middle": 0, "decoder": (0,)}
        self.network = MultiTaskNAFUNet(channels, 4, **depths, tasks=("denoise", "deblur"))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, "deblur")


BOUNDARY = ("periodization", "reflect")
LEARNED = {"name": ("5/3", "haar", "9/7"), "boundary": BOUNDARY, "scale": ("learned", "fixed", None)}

REGISTRY: dict[str, Layer] = {
    "Haar": Layer(lambda _: Haar(), image, 2),
    "Wavelet": Layer(
        lambda p: Wavelet(**p.options), image, 2, options={"name": ("5/3", *SCHEMES), "boundary": BOUNDARY}
    ),
    "LearnedWavelet": Layer(
        lambda p: LearnedWavelet(network=p.network, **p.options), image, 2, options={**LEARNED, "shared": (False, True)}
    ),
    "NonseparableLearnedWavelet": Layer(
        lambda p: NonseparableLearnedWavelet(network=p.network, **p.options), image, 2, options=LEARNED
    ),
    "AdditiveCoupling": Layer(lambda p: AdditiveCoupling(p.network(p.a, p.b))),
    "AffineCoupling": Layer(
        lambda p: AffineCoupling(p.network(p.a, 2 * p.b), **p.options), options={"clamp": (2.0, 0.5, 1.0)}
    ),
    "Predict": Layer(lambda p: Predict(p.network(p.a, p.b))),
    "Update": Layer(lambda p: Update(p.network(p.b, p.a))),
    "LiftingBlock": Layer(block),
    "LiftingPyramid": Layer(lambda p: LiftingPyramid([Sequential(Haar(), haar_block(p)), Haar()]), image, 4),
    "Packed": Layer(lambda _: Packed(1), haar_bands),
    "Split": Layer(lambda p: Split(p.a, p.b), lambda a, b: (a + b,), any_rank=True),
    "Swap": Layer(lambda _: Swap(), any_rank=True),
    "Parallel": Layer(lambda p: Parallel(PixelUnshuffle(2), act_norm(p.b)), multiple=2),
    "PixelUnshuffle": Layer(lambda _: PixelUnshuffle(2), image, 2),
    "BlockScrambling": Layer(lambda _: BlockScrambling(bytes(range(32)), block=2), image),
    "InvertibleConv1x1": Layer(lambda p: InvertibleConv1x1(p.a), image, any_rank=True),
    "ActNorm": Layer(lambda p: act_norm(p.a), image, any_rank=True),
    "Sequential": Layer(lambda p: Sequential(Haar(), haar_block(p), Swap(), Swap()), image, 2),
    "Inverse": Layer(lambda p: Inverse(Sequential(Haar(), haar_block(p))), haar_bands),
    "LosslessWavelet": Layer(lambda _: LosslessWavelet(), image, 2, inverts=False, integers=True),
    "LosslessColour": Layer(lambda _: LosslessColour(), lambda _a, _b: (3,), inverts=False, integers=True),
    "exact": Layer(lambda p: exact(Sequential(Haar(), haar_block(p), Inverse(Haar()))), image, 2, inverts=False),
    "UndecimatedWavelet": Layer(lambda _: UndecimatedWavelet("5/3", num_levels=2), image, inverts=False),
    "IntegerPredictor": Layer(lambda p: IntegerPredictor(p.a, p.b, bits=8), image, inverts=False),
    "NAFBlock": Layer(lambda p: NAFBlock(p.a), image, inverts=False),
    "NAFUNet": Layer(lambda p: NAFUNet(p.a, 4, encoder=(1,), middle=0, decoder=(0,)), image, inverts=False),
    "MultiTaskNAFUNet": Layer(lambda p: OneTask(p.a), image, inverts=False),
    # The same layers for lines and volumes.
    "Haar, of lines": Layer(lambda _: Haar(spatial_dims=1), image, 2, rank=1),
    "Wavelet, of volumes": Layer(lambda _: Wavelet("db2", spatial_dims=3), image, 2, rank=3),
    "LosslessWavelet, of lines": Layer(
        lambda _: LosslessWavelet("9/7", spatial_dims=1), image, 2, rank=1, inverts=False, integers=True
    ),
    # Functions that no layer calls, and the layer that `from_transform` returns.
    **{
        f"liftlayers.functional.{function.__name__}": Layer(
            lambda _, f=function: Function(f, 0.25), image, inverts=False
        )
        for function in (soft_threshold, hard_threshold, garrote_threshold)
    },
    "liftlayers.interop.from_transform": Layer(
        lambda _: from_transform(AffineTransform(0.5, 2.0)), image, inverts=False
    ),
    # Compositions that users make; the matrix needs no rows for them.
    "Sequential, empty": Layer(lambda _: Sequential(), any_rank=True, row=False),
    "Sequential, image to image": Layer(
        lambda p: Sequential(Haar(), haar_block(p), haar_block(p), Inverse(Haar())), image, 2, row=False
    ),
    "Sequential, nested": Layer(
        lambda p: Sequential(Sequential(Haar()), Sequential(haar_block(p), Sequential())), image, 2, row=False
    ),
    "Sequential, sharing": Layer(lambda p: Sequential(*[block(p)] * 3), row=False),
    "Inverse, of an inverse": Layer(lambda p: Inverse(Sequential(haar_block(p), Inverse(Haar()))), image, 2, row=False),
}
LAWS = [name for name, layer in REGISTRY.items() if layer.inverts]
ROWS = [name for name, layer in REGISTRY.items() if layer.row]


def predictor(in_channels: int, out_channels: int) -> nn.Module:
    """A small network of the library; channels decide which, so that a layer with two networks has two kinds."""
    if in_channels < out_channels:
        return ConvPredictor(in_channels, out_channels, hidden_channels=4)
    if in_channels == out_channels:
        return BiasFreePredictor(in_channels, out_channels, hidden_channels=4)
    return ResidualPredictor(in_channels, out_channels, hidden_channels=4, num_blocks=1, kernel_size=3)


def listed(name: str, seed: int = 0, *, batch: int = 2, dtype: torch.dtype = torch.float32) -> Case:
    """A layer of the registry with its default options and the smallest bands that show every effect."""
    layer = REGISTRY[name]
    size = (3, 2) if layer.multiple == 1 else (4,) * layer.rank
    module = build(lambda: layer.make(predictor, 1, 3), seed, dtype)
    bands = (tensor(seed + i, batch, c, *size, dtype=dtype) for i, c in enumerate(layer.channels(1, 3)))
    return Case(module, tuple(bands))  # type: ignore[arg-type]


def deep_chain(num_blocks: int, dtype: torch.dtype, seed: int) -> Sequential:
    """Alternating convolutional and residual blocks on bands of 3 and 9 channels.

    The bands of 96 random blocks would grow more than fourfold, so their last convolutions are scaled as training
    leaves them: closer to the zero that they start from.
    """

    def small(in_channels: int, out_channels: int, position: int) -> nn.Module:
        if position % 2:
            return ConvPredictor(in_channels, out_channels, hidden_channels=8)
        return ResidualPredictor(in_channels, out_channels, hidden_channels=8, num_blocks=1, kernel_size=3)

    blocks = (LiftingBlock(small(3, 9, position), small(9, 3, position)) for position in range(num_blocks))
    chain = build(lambda: Sequential(*blocks), seed, dtype)
    if num_blocks > 24:
        with torch.no_grad():
            for name, parameter in chain.named_parameters():
                if ".last." in name:
                    parameter.mul_(0.5)
    return chain
