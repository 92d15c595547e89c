"""Law: nested chains of every structure train in each combination of memory modes as with "store".

If one cannot, it raises an error that says why.

A structure is drawn step by step. Each step fits the bands that the steps before it return, so chains split, merge and
nest, in both directions. Networks are drawn with dropout, norms with statistics, in-place layers, hooks, conditions and
parametrizations, inputs with different layouts in memory.
"""

import copy
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

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
    Parallel,
    PixelUnshuffle,
    Sequential,
    Split,
    Swap,
    exact,
    set_memory,
)
from liftlayers._bands import as_tuple
from liftlayers.memory.container import Memory, WithMemory
from tests.memory.helpers import MODES, Gradients, assert_close, grads, loss

Shapes = tuple[tuple[int, int], ...]  # channels and side of each band
Drawn = tuple[Invertible, Shapes]


class Conditioned(nn.Module):
    """A network that is scaled by a condition."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        y = self.network(x)
        return y if condition is None else y * condition


def norm(channels: int) -> ActNorm:
    """One that has seen its first batch, so that its inverse may come first."""
    layer = ActNorm(channels)
    layer(torch.eye(channels).repeat(4, 1, 1) * torch.arange(1.0, 5.0)[:, None, None])
    return layer


def smooth(inputs: int, outputs: int) -> nn.Module:
    """A network over lines without kinks: rounding decides on which side of a kink a zero lies."""
    return nn.Sequential(nn.Conv2d(inputs, 4, (1, 3), padding=(0, 1)), nn.Tanh(), nn.Conv2d(4, outputs, 1))


def _enlarge(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return 1.5 * output


class Structure:
    """Draws chains. `plain` ones have only steps that `exact` takes."""

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        self.draw, self.plain = random.Random(seed), plain

    def network(self, inputs: int, outputs: int) -> nn.Module:
        first, last = (
            nn.Conv2d(inputs, 4, 3, padding=1),
            nn.Conv2d(4, outputs, self.draw.choice([1, 3]), padding="same"),
        )
        middles: list[Callable[[], nn.Module]] = [nn.SiLU, nn.Tanh]
        if not self.plain:
            # Without a large eps, the statistics of two pixels would amplify rounding errors three hundred-fold.
            middles += [lambda: nn.Dropout(0.3), lambda: nn.BatchNorm2d(4, eps=1.0), lambda: nn.Dropout2d(0.3)]
            if self.draw.random() < 0.2:
                parametrizations.weight_norm(last)
        middle = [make() for make in self.draw.choices(middles, k=self.draw.randint(1, 2))]
        if self.draw.random() < 0.3:
            middle.insert(0, nn.ELU(inplace=True))
        network: nn.Module = nn.Sequential(first, *middle, last)
        if self.draw.random() < 0.15:
            network.register_forward_hook(_enlarge)
        return Conditioned(network) if self.draw.random() < 0.3 else network

    def chain(self, shapes: Shapes, depth: int) -> Drawn:
        """A chain of a few steps from bands of these shapes, and the shapes that it returns."""
        steps = []
        for _ in range(self.draw.randint(1, 4)):
            step, shapes = self.step(shapes, depth)
            steps.append(step)
        return Sequential(*steps, memory=self.mode()), shapes

    def mode(self) -> Memory:
        return self.draw.choice(MODES)  # type: ignore[return-value]

    def step(self, shapes: Shapes, depth: int) -> Drawn:
        if depth and self.draw.random() < 0.4:
            return self.nested(shapes, depth - 1)
        choices = self.of_one(*shapes[0]) if len(shapes) == 1 else self.of_two(*shapes) if len(shapes) == 2 else []
        return self.draw.choice(choices)() if choices else (Sequential(), shapes)

    def nested(self, shapes: Shapes, depth: int) -> Drawn:
        """A chain inside, its inverse, or a chain for each band."""
        kind = self.draw.choice(["chain", "there and back", "parallel"])
        if kind == "parallel" and len(shapes) > 1:
            inner = [self.keeping(shape, depth) for shape in shapes]
            return Parallel(*inner, memory=self.mode()), shapes
        step, returned = self.chain(shapes, depth)
        if kind != "there and back":
            return step, returned
        return Sequential(step, Inverse(copy.deepcopy(step)), memory=self.mode()), shapes

    def keeping(self, shape: tuple[int, int], depth: int) -> Invertible:
        """A chain from one band to one band of the same shape."""
        step, _ = self.chain((shape,), depth)
        return Sequential(step, Inverse(copy.deepcopy(step)))

    def of_one(self, channels: int, side: int) -> list[Callable[[], Drawn]]:
        half = (channels, side // 2), (3 * channels, side // 2)
        choices: list[Callable[[], Drawn]] = []
        if side % 2 == 0:
            choices += [lambda: (Haar(), half), lambda: (PixelUnshuffle(2), ((4 * channels, side // 2),))]
            if not self.plain:
                choices.append(lambda: (LearnedWavelet("5/3", network=smooth), half))
            if side % 4 == 0:
                choices.append(lambda: (self.pyramid(channels), (*self.quarter(channels, side), half[1])))
        if channels > 1:
            first = self.draw.randint(1, channels - 1)
            choices.append(lambda: (Split(first, channels - first), ((first, side), (channels - first, side))))
        if not self.plain:
            choices += [
                lambda: (InvertibleConv1x1(channels), ((channels, side),)),
                lambda: (norm(channels), ((channels, side),)),
            ]
        return choices

    def quarter(self, channels: int, side: int) -> Shapes:
        return (channels, side // 4), (3 * channels, side // 4)

    def pyramid(self, channels: int) -> LiftingPyramid:
        levels = [Sequential(Haar(), self.block(channels, 3 * channels), memory=self.mode()) for _ in range(2)]
        return LiftingPyramid(levels, memory=self.mode())

    def block(self, a: int, b: int) -> LiftingBlock:
        return LiftingBlock(self.network(a, b), self.network(b, a))

    def of_two(self, first: tuple[int, int], second: tuple[int, int]) -> list[Callable[[], Drawn]]:
        shapes, (a, side), (b, other) = (first, second), first, second
        if side != other:
            return [lambda: (Swap(), (second, first))]
        choices: list[Callable[[], Drawn]] = [
            lambda: (AdditiveCoupling(self.network(a, b)), shapes),
            lambda: (self.block(a, b), shapes),
            lambda: (Swap(), (second, first)),
            lambda: (Inverse(Split(a, b)), ((a + b, side),)),
        ]
        if b == 3 * a:
            choices.append(lambda: (Inverse(Haar()), ((a, 2 * side),)))
        if not self.plain:
            choices.append(lambda: (AffineCoupling(self.network(a, 2 * b), clamp=0.2), shapes))
        return choices

    def image(self, dtype: torch.dtype) -> Tensor:
        """An image, in one of several layouts, of numbers on a grid of 2^-8."""
        layouts: list[Callable[[Tensor], Tensor]] = [
            lambda x: x,
            lambda x: x.contiguous(memory_format=torch.channels_last),
            lambda x: x.mT.contiguous().mT,
            lambda x: torch.cat((x, x), dim=1)[:, :2],
        ]
        x = torch.randint(-64, 64, (2, 2, 8, 8), generator=torch.Generator().manual_seed(self.draw.randrange(2**31)))
        return self.draw.choice(layouts)((x / 64).to(dtype))


def trained(
    chain: Invertible, x: Tensor, condition: Tensor | None, *, input_trains: bool = True
) -> tuple[Gradients, list[Tensor]]:
    """All gradients of a training step, and the outputs and buffers after it."""
    torch.manual_seed(1)
    given = x.detach().requires_grad_(input_trains)
    given = given if given.stride() == x.stride() else x.requires_grad_(input_trains)
    options = {} if condition is None or not chain.conditional else {"condition": condition}
    outputs = as_tuple(chain(given, **options))
    loss(*outputs).backward()
    state = [*outputs, *chain.buffers()]
    return grads((given, *chain.parameters())), [tensor.detach().clone() for tensor in state]


def stored(chain: Invertible) -> Invertible:
    return set_memory(copy.deepcopy(chain), "store")


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 500, 50))
def test_nested_chains_train_as_with_store(start: int) -> None:
    for seed in range(start, start + 50):
        check_training(seed)


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_some_nested_chains_train_as_with_store(seed: int) -> None:
    check_training(seed)


def check_training(seed: int) -> None:
    torch.manual_seed(seed)
    structure = Structure(seed)
    chain, _ = structure.chain(((2, 8),), depth=3)
    chain = Sequential(chain, memory=structure.mode()).double()
    x = structure.image(torch.float64)
    condition = torch.tensor(0.5, dtype=torch.float64) if structure.draw.random() < 0.5 else None
    parameters = list(chain.parameters())
    for parameter in parameters[: structure.draw.randrange(len(parameters) + 1)] if seed % 2 else ():
        parameter.requires_grad_(structure.draw.random() < 0.1)
    input_trains = structure.draw.random() < 0.5 or not any(parameter.requires_grad for parameter in parameters)
    expected, state = trained(stored(chain), x, condition, input_trains=input_trains)
    found, same = trained(copy.deepcopy(chain), x, condition, input_trains=input_trains)
    assert_close(found, expected, 1e-6)
    for actual, trusted in zip(same, state, strict=True):
        assert torch.equal(actual, trusted), f"seed {seed}: {chain}"


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 200, 50))
def test_exact_chains_train_as_with_store_bit_for_bit(start: int) -> None:
    for seed in range(start, start + 50):
        check_exact(seed)


@pytest.mark.parametrize("seed", range(1000, 1005))
def test_some_exact_chains_train_as_with_store_bit_for_bit(seed: int) -> None:
    check_exact(seed)


def check_exact(seed: int) -> None:
    torch.manual_seed(seed)
    structure = Structure(seed, plain=True)
    inner, _ = structure.chain(((2, 8),), depth=2)
    chain = exact(inner, bits=12)
    x = structure.image(torch.float32)
    assert isinstance(chain, WithMemory)
    expected, state = trained(stored(chain), x, None)
    for memory in ("reversible", "checkpoint"):
        found, same = trained(set_memory(copy.deepcopy(chain), memory), x, None)  # type: ignore[arg-type]
        for name, gradient in expected.items():
            actual = found[name]
            assert (gradient is None) == (actual is None), f"seed {seed}: {name}"
            assert gradient is None or torch.equal(gradient, actual), f"seed {seed}: {name}"  # type: ignore[arg-type]
        assert all(map(torch.equal, same, state)), f"seed {seed}"
    with torch.no_grad():
        assert torch.equal(chain.inverse(*as_tuple(chain(x))), x), f"seed {seed}"  # type: ignore[arg-type]
