"""Law: in every memory mode a training step starts from, and leaves behind, the same state as the plain loop.

State is the buffers, the random numbers, the training flags and autocast.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, LiftingBlock, Sequential, Swap
from liftlayers.testing import assert_same_gradients, randomise_
from tests.devices import on_each_device
from tests.memory.helpers import (
    Step,
    assert_trains_alike,
    direction,
    forward_step,
    in_every_direction,
    in_every_mode,
    leaves,
    loss,
    network,
    stack,
    with_memory,
)
from tests.memory.modules import Counts, CountsInNewBuffers, CountsUnnoticed, Own
from tests.strategies import tensor

# Random numbers and buffers


@on_each_device
@in_every_mode
@in_every_direction
def test_dropout_draws_the_same_masks(memory: str, step: Step, device: str) -> None:
    assert_trains_alike(stack(3, nn.Dropout), memory, step, device=device)


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "BatchNorm": lambda: nn.BatchNorm2d(4),
    "BatchNorm, cumulative": lambda: nn.BatchNorm2d(4, momentum=None),  # type: ignore[arg-type]
    "the same BatchNorm twice": lambda: nn.Sequential(*2 * [nn.BatchNorm2d(4)]),
    "InstanceNorm": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
    "counter in place": Counts,
    "counter in new buffers": CountsInNewBuffers,
    "counter through .data": CountsUnnoticed,
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
}


@on_each_device
@in_every_mode
@in_every_direction
@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES.keys())
def test_buffers_change_once_a_step(memory: str, step: Step, middle: Callable[[], nn.Module], device: str) -> None:
    assert_trains_alike(stack(2, middle), memory, step, device=device)


@in_every_mode
def test_batch_norm_counts_its_batches_once(memory: str) -> None:
    chain = with_memory(stack(2, MIDDLES["BatchNorm"]), memory)
    for _ in range(3):
        forward_step(chain, *leaves())
    counts = [b.item() for name, b in chain.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts == [3] * 4


@in_every_mode
def test_two_passes_before_the_backward(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        first, second = loss(*chain(approx, detail)), loss(*chain(approx * 2, detail))
        first.backward()
        second.backward()

    assert_trains_alike(stack(2, Counts, nn.Dropout), memory, step)


@in_every_mode
@pytest.mark.parametrize("middle", [nn.Identity, nn.Dropout, lambda: nn.BatchNorm2d(4), Counts])
def test_backward_twice(memory: str, middle: Callable[[], nn.Module]) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*chain(approx, detail))
        total.backward(retain_graph=True)
        total.backward()

    assert_trains_alike(stack(2, middle), memory, step)


# Training flags


@in_every_mode
def test_evaluation_between_forward_and_backward_changes_nothing(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*chain(approx, detail))
        with torch.no_grad():
            chain.eval()(approx, detail)
        total.backward()
        assert not any(module.training for module in chain.modules())

    assert_trains_alike(stack(2, MIDDLES["BatchNorm"], nn.Dropout), memory, step)


# Autocast and dtypes


@on_each_device
@in_every_mode
@in_every_direction
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_with_backward_outside(memory: str, step: Step, dtype: torch.dtype, device: str) -> None:
    """Off by less than one rounding of the low precision, and bit-equal where bands are not rebuilt.

    Rebuilt bands differ by 1e-7. Few inputs of a network are so close to a tie that this changes how they are rounded.
    Without the saved autocast state, in float32, the error would be 5e-2.
    """

    def under_autocast(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        with torch.autocast(device, dtype):
            total = loss(*direction(chain, step)(approx, detail))
        total.backward()

    tolerance = torch.finfo(dtype).eps / 2 if memory == "reversible" else 0.0
    assert_trains_alike(stack(6), memory, under_autocast, tolerance, torch.float32, device)


@in_every_mode
def test_autocast_with_the_network_used_again(memory: str) -> None:
    """Autocast caches a weight's low-precision copy, which must stay connected to the weight inside the chain."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            y = chain(approx, detail)
            block = chain[0]
            assert isinstance(block, LiftingBlock)
            total = loss(*y) + loss(block.predict.network(approx))
        total.backward()

    assert_trains_alike(stack(), memory, step, 2**-7, torch.float32)


@in_every_mode
@in_every_direction
def test_autocast_with_a_step_that_is_inverted_first(memory: str, step: Step) -> None:
    """The inverse is evaluated without gradients; autocast must not reuse its copies of weights for the gradient."""

    def under_autocast(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            total = loss(*direction(chain, step)(approx, detail))
        total.backward()

    chain = randomise_(Sequential(Own(network(1, 3)), Own(network(1, 3))))
    assert_trains_alike(chain, memory, under_autocast, 2**-7, torch.float32)


@pytest.mark.filterwarnings("ignore:a chain with memory='reversible' rebuilt:RuntimeWarning")
@in_every_mode
@in_every_direction
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 1e-2), (torch.bfloat16, 6e-2)])
def test_bands_and_parameters_of_another_dtype(memory: str, step: Step, dtype: torch.dtype, tolerance: float) -> None:
    """Bands in bfloat16 are rebuilt to three digits; "checkpoint" keeps them and is exact."""
    assert_trains_alike(stack(), memory, step, tolerance if memory == "reversible" else 0.0, dtype)


class Averages(nn.Module):
    """A network that subtracts a running mean, which it replaces in every call."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x) - self.mean
        self.mean = 0.9 * self.mean + x.detach().mean(0)
        return y.tanh()


@in_every_mode
def test_a_network_used_three_times_replaces_its_buffer(memory: str) -> None:
    network = randomise_(Averages()).double()
    steps = [step for _ in range(3) for step in (AdditiveCoupling(network), Swap())]
    chain = Sequential(*steps)
    bands = tensor(0, 3, 2, dtype=torch.float64), tensor(1, 3, 2, dtype=torch.float64)
    assert_same_gradients(chain, with_memory(chain, memory), *bands, tolerance=1e-10)
