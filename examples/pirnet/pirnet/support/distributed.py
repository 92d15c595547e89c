"""The processes of a distributed run, one a device, as torchrun starts them; a run of one process is a special case."""

__all__ = ["any_of", "count", "group", "mean", "rank", "wait"]

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    """The number of this process; 0 is the one that writes files and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def group(device: torch.device) -> Iterator[torch.device]:
    """Joins the processes that torchrun started, if it did; of GPUs, each process of a machine gets its own.

    Args:
        device: Where to train.
    """
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # the others wait while the first process decodes photos: ten minutes, the default, may not do
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=4))
    try:
        yield device
    finally:
        dist.destroy_process_group()


def mean(values: Tensor) -> Tensor:
    """The mean over all processes."""
    if count() > 1:
        dist.all_reduce(values)
        values = values / count()
    return values


def any_of(condition: bool, device: torch.device) -> bool:
    """Whether it holds in any process, so that all of them do the same."""
    return condition if count() == 1 else bool(mean(torch.tensor(float(condition), device=device)) > 0)


def wait() -> None:
    """Until every process has come this far."""
    if dist.is_initialized():
        dist.barrier()
