"""The processes of a distributed run, one a device, as torchrun starts them. A run may also be a single process."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """The number of this process; process 0 writes files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """The number of processes of the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def group(device: torch.device) -> Iterator[torch.device]:
    """Joins the processes that torchrun started, if any; each process of a machine gets its own GPU.

    Args:
        device: The device to train on.
    """
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # the others wait while the first process decodes photos; the default of ten minutes may be too short
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=4))
    try:
        yield device
    finally:
        dist.destroy_process_group()


def averaging(step: nn.Module, *, unused_parameters: bool) -> nn.Module:
    """The same step, but its gradients are averaged over all processes.

    Args:
        step: A module whose output is a loss.
        unused_parameters: Whether some process may not use all of its parameters.
    """
    return step if count() == 1 else DistributedDataParallel(step, find_unused_parameters=unused_parameters)


def sharing(step: nn.Module, *, now: bool) -> AbstractContextManager[object]:
    """A context in which gradients are averaged over all processes only if `now`: with the last part of a batch."""
    return step.no_sync() if isinstance(step, DistributedDataParallel) and not now else nullcontext()


def mean(values: Tensor) -> Tensor:
    """The mean over all processes."""
    if count() > 1:
        dist.all_reduce(values)
        values = values / count()
    return values


def any_of(condition: bool, device: torch.device) -> bool:
    """Whether the condition holds in any process, so that all of them act alike."""
    return condition if count() == 1 else bool(mean(torch.tensor(float(condition), device=device)) > 0)


def wait() -> None:
    """Waits until every process has called it."""
    if dist.is_initialized():
        dist.barrier()
