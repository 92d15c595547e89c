"""Drawn images, bands, layers of the registry and chains of them.

Tensors and parameters are built from a drawn seed, so that a failing example shrinks to a small shape and replays.
"""

from collections.abc import Callable

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    BiasFreePredictor,
    ConvPredictor,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    Predict,
    ResidualPredictor,
    Sequential,
    Update,
)
from tests.registry import REGISTRY, Network
from tests.tensors import Case, build, tensor

__all__ = [
    "Case",
    "bands",
    "build",
    "cases",
    "chains",
    "dtypes",
    "images",
    "memory_formats",
    "networks",
    "part_of_the_examples",
    "seeds",
    "tensor",
]

Shape = tuple[int, int, int]  # C, H, W of one band; the batch is common to all


def part_of_the_examples(part: int, *, least: int) -> settings:
    """For a law that runs on every layer: a part of the examples of the profile for each."""
    return settings(max_examples=max(least, settings().max_examples // part))


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**16 - 1)


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
def networks(draw: st.DrawFn) -> Network:
    """A kind of small network, with its options."""
    kind = draw(st.sampled_from(["convolution", "residual", "with bias", "without bias"]))
    if kind == "convolution":
        return lambda i, o: nn.Conv2d(i, o, 3, padding=1)
    if kind == "residual":
        num, dilation = draw(st.integers(0, 2)), draw(st.integers(1, 2))
        return lambda i, o: ResidualPredictor(i, o, hidden_channels=4, num_blocks=num, kernel_size=3, dilation=dilation)
    make = ConvPredictor if kind == "with bias" else BiasFreePredictor
    hidden, num = draw(st.integers(1, 6)), draw(st.integers(1, 2))
    return lambda i, o: make(i, o, hidden_channels=hidden, num_hidden=num)


@st.composite
def cases(
    draw: st.DrawFn, name: str, *, dtype: torch.dtype | None = None, largest: int = 6, batch: int | None = None
) -> Case:
    """A layer of the registry with drawn options and networks, and bands of up to `largest` pixels a side."""
    layer, numbers = REGISTRY[name], st.integers(1, 4 if largest > 2 else 2)
    a, b, network, seed = draw(numbers), draw(numbers), draw(networks()), draw(seeds())
    options = {option: draw(st.sampled_from(values)) for option, values in layer.options.items()}
    rank = draw(st.integers(0, 3)) if layer.any_rank else layer.rank
    sides = [layer.multiple * draw(st.integers(1, max(1, largest // layer.multiple))) for _ in range(rank)]
    kind, num = dtype or draw(dtypes), batch or draw(st.integers(1, 2))
    given = (tensor(seed + i, num, c, *sides, dtype=kind) for i, c in enumerate(layer.channels(a, b)))
    memory_format = draw(memory_formats) if rank == 2 else torch.contiguous_format
    module = build(lambda: layer.make(network, a, b, **options), seed, kind)
    assert isinstance(module, Invertible)
    return Case(module, tuple(x.contiguous(memory_format=memory_format) for x in given))


@st.composite
def _couplings(draw: st.DrawFn, first: int, second: int) -> Callable[[], Invertible]:
    """Factories of one step on two bands of the given numbers of channels."""
    across, back = draw(networks()), draw(networks())
    kinds: list[Callable[[], Invertible]] = [
        lambda: Predict(across(first, second)),
        lambda: Update(back(second, first)),
        lambda: LiftingBlock(across(first, second), back(second, first)),
        lambda: AdditiveCoupling(across(first, second)),
    ]
    make = draw(st.sampled_from(kinds))
    return (lambda: Inverse(make())) if draw(st.booleans()) else make


@st.composite
def _pyramids(draw: st.DrawFn, channels: int, levels: int) -> Callable[[], Invertible]:
    """Factories of pyramids of Haar transforms with up to one block a level."""
    blocks = [draw(st.none() | _couplings(channels, 3 * channels)) for _ in range(levels)]

    def make() -> LiftingPyramid:
        return LiftingPyramid([Sequential(Haar(), *([] if block is None else [block()])) for block in blocks])

    return make


def _split(shape: Shape, levels: int) -> tuple[Shape, ...]:
    """Shapes of the bands of a pyramid."""
    channels, height, width = shape
    details = [(3 * channels, height >> level, width >> level) for level in range(levels, 0, -1)]
    return ((channels, height >> levels, width >> levels), *details)


@st.composite
def _walk(
    draw: st.DrawFn, shapes: tuple[Shape, ...], steps: int, depth: int
) -> tuple[Callable[[], Sequential], tuple[Shape, ...]]:
    """Factories of chains of steps that each fit the bands of the step before, and the shapes of the last bands."""
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
    """Random compositions, nested two deep, of every kind of step, with the image or the two bands that they take."""
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
