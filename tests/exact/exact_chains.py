"""Shared by the tests of exact chains: chains to make exact, and comparisons of bits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Exact,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    Sequential,
    ToGrid,
    Update,
    VolumePreserving,
)
from liftlayers._bands import as_tuple
from liftlayers.chains.parallel import Parallel
from tests.strategies import tensor

Bands = tuple[Tensor, ...]
NUM_CHANNELS, HIDDEN = 12, 32
SLOW = pytest.mark.slow
casts = pytest.mark.parametrize("cast", [None, torch.bfloat16, pytest.param(torch.float16, marks=SLOW)], ids=str)


def with_casts(names: str, *cases: tuple[object, ...]) -> pytest.MarkDecorator:
    """Every case with every cast; chains of 96 blocks with a cast are slow, since CPUs emulate low precision."""
    params = [
        pytest.param(*case, cast, marks=[SLOW] * (cast == torch.float16 or (96 in case and cast is not None)))
        for case in cases
        for cast in (None, torch.bfloat16, torch.float16)
    ]
    return pytest.mark.parametrize(f"{names},cast", params, ids=str)


class Thrice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((3 * x, 3 * x, 3 * x), dim=1)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Swap(VolumePreserving):
    exact_on_grid = True

    def forward(self, a: Tensor, b: Tensor) -> Bands:
        return b, a

    def inverse(self, a: Tensor, b: Tensor) -> Bands:
        return b, a


class Join(VolumePreserving):
    """Joins the bands of a Haar transform."""

    exact_on_grid = True

    def forward(self, a: Tensor, d: Tensor) -> Tensor:
        return torch.cat((a, d), dim=1)

    def inverse(self, x: Tensor) -> Bands:
        return x.split((x.shape[1] // 4, x.shape[1] - x.shape[1] // 4), dim=1)


class Conditioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
        return self.mix(torch.cat((x, condition.expand_as(x)), dim=1))


def convolutions(gain: float, channels: tuple[int, int] = (NUM_CHANNELS, NUM_CHANNELS)) -> nn.Sequential:
    last = nn.Conv2d(HIDDEN, channels[1], 3, padding=1)
    with torch.no_grad():
        last.weight.mul_(gain)
    first = nn.Conv2d(channels[0], HIDDEN, 3, padding=1)
    return nn.Sequential(first, nn.LeakyReLU(), nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1), nn.LeakyReLU(), last)


def stack(depth: int, gain: float = 1.0, channels: tuple[int, int] = (NUM_CHANNELS, NUM_CHANNELS)) -> Sequential:
    """Blocks y1 = x1 + F(x2), y2 = x2 + G(y1), initialised by PyTorch, with a gain on the last convolutions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        steps: list[Invertible] = []
        for _ in range(depth):
            steps += [
                Update(convolutions(gain, (channels[1], channels[0]))),
                AdditiveCoupling(convolutions(gain, channels)),
            ]
    return Sequential(*steps)


def pair(size: int, batch: int = 2, channels: tuple[int, int] = (NUM_CHANNELS, NUM_CHANNELS)) -> Bands:
    return tuple(tensor(i, batch, c, size, size) for i, c in enumerate(channels))


@contextmanager
def autocast(dtype: torch.dtype | None) -> Iterator[None]:
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        yield


def same(first: Tensor | Bands, second: Tensor | Bands) -> bool:
    """Whether all bits are the same, signs of zeros too."""
    a, b = as_tuple(first), as_tuple(second)
    return len(a) == len(b) and all(
        torch.equal(x.contiguous().view(torch.uint8), y.contiguous().view(torch.uint8))
        for x, y in zip(a, b, strict=True)
    )


def rounded(bands: Bands, bits: int = 16) -> Bands:
    return as_tuple(ToGrid(bits)(*bands))


@torch.no_grad()
def assert_exact(chain: Exact, *bands: Tensor, bits: int = 16) -> Bands:
    """Asserts the promise in both directions and returns the outputs."""
    outputs = as_tuple(chain(*bands))
    assert same(as_tuple(chain.inverse(*outputs)), rounded(bands, bits))
    other = tuple(y + 0.3 * torch.rand_like(y) for y in outputs)  # not what the chain returned
    back = as_tuple(chain.inverse(*other))
    again = as_tuple(chain(*back))
    assert same(as_tuple(chain.inverse(*again)), back)
    for y, z in zip(other, again, strict=True):
        assert float((y - z).abs().max()) <= 2.0 ** (6 - bits)
    return outputs


def blocks(number: int) -> list[Invertible]:
    networks = ((convolutions(2, (4, 12)), convolutions(2, (12, 4))) for _ in range(number))
    return [LiftingBlock(predict, update) for predict, update in networks]


def on_image(number: int) -> Sequential:
    return Sequential(Haar(), *blocks(number), Inverse(Haar()))


def hiding() -> Sequential:
    """From two images of three channels to two images, with coupled bands."""
    bands = Parallel(*[Sequential(Haar(), Join())] * 2)
    return Sequential(bands, *stack(2), Inverse(bands))


# Of an image with four channels. Where steps share a network, "store" sums its gradients in autocast's dtype.
IMAGE_CHAINS: dict[str, Callable[[], Invertible]] = {
    "Haar first": lambda: Sequential(Haar(), *blocks(2)),
    "Haar at both ends": lambda: on_image(2),
    "images to images, twice": lambda: Sequential(on_image(1), on_image(1)),
    "pyramid": lambda: LiftingPyramid([Sequential(Haar(), *blocks(1)) for _ in range(3)]),
    "there and back": lambda: Sequential(
        LiftingPyramid([Sequential(Haar(), *blocks(1)), Haar()]),
        Inverse(LiftingPyramid([Sequential(Haar(), *blocks(1)), Sequential(Haar(), *blocks(1))])),
    ),
    "pyramids in a level": lambda: LiftingPyramid(
        [Sequential(LiftingPyramid([Haar()]), Inverse(LiftingPyramid([Haar()])), Haar(), *blocks(1)), Haar()]
    ),
}


def gradients(chain: Invertible, bands: Bands, cast: torch.dtype | None, *, inverse: bool = False) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in bands]
    with autocast(cast):
        outputs = as_tuple(chain.inverse(*leaves) if inverse else chain(*leaves))
        total = torch.stack([(y * tensor(9, *y.shape)).sum() for y in outputs]).sum()
    return list(torch.autograd.grad(total, [*leaves, *chain.parameters()]))
