"""The state of random generators, to draw the same numbers again or to leave no trace."""

__all__ = ["RandomState"]

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RandomState:
    """The present state of the CPU's random generator, and of those of the devices of some tensors.

    Other GPUs of the machine are not asked. Apple's GPU has no context `torch.mps.device`, which the functions of
    `torch.utils.checkpoint` for this need.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.cpu = torch.get_rng_state()
        self.digits = ctypes.string_at(self.cpu.data_ptr(), self.cpu.numel())  # compares faster, and in fake modes too
        devices = {tensor.device for tensor in tensors if not (tensor.is_cpu or tensor.is_meta)}
        self.others = {device: torch.get_device_module(device).get_rng_state(device) for device in devices}

    def latest(self, tensors: Iterable[Tensor]) -> "RandomState":
        """Returns the present state, which is this object if no number was drawn since."""
        now = RandomState(tensors)
        same = self.digits == now.digits and self.others.keys() == now.others.keys()
        return self if same and all(torch.equal(state, now.others[key]) for key, state in self.others.items()) else now

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the generators are in this state; afterwards they are as they were before."""
        cpu = torch.get_rng_state()
        others = {device: torch.get_device_module(device).get_rng_state(device) for device in self.others}
        _set(self.cpu, self.others)
        try:
            yield
        finally:
            _set(cpu, others)


def _set(cpu: Tensor, others: dict[torch.device, Tensor]) -> None:
    torch.set_rng_state(cpu)
    for device, state in others.items():
        torch.get_device_module(device).set_rng_state(state, device)
