"""Law: a reversible chain keeps the input of a step that it must not rebuild; gradients are those of the plain loop.

Such a step uses a tensor with a graph that is no parameter, draws random numbers twice, or has complex bands.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Inverse,
    Invertible,
    LiftingPyramid,
    Parallel,
    Sequential,
    Split,
    Update,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import randomise_
from tests.memory.helpers import (
    MODES,
    Gradients,
    Step,
    assert_close,
    assert_trains_alike,
    block,
    grads,
    in_both_directions,
    in_every_direction,
    in_every_mode,
    leaves,
    loss,
    stack,
    with_memory,
)
from tests.memory.modules import Counts, Fourier
from tests.strategies import tensor

Bands = tuple[Tensor, ...]

# Tensors that are no parameters


class Weighted(nn.Module):
    """Multiplies by a number that is no parameter of its own."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, 3, 1, 1) * self.weight


class Buffered(Weighted):
    """The same, with the number in a buffer."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        del self.weight
        self.register_buffer("weight", weight)


@pytest.mark.parametrize("kind", [Weighted, Buffered])
@in_both_directions
def test_weights_that_another_network_computes(kind: type[Weighted], backwards: bool) -> None:
    found = [_gradients_around(kind, memory, backwards=backwards) for memory in MODES]
    assert found[0]["0"] is not None
    for judged in found[1:]:
        assert_close(judged, found[0])


def _gradients_around(kind: type[Weighted], memory: Any, *, backwards: bool) -> Gradients:
    """Of a number outside the chain, of its input and of all parameters.

    The step that uses the number stands between two blocks that are rebuilt.
    """
    z = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    before, after = (randomise_(block(), seed) for seed in (1, 2))
    chain = Sequential(before, AdditiveCoupling(kind(z * 3)), after, memory=memory).double()
    bands = leaves(torch.float64)
    loss(*(chain.inverse if backwards else chain)(*bands)).backward()
    return grads((z, *bands, *chain.parameters()))


@in_every_mode
def test_weights_computed_again_for_every_pass(memory: Any) -> None:
    """Each pass is differentiated with the weight that it had."""
    z = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    coupling = AdditiveCoupling(Weighted(z * 3))
    chain = Sequential(coupling, coupling, Inverse(Split(1, 3)), Split(1, 3), memory=memory)
    bands = leaves(torch.float64)
    first = loss(*chain(*bands))
    coupling.network.weight = z.square()  # type: ignore[assignment]
    (first + loss(*chain(*bands))).backward()
    expected = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    torch.stack(
        [loss(bands[0], bands[1] + 2 * bands[0].repeat(1, 3, 1, 1) * w) for w in (expected * 3, expected.square())]
    ).sum().backward()
    assert torch.allclose(z.grad, expected.grad)  # type: ignore[arg-type]


@in_every_mode
def test_replicas_of_data_parallel(memory: str) -> None:
    """Their parameters are plain tensors whose graphs lead back to the parameters of the original module."""
    chain = with_memory(stack().double(), memory)

    def replica(module: nn.Module) -> nn.Module:
        copied = module._replicate_for_data_parallel()
        for name, parameter in module._parameters.items():
            setattr(copied, name, parameter * 1)  # type: ignore[operator]
        for name, child in module._modules.items():
            setattr(copied, name, replica(child))  # type: ignore[arg-type]
        return copied

    bands = leaves(torch.float64)
    loss(*replica(chain)(*bands)).backward()
    plain, others = with_memory(chain, "store"), leaves(torch.float64)
    loss(*plain(*others)).backward()
    assert_close(grads((*bands, *chain.parameters())), grads((*others, *plain.parameters())))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@in_every_mode
@in_every_direction
def test_old_weight_norm(memory: str, step: Step) -> None:
    """Its hook leaves the weight, which has a graph, as a plain attribute."""

    def make(inputs: int, outputs: int) -> nn.Module:
        return weight_norm(nn.Conv2d(inputs, outputs, 3, padding=1))

    found = []
    for mode in ("store", memory):
        torch.manual_seed(0)
        chain, bands = Sequential(*(block(make) for _ in range(2))).double(), leaves(torch.float64)
        chain.memory = mode  # type: ignore[assignment]
        for _ in range(2):
            step(chain, *bands)
        found.append(grads((*bands, *chain.parameters())))
    assert_close(found[1], found[0])


# Random numbers and buffers


class Two(Invertible):
    """A step of a user that holds two couplings."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.first, self.second = AdditiveCoupling(networks[0]), Update(networks[1])

    def forward(self, a: Tensor, b: Tensor) -> Bands:
        return self.second(*self.first(a, b))

    def inverse(self, a: Tensor, b: Tensor) -> Bands:
        return self.first.inverse(*self.second.inverse(a, b))


def drops(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.Dropout(0.5))


def pyramid() -> Sequential:
    return Sequential(LiftingPyramid([Sequential(Haar(), block(drops)), Sequential(Haar(), block(drops))]))


def parallel() -> Sequential:
    branch = Sequential(Haar(), block(drops), Inverse(Haar()))
    return Sequential(Split(1, 1), Parallel(branch, copy.deepcopy(branch)))


def exactly() -> Sequential:
    return Sequential(exact(Sequential(Haar(), block(drops))), block())


def own() -> Sequential:
    return Sequential(Haar(), block(drops), Two(drops(1, 3), drops(3, 1)), block(drops))


def counting() -> Sequential:
    counts = nn.Sequential(nn.Conv2d(1, 1, 1), Counts())  # shared, so that each call sees another number
    return Sequential(Split(1, 1), Two(counts, counts))


@pytest.mark.parametrize("make", [pyramid, parallel, exactly, own, counting])
@in_both_directions
def test_steps_that_draw_twice_see_the_same_numbers_again(make: Callable[[], Sequential], backwards: bool) -> None:
    chain = randomise_(make()).double()
    image = tensor(0, 2, 2 if isinstance(chain[0], Split) else 1, 8, 8).double()
    given = as_tuple(copy.deepcopy(chain)(image)) if backwards else (image,)
    found = []
    for memory in ("store", "reversible"):
        judged = with_memory(chain, memory)
        bands = [x.detach().clone().requires_grad_() for x in given]
        torch.manual_seed(1)
        loss(*as_tuple((judged.inverse if backwards else judged)(*bands))).backward()
        found.append(grads((*bands, *judged.parameters())))
    assert_close(found[1], found[0])


# Complex numbers


class Phase(Invertible):
    """Turns complex numbers by an angle that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.exp(1j * self.angle)

    def inverse(self, x: Tensor) -> Tensor:
        return x * torch.exp(-1j * self.angle)


class Halves(Invertible):
    """One complex band to its real and imaginary part."""

    def forward(self, x: Tensor) -> Bands:
        return x.real, x.imag

    def inverse(self, real: Tensor, imag: Tensor) -> Tensor:
        return torch.complex(real, imag)


@in_every_mode
def test_complex_bands(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        loss(*chain(approx)).backward()
        loss(*chain[:2](approx).abs().split(1)).backward()  # type: ignore[union-attr]
        (back,) = as_tuple(chain[1:].inverse(detail[:, :1], detail[:, 1:2]))  # type: ignore[union-attr]
        loss(back.abs()).backward()

    assert_trains_alike(Sequential(Fourier(), Phase(), Halves()), memory, step)
