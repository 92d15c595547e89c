"""Shared by the tests of memory modes: chains to train, and the comparison of a training step with the plain loop."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Inverse, LiftingBlock, Sequential, Swap
from liftlayers._bands import as_tuple
from liftlayers.testing import randomise_
from tests.strategies import tensor

MODES = ("store", "reversible", "checkpoint")
SAVING = ("reversible", "checkpoint")

Gradients = dict[str, Tensor | None]
Step = Callable[..., None]  # a training step: takes a chain and two bands

in_every_mode = pytest.mark.parametrize("memory", MODES)
in_saving_modes = pytest.mark.parametrize("memory", SAVING)
in_both_directions = pytest.mark.parametrize("backwards", [False, True])


# Chains


def network(inputs: int, outputs: int, *middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, 4, 3, padding=1), *middle, nn.SiLU(), nn.Conv2d(4, outputs, 3, padding=1))


def block(make: Callable[..., nn.Module] = network) -> LiftingBlock:
    """A block on bands of 1 and 3 channels."""
    return LiftingBlock(make(1, 3), make(3, 1))


def stack(
    depth: int = 2, *middle: Callable[[], nn.Module], make: Callable[..., nn.Module] = network, memory: Any = "store"
) -> Sequential:
    """Blocks on bands of 1 and 3 channels; each network gets new modules in its middle."""

    def with_middle(inputs: int, outputs: int) -> nn.Module:
        return make(inputs, outputs, *(m() for m in middle))

    return randomise_(Sequential(*(block(with_middle) for _ in range(depth)), memory=memory))


def with_memory(module: Sequential, memory: Any) -> Sequential:
    """A copy of a chain in the given memory mode."""
    module = copy.deepcopy(module)
    module.memory = memory
    return module


def chain_of(*networks: nn.Module) -> Sequential:
    """Couplings with these networks, each on the band that the one before has changed."""
    steps = [step for network in networks for step in (AdditiveCoupling(network), Swap())]
    return randomise_(Sequential(*steps)).double()


def two_alike(channels: int = 4) -> tuple[Tensor, Tensor]:
    return tensor(0, 2, channels, 6, 6, dtype=torch.float64), tensor(1, 2, channels, 6, 6, dtype=torch.float64)


# Bands


def two_bands() -> tuple[Tensor, Tensor]:
    return tensor(1, 2, 1, 5, 5), tensor(2, 2, 3, 5, 5)


def leaves(dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[Tensor, Tensor]:
    approx, detail = two_bands()
    return approx.to(device, dtype).requires_grad_(), detail.to(device, dtype).requires_grad_()


def loss(*bands: Tensor) -> Tensor:
    """Not linear, so that a gradient depends on the outputs, and different for any two numbers."""
    return torch.stack([(y.sin() * y).mean() for y in bands]).sum()


# Training steps


def forward_step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
    loss(*chain(approx, detail)).backward()


def inverse_step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
    loss(*chain.inverse(approx, detail)).backward()


def step_inside_inverse(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
    loss(*Inverse(chain)(approx, detail)).backward()


DIRECTIONS: dict[str, Step] = {"forward": forward_step, "inverse": inverse_step, "Inverse": step_inside_inverse}
in_every_direction = pytest.mark.parametrize("step", DIRECTIONS.values(), ids=DIRECTIONS.keys())


def direction(chain: Sequential, step: Step) -> Callable[..., Any]:
    """The function that a step of `DIRECTIONS` calls."""
    return {forward_step: chain, inverse_step: chain.inverse, step_inside_inverse: Inverse(chain)}[step]


def gradients_of(chain: nn.Module, step: Step, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Gradients:
    """Runs a training step and returns every `grad` after it."""
    torch.manual_seed(0)
    approx, detail = leaves(dtype, device)
    step(chain.to(device, dtype), approx, detail)
    return {"approx": approx.grad, "detail": detail.grad} | {name: p.grad for name, p in chain.named_parameters()}


def grads(tensors: Iterable[Tensor]) -> Gradients:
    """The `grad` of tensors, by position."""
    return {str(position): x.grad for position, x in enumerate(tensors)}


# Comparisons


def assert_close(actual: Gradients, expected: Gradients, tolerance: float = 1e-10) -> None:
    """Compares with the norm of each gradient, or with the largest norm where a gradient is only rounding."""
    assert actual.keys() == expected.keys()
    largest = max((float(g.norm()) for g in expected.values() if g is not None), default=0.0)
    for name, trusted in expected.items():
        judged = actual[name]
        assert (trusted is None) == (judged is None), name
        if trusted is not None and judged is not None:
            error = float((judged - trusted).norm())
            assert error <= tolerance * max(float(trusted.norm()), 1e-3 * largest), (name, error)


def assert_trains_alike(
    chain: Sequential,
    memory: str,
    step: Step,
    tolerance: float = 1e-10,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> None:
    """A training step leaves the gradients, buffers and random state that the plain loop leaves.

    The chain keeps its own parameters. In float64 an error is clearly larger than rounding.
    """
    plain, judged = with_memory(chain, "store").to(device), with_memory(chain, memory).to(device)
    expected = gradients_of(plain, step, dtype, device)
    random_state, own = _random_state(device), list(judged.parameters())
    actual = gradients_of(judged, step, dtype, device)
    assert all(now is then for now, then in zip(judged.parameters(), own, strict=True))
    assert torch.equal(_random_state(device), random_state)
    assert_close(actual, expected, tolerance)
    for (name, buffer), (_, trusted) in zip(judged.named_buffers(), plain.named_buffers(), strict=True):
        assert torch.equal(buffer, trusted), name


def _random_state(device: str) -> Tensor:
    states = [torch.get_rng_state()] + ([torch.cuda.get_rng_state()] if device == "cuda" else [])
    return torch.cat(states)


def assert_same_tensors(actual: Any, expected: Any) -> None:
    assert all(torch.equal(x, y) for x, y in zip(as_tuple(actual), as_tuple(expected), strict=True))
