"""What the laws are tried on: drawn images, bands and chains, and the list of every invertible module.

Tensors and parameters are built from a drawn seed, so that a failing example shrinks to a small shape and replays.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    ConvPredictor,
    Haar,
    Inverse,
    Invertible,
    InvertibleConv1x1,
    LearnedWavelet,
    LiftingBlock,
    LiftingPyramid,
    NonseparableLearnedWavelet,
    Parallel,
    PixelUnshuffle,
    Predict,
    ResidualPredictor,
    Sequential,
    Split,
    Swap,
    Update,
    Wavelet,
)
from liftlayers.testing import randomise_

__all__ = [
    "INVERTIBLES",
    "Case",
    "bands",
    "build",
    "chains",
    "deep_chain",
    "flat_jacobian",
    "images",
    "listed",
    "memory_formats",
    "networks",
    "seeds",
    "tensor",
]

Shape = tuple[int, int, int]  # C, H, W of one band; the batch is common to all


class Case(NamedTuple):
    """An invertible module with parameters drawn at random, and bands it takes."""

    module: Invertible
    bands: tuple[Tensor, ...]

    def to(self, device: str) -> "Case":
        return Case(self.module.to(device), tuple(band.to(device) for band in self.bands))


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**16 - 1)


def tensor(seed: int, *shape: int, dtype: torch.dtype = torch.float32, positive: bool = False) -> Tensor:
    """Uniform numbers in [0, 1], or normal ones; the same in every dtype up to rounding."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand if positive else torch.randn
    return draw(shape, generator=generator, dtype=torch.float64).to(dtype)


def build(factory: Callable[[], Invertible], seed: int, dtype: torch.dtype = torch.float32) -> Invertible:
    """Calls a factory and randomises what it made, as a function of the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory()
    return randomise_(module, seed).to(dtype)


dtypes = st.sampled_from([torch.float32, torch.float64])
memory_formats = st.sampled_from([torch.contiguous_format, torch.channels_last])


@st.composite
def images(
    draw: st.DrawFn,
    *,
    multiple: int = 2,
    channels: st.SearchStrategy[int] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Images in [0, 1] of shape (B, C, H, W), H and W multiples of a number."""
    batch, num_channels = draw(st.integers(1, 2)), draw(channels or st.integers(1, 4))
    most = max(1, 12 // multiple)
    height, width = (multiple * draw(st.integers(1, most)) for _ in range(2))
    x = tensor(draw(seeds()), batch, num_channels, height, width, dtype=dtype or draw(dtypes), positive=True)
    return x.contiguous(memory_format=draw(memory_formats))


@st.composite
def bands(draw: st.DrawFn, *, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """An approximation (B, C, H, W) and its detail (B, 3C, H, W), normal numbers."""
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    height, width, seed = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(seeds())
    kind = dtype or draw(dtypes)
    approx = tensor(seed, batch, channels, height, width, dtype=kind)
    return approx, tensor(seed + 1, batch, 3 * channels, height, width, dtype=kind)


@st.composite
def networks(draw: st.DrawFn, in_channels: int, out_channels: int) -> Callable[[], nn.Module]:
    """Factories of small networks from image to image of the same size."""
    kind = draw(st.sampled_from([nn.Conv2d, ConvPredictor, ResidualPredictor]))
    if kind is ConvPredictor:
        hidden, num = draw(st.integers(1, 6)), draw(st.integers(1, 2))
        return lambda: ConvPredictor(in_channels, out_channels, hidden_channels=hidden, num_hidden=num)
    if kind is ResidualPredictor:
        num, dilation = draw(st.integers(0, 2)), draw(st.integers(1, 2))
        return lambda: ResidualPredictor(
            in_channels, out_channels, hidden_channels=4, num_blocks=num, kernel_size=3, dilation=dilation
        )
    return lambda: nn.Conv2d(in_channels, out_channels, 3, padding=1)


@st.composite
def _couplings(draw: st.DrawFn, first: int, second: int) -> Callable[[], Invertible]:
    """Factories of one step on two bands of the given numbers of channels."""
    across, back = draw(networks(first, second)), draw(networks(second, first))
    make = draw(
        st.sampled_from(
            [
                lambda: Predict(across()),
                lambda: Update(back()),
                lambda: LiftingBlock(across(), back()),
                lambda: AdditiveCoupling(across()),
            ]
        )
    )
    return (lambda: Inverse(make())) if draw(st.booleans()) else make


@st.composite
def _pyramids(draw: st.DrawFn, channels: int, levels: int) -> Callable[[], Invertible]:
    """Factories of pyramids of Haar transforms with up to one block a level."""
    blocks = [draw(st.none() | _couplings(channels, 3 * channels)) for _ in range(levels)]

    def make() -> LiftingPyramid:
        return LiftingPyramid([Sequential(Haar(), *([] if block is None else [block()])) for block in blocks])

    return make


def _split(shape: Shape, levels: int) -> tuple[Shape, ...]:
    """Shapes of what a pyramid makes of an image."""
    channels, height, width = shape
    details = [(3 * channels, height >> level, width >> level) for level in range(levels, 0, -1)]
    return ((channels, height >> levels, width >> levels), *details)


@st.composite
def _walk(
    draw: st.DrawFn, shapes: tuple[Shape, ...], steps: int, depth: int
) -> tuple[Callable[[], Sequential], tuple[Shape, ...]]:
    """Factories of chains of steps that each fit what the one before left, and the shapes that are left at last."""
    makes: list[Callable[[], Invertible]] = []
    for _ in range(steps):
        channels, height, width = shapes[0]
        choices = ["nested"] if depth else []
        if len(shapes) == 1:
            choices += ["haar", "pyramid1"] if height % 2 == width % 2 == 0 else []
            choices += ["pyramid2"] if height % 4 == width % 4 == 0 else []
        elif len(shapes) == 2:
            choices += ["coupling", "coupling"]
            choices += ["unhaar"] if shapes[-1] == (3 * channels, height, width) else []
        else:
            choices += ["unpyramid"]
        if not choices:
            break
        choice = draw(st.sampled_from(choices))
        if choice == "nested":
            make, shapes = draw(_walk(shapes, draw(st.integers(0, 2)), depth - 1))
        elif choice == "coupling":
            make = draw(_couplings(channels, shapes[-1][0]))
        elif choice == "haar":
            make, shapes = Haar, _split(shapes[0], 1)
        elif choice == "unhaar":
            make, shapes = (lambda: Inverse(Haar())), ((channels, 2 * height, 2 * width),)
        elif choice == "unpyramid":
            levels = len(shapes) - 1
            whole = (channels, height << levels, width << levels)
            pyramid = draw(_pyramids(channels, levels))
            make, shapes = (lambda pyramid=pyramid: Inverse(pyramid())), (whole,)
        else:
            levels = int(choice[-1])
            make, shapes = draw(_pyramids(channels, levels)), _split(shapes[0], levels)
        makes.append(make)
    return (lambda: Sequential(*(make() for make in makes))), shapes


@st.composite
def chains(draw: st.DrawFn, *, max_steps: int = 5, dtype: torch.dtype | None = None) -> Case:
    """Random compositions, nested two deep, of every kind of step, with an image or two bands that they take."""
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    height, width = (draw(st.sampled_from([2, 4, 8])) for _ in range(2))
    shapes: tuple[Shape, ...] = ((channels, height, width),)
    if draw(st.booleans()):
        shapes += ((draw(st.integers(1, 4)), height, width),)
    make, _ = draw(_walk(shapes, draw(st.integers(1, max_steps)), 2))
    seed, kind = draw(seeds()), dtype or draw(dtypes)
    given = tuple(tensor(seed + i, batch, *shape, dtype=kind) for i, shape in enumerate(shapes))
    memory_format = draw(memory_formats)
    return Case(build(make, seed, kind), tuple(x.contiguous(memory_format=memory_format) for x in given))


def _block(channels: int = 3) -> LiftingBlock:
    return LiftingBlock(
        ConvPredictor(channels, 3 * channels, hidden_channels=4),
        ResidualPredictor(3 * channels, channels, hidden_channels=4, num_blocks=1, kernel_size=3),
    )


IMAGE: tuple[Shape, ...] = ((1, 4, 4),)
BANDS: tuple[Shape, ...] = ((1, 3, 2), (3, 3, 2))


# One entry a kind of module, and the kinds of composition that its users make: name -> factory, shapes of its bands.
def _act_norm() -> ActNorm:
    """One that has seen its first batch: another would set it again."""
    layer = ActNorm(3)
    layer(tensor(0, 2, 3, 4, 4))
    return layer


INVERTIBLES: dict[str, tuple[Callable[[], Invertible], tuple[Shape, ...]]] = {
    "Haar": (Haar, IMAGE),
    "Wavelet": (lambda: Wavelet("9/7"), IMAGE),
    "LearnedWavelet": (lambda: LearnedWavelet(scale="learned"), IMAGE),
    "NonseparableLearnedWavelet": (lambda: NonseparableLearnedWavelet("haar"), IMAGE),
    "AdditiveCoupling": (lambda: AdditiveCoupling(nn.Conv2d(1, 3, 3, padding=1)), BANDS),
    "Predict": (lambda: Predict(ConvPredictor(1, 3, hidden_channels=4)), BANDS),
    "Update": (lambda: Update(ConvPredictor(3, 1, hidden_channels=4)), BANDS),
    "AffineCoupling": (lambda: AffineCoupling(nn.Conv2d(1, 6, 3, padding=1)), BANDS),
    "Swap": (Swap, BANDS),
    "Split": (lambda: Split(1, 2), ((3, 4, 4),)),
    "PixelUnshuffle": (lambda: PixelUnshuffle(2), IMAGE),
    "Parallel": (lambda: Parallel(InvertibleConv1x1(1), InvertibleConv1x1(3)), BANDS),
    "InvertibleConv1x1": (lambda: InvertibleConv1x1(3), ((3, 4, 4),)),
    "ActNorm": (_act_norm, ((3, 4, 4),)),
    "LiftingBlock": (lambda: _block(1), BANDS),
    "LiftingPyramid": (lambda: LiftingPyramid([Sequential(Haar(), _block(1)), Haar()]), IMAGE),
    "Sequential": (lambda: Sequential(Haar(), _block(1), _block(1), Inverse(Haar())), IMAGE),
    "Inverse": (lambda: Inverse(Sequential(_block(1), Inverse(Haar()))), IMAGE),
    "Sequential, empty": (Sequential, BANDS),
    "Sequential, nested": (lambda: Sequential(Sequential(Haar()), Sequential(_block(1), Sequential())), IMAGE),
    "Sequential, sharing": (lambda: Sequential(*[_block(1)] * 3), BANDS),
}


def listed(name: str, seed: int = 0, *, batch: int = 2, dtype: torch.dtype = torch.float32) -> Case:
    """A module of `INVERTIBLES`, randomised, with bands that it takes."""
    factory, shapes = INVERTIBLES[name]
    given = tuple(tensor(seed + i, batch, *shape, dtype=dtype) for i, shape in enumerate(shapes))
    return Case(build(factory, seed, dtype), given)


def deep_chain(num_blocks: int, dtype: torch.dtype, seed: int) -> Sequential:
    """Alternating convolutional and residual blocks; 96 random ones would grow beyond four, so the last
    convolutions are scaled as training leaves them: closer to the zero that they start from."""

    def block(position: int) -> LiftingBlock:
        if position % 2:
            return LiftingBlock(ConvPredictor(3, 9, hidden_channels=8), ConvPredictor(9, 3, hidden_channels=8))
        small = {"hidden_channels": 8, "num_blocks": 1, "kernel_size": 3}
        return LiftingBlock(ResidualPredictor(3, 9, **small), ResidualPredictor(9, 3, **small))

    chain = build(lambda: Sequential(*(block(position) for position in range(num_blocks))), seed, dtype)
    assert isinstance(chain, Sequential)
    if num_blocks > 24:
        with torch.no_grad():
            for name, parameter in chain.named_parameters():
                if ".last." in name:
                    parameter.mul_(0.5)
    return chain


def flat_jacobian(module: Invertible, *given: Tensor) -> Tensor:
    """The Jacobian of a module as one square matrix: all bands in, all bands out, flattened and joined."""
    sizes, shapes = [x.numel() for x in given], [x.shape for x in given]

    def flat(joined: Tensor) -> Tensor:
        parts = joined.split(sizes)
        outputs = module(*(part.view(shape) for part, shape in zip(parts, shapes, strict=True)))
        return torch.cat([y.reshape(-1) for y in (outputs if isinstance(outputs, tuple) else (outputs,))])

    jacobian = torch.autograd.functional.jacobian(flat, torch.cat([x.reshape(-1) for x in given]))
    assert isinstance(jacobian, Tensor)
    return jacobian
