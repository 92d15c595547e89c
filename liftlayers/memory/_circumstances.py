"""What an evaluation depends on besides its modules: random numbers and the cache of autocast."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

Bands = tuple[Tensor, ...]


@contextmanager
def without_autocast_cache() -> Iterator[None]:
    """Keeps autocast from reading and filling its cache of low-precision copies.

    In older versions of torch (2.6 among them), a copy that is made without gradients has no graph, and later calls
    under the same autocast get that copy: their weights are constants (github.com/pytorch/pytorch/issues/158232).
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


class RandomState:
    """State of the random generators that a step can draw from: the CPU's, and those of its bands' devices."""

    def __init__(self, bands: Bands) -> None:
        self.cpu = torch.get_rng_state()
        self.digits = ctypes.string_at(self.cpu.data_ptr(), self.cpu.numel())  # compares faster, and in fake modes too
        elsewhere = [band for band in bands if not (band.is_cpu or band.is_meta)]
        self.devices, self.others = get_device_states(*elsewhere) if elsewhere else ([], [])
        self.device_type = elsewhere[0].device.type if elsewhere else "cuda"

    def latest(self, bands: Bands) -> "RandomState":
        """Returns the present state, which is this object if no number was drawn since."""
        now = RandomState(bands)
        same = self.digits == now.digits and self.devices == now.devices
        return self if same and all(map(torch.equal, self.others, now.others)) else now

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the generators are in this state; afterwards they are as they were before."""
        with torch.random.fork_rng(self.devices, device_type=self.device_type):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.others, device_type=self.device_type)
            yield
