"""A compiled training step, without a graph break, is that of the plain loop in every memory mode."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from liftlayers import Inverse, LiftingBlock, Sequential
from liftlayers.testing import randomise_
from tests.strategies import tensor

Memory = Literal["store", "reversible", "checkpoint"]

# torch's own compiler warns of what it uses itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, outputs, 3, padding=1))


def stack(memory: Memory) -> Sequential:
    blocks = [LiftingBlock(network(1, 3), network(3, 1)) for _ in range(2)]
    return randomise_(Sequential(*blocks, memory=memory).double())


def gradients(memory: Memory, backend: str | None, *, backwards: bool) -> list[Tensor]:
    chain = stack(memory)
    run = Inverse(chain) if backwards else chain

    def loss(*bands: Tensor) -> Tensor:
        return torch.stack([(y.sin() * y).mean() for y in run(*bands)]).sum()

    bands = [tensor(c, 2, c, 4, 4, dtype=torch.float64).requires_grad_() for c in (1, 3)]
    if backend is not None:
        torch._dynamo.reset()
        loss = torch.compile(loss, fullgraph=True, backend=backend)
    total = loss(*bands)
    total.backward()
    found = [total.detach(), *(x.grad for x in (*bands, *chain.parameters()))]
    return [x for x in found if x is not None]


def assert_compiles(memory: Memory, backend: str, *, backwards: bool) -> None:
    expected = gradients("store", None, backwards=backwards)
    actual = gradients(memory, backend, backwards=backwards)
    assert len(actual) == len(expected) == 1 + 2 + 16
    for x, y in zip(actual, expected, strict=True):
        assert torch.allclose(x, y, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
@pytest.mark.parametrize("backwards", [False, True])
def test_training_step_compiles_in_one_graph(memory: Memory, backwards: bool) -> None:
    assert_compiles(memory, "aot_eager", backwards=backwards)


@pytest.mark.slow
def test_training_step_compiles_with_inductor() -> None:
    assert_compiles("reversible", "inductor", backwards=False)
