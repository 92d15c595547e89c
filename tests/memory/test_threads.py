"""Law: threads that train one chain at once get all gradients, and the chain keeps its parameters."""

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from liftlayers import Sequential, set_memory
from tests.memory.helpers import SAVING, chain_of, loss, two_alike


@pytest.fixture
def _frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


class Meets(nn.Module):
    """Waits in each call, for a moment, until another thread is in the network too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.meet: Callable[[], None] = lambda: None

    def forward(self, x: Tensor) -> Tensor:
        self.meet()
        return torch.tanh(self.conv(x))


@pytest.mark.usefixtures("_frequent_switches")
@pytest.mark.parametrize("memory", SAVING)
def test_threads_train_one_chain(memory: str) -> None:
    """Every pass of every thread gets all gradients, and the chain keeps its parameters."""
    network, bands = Meets(), two_alike()
    chain = set_memory(chain_of(network, network, network), memory)  # type: ignore[arg-type]
    parameters = list(chain.parameters())
    expected = grads_of(chain, *bands)
    barrier = threading.Barrier(4)

    def meet() -> None:
        try:
            barrier.wait(timeout=0.01)
        except threading.BrokenBarrierError:
            barrier.reset()

    network.meet = meet
    wrong: list[int] = []

    def train(number: int) -> None:
        for _ in range(5):
            found = grads_of(chain, *bands)
            if not all(x is not None and torch.allclose(x, y) for x, y in zip(found, expected, strict=True)):
                wrong.append(number)

    threads = [threading.Thread(target=train, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(now is then for now, then in zip(chain.parameters(), parameters, strict=True))


def grads_of(chain: Sequential, *bands: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(*chain(*bands)), list(chain.parameters()), allow_unused=True)
