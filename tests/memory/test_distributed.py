"""Law: in every memory mode two processes that train on half a batch each average to the gradients of the batch."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from tests.memory.helpers import MODES, in_every_mode, loss, stack
from tests.strategies import tensor

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="needs torch.distributed with gloo"
)


def step(chain: nn.Module, images: slice) -> None:
    bands = (tensor(channels, 4, channels, 4, 4, dtype=torch.float64)[images] for channels in (1, 3))
    loss(*chain(*bands)).backward()


def train(rank: int, folder: str) -> None:
    """One of the two processes: saves the gradients of a step, and of two accumulated ones, in each mode."""
    store = FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    try:
        gradients: dict[str, list[list[Tensor | None]]] = {}
        half = slice(2 * rank, 2 * rank + 2)
        for memory in MODES:
            chain = stack(memory=memory).double()
            parallel = DistributedDataParallel(chain)
            step(parallel, half)
            once = [None if p.grad is None else p.grad.clone() for p in chain.parameters()]
            chain.zero_grad()
            with parallel.no_sync():
                step(parallel, half)
            step(parallel, half)
            gradients[memory] = [once, [p.grad for p in chain.parameters()]]
        torch.save(gradients, f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


def train_second(_: int, folder: str) -> None:
    torch.set_num_threads(1)
    train(1, folder)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[list[Tensor]]]]:
    """What both processes saved; this process is the first."""
    folder: Path = tmp_path_factory.mktemp("distributed")
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    if Path("/sys/class/net/lo").exists():  # so that no name of this machine needs to resolve
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
    second = spawn(train_second, (str(folder),), nprocs=1, join=False)
    assert second is not None
    try:
        train(0, str(folder))
        assert second.join(timeout=60)  # raises the error of the process
    finally:
        patch.undo()
        for process in second.processes:
            if process is not None:
                process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@in_every_mode
@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_are_those_of_the_full_batch(
    memory: str, steps: int, gradients: list[dict[str, list[list[Tensor]]]]
) -> None:
    whole = stack().double()
    for _ in range(steps):
        step(whole, slice(None))
    for rank in range(2):
        saved = gradients[rank][memory][steps - 1]
        for parameter, averaged in zip(whole.parameters(), saved, strict=True):
            assert parameter.grad is not None
            assert torch.allclose(averaged, parameter.grad, rtol=1e-10, atol=1e-14)
