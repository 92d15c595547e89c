"""Law: a training step compiled for CUDA graphs has the outputs and the gradients of the eager one, in every mode.

The mode "reduce-overhead" of `torch.compile` records CUDA graphs. On a CPU it compiles the same graphs of operations,
without recording them.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Sequential, Update, exact
from liftlayers.testing import randomise_
from tests.memory.helpers import MODES, loss
from tests.strategies import tensor


def chain_in(mode: str) -> nn.Module:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))

    chain = randomise_(Sequential(AdditiveCoupling(network()), Update(network())))
    chain.memory = "reversible" if mode == "exact" else mode  # type: ignore[assignment]
    return exact(chain, bits=16) if mode == "exact" else chain


def outputs_and_gradients(run: Callable[..., Any], chain: nn.Module, seed: int) -> list[Tensor]:
    chain.zero_grad()
    bands = [tensor(seed + number, 2, 3).requires_grad_() for number in range(2)]
    outputs = run(*bands)
    loss(*outputs).backward()
    gradients = [x.grad for x in (*bands, *chain.parameters())]
    return [x.detach().clone() for x in (*outputs, *gradients) if x is not None]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("mode", [*MODES, "exact"])
def test_a_training_step_compiled_for_cuda_graphs(mode: str) -> None:
    """An exact chain may round to the next number of its grid, since the compiler changes the sums of its networks."""
    torch._dynamo.reset()
    chain = chain_in(mode)
    compiled = torch.compile(chain, mode="reduce-overhead", fullgraph=True)
    for seed in range(2):
        expected = outputs_and_gradients(chain, chain, seed)
        actual = outputs_and_gradients(compiled, chain, seed)
        assert len(actual) == len(expected) == 2 + 2 + 8
        for x, y in zip(actual, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-5, atol=2**-15 if mode == "exact" else 1e-6)
