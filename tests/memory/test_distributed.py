"""Law: in every memory mode two processes that train on half a batch each average to the gradients of the batch."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_module, distribute_tensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from liftlayers import Sequential
from tests.memory.helpers import MODES, chain_of, in_every_mode, in_saving_modes, loss, stack, two_alike, with_memory
from tests.strategies import tensor

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="needs torch.distributed with gloo"
)


SHARDS_ON_CPU = int(torch.__version__.split(".")[1]) > 6  # torch 2.6 asks for streams of a GPU
SHARDED = pytest.param("sharded", marks=pytest.mark.skipif(not SHARDS_ON_CPU, reason="needs torch 2.7"))


def step(chain: nn.Module, images: slice, dtype: torch.dtype = torch.float64) -> None:
    bands = (tensor(channels, 4, channels, 4, 4, dtype=dtype)[images] for channels in (1, 3))
    loss(*chain(*bands)).backward()


def train(rank: int, folder: str) -> None:
    """One of the two processes: saves the gradients of a step, and of two accumulated ones, in each mode."""
    store = FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    try:
        gradients: dict[str, dict[str, list[Tensor | None]]] = {}
        half, mesh = slice(2 * rank, 2 * rank + 2), init_device_mesh("cpu", (2,))
        for memory in MODES:
            chain = stack(memory=memory).double()
            parallel = DistributedDataParallel(chain)
            step(parallel, half)
            once = [None if p.grad is None else p.grad.clone() for p in chain.parameters()]
            chain.zero_grad()
            with parallel.no_sync():
                step(parallel, half)
            step(parallel, half)
            twice = [p.grad for p in chain.parameters()]
            gradients[memory] = {"once": once, "accumulated": twice}
            if SHARDS_ON_CPU:
                sharded = stack(memory=memory).double()
                fully_shard(sharded, mesh=mesh)
                step(sharded, half)
                gradients[memory]["sharded"] = [p.grad.full_tensor() for p in sharded.parameters()]  # type: ignore[union-attr]
        torch.save(gradients, f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


def train_second(_: int, folder: str) -> None:
    torch.set_num_threads(1)
    train(1, folder)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, list[Tensor]]]]:
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
@pytest.mark.parametrize("way", ["once", "accumulated", SHARDED])
def test_gradients_are_those_of_the_full_batch(
    memory: str, way: str, gradients: list[dict[str, dict[str, list[Tensor]]]]
) -> None:
    """With DistributedDataParallel, after one backward or two, and with a chain that FSDP shards as a whole."""
    whole = stack().double()
    for _ in range(2 if way == "accumulated" else 1):
        step(whole, slice(None))
    for rank in range(2):
        for parameter, averaged in zip(whole.parameters(), gradients[rank][memory][way], strict=True):
            assert parameter.grad is not None
            assert torch.allclose(averaged, parameter.grad, rtol=1e-10, atol=1e-14)


def shard_network(chain: Sequential) -> None:
    fully_shard(chain[1].predict.network)  # type: ignore[union-attr]


def shard_coupling(chain: Sequential) -> None:
    fully_shard(chain[1].update)  # type: ignore[union-attr]


def shard_block(chain: Sequential) -> None:
    fully_shard(chain[0])


def wrap_network(chain: Sequential) -> None:
    step = chain[1].predict
    step.network = FullyShardedDataParallel(  # type: ignore[union-attr]
        step.network,  # type: ignore[union-attr]
        sharding_strategy=ShardingStrategy.NO_SHARD,
        device_id=torch.device("cpu"),
    )


@pytest.fixture
def _alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one process."""
    distributed.init_process_group("gloo", store=FileStore(f"{tmp_path}/store", 1), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*NO_SHARD:FutureWarning", "ignore:.*FullyShardedDataParallel:FutureWarning")
@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("shard", [shard_network, shard_coupling, shard_block, wrap_network])
@in_saving_modes
def test_a_part_that_is_sharded_on_its_own_is_refused(shard: Callable[[Sequential], None], memory: str) -> None:
    chain = stack(memory=memory)
    shard(chain)
    with pytest.raises(RuntimeError, match=r"FSDP shards a part of it, as its FSDP|as its FullyShardedDataParallel"):
        step(chain.float(), slice(2), torch.float32)


@pytest.mark.skipif(not SHARDS_ON_CPU, reason="needs torch 2.7, whose DTensor has views")
@pytest.mark.usefixtures("_alone")
@in_every_mode
def test_bands_may_be_distributed_tensors(memory: str) -> None:
    chain = chain_of(nn.Linear(6, 6), nn.Linear(6, 6))
    loss(*chain(*two_alike())).backward()
    mesh = init_device_mesh("cpu", (1,))
    parallel = distribute_module(with_memory(chain, memory), mesh)
    loss(*parallel(*(distribute_tensor(band, mesh, [Shard(0)]) for band in two_alike()))).backward()
    for parameter, distributed_one in zip(chain.parameters(), parallel.parameters(), strict=True):
        assert isinstance(distributed_one.grad, DTensor)
        torch.testing.assert_close(distributed_one.grad.full_tensor(), parameter.grad)
