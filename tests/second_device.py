"""A simulated device: its tensors are stored in the CPU's memory, but cannot be mixed with those of the CPU.

Loaded as a plugin (``pytest -p tests.second_device``) it registers the device with PyTorch under the name `second`, and
all tests that have the device as a parameter run on it instead of the CPU. PyTorch cannot remove it again, so that only
processes of their own load this. As on a GPU, operations refuse tensors of two devices, except for scalars on the
CPU. With `refuse_float64`, float64 is refused too, as by Apple's GPUs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import tests.devices

NAME = "second"
COPIES = {"aten::copy_", "aten::_to_copy"}  # take tensors of two devices
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}  # take indices on the CPU
_float64_is_refused = False
_libraries: list[torch.library.Library] = []  # what they register ends when they are freed


class Generators:
    """What PyTorch asks of the module of a device. As in `torch.mps`, there is no context `device`."""

    _initialized = True
    _state = torch.zeros(16, dtype=torch.uint8)

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def manual_seed_all(self, _seed: int) -> None:
        """Nothing to do: the device draws from the generator of the CPU."""

    def get_rng_state(self, _device: object = None) -> Tensor:
        return self._state.clone()

    def set_rng_state(self, state: Tensor, _device: object = None) -> None:
        self._state = state.clone()

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class SecondTensor(Tensor):
    """A tensor of the second device. `data_on_cpu` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    data_on_cpu: Tensor

    @staticmethod
    def __new__(cls, data: Tensor) -> "SecondTensor":
        layout = {"strides": data.stride(), "storage_offset": data.storage_offset()}
        made = cls._make_wrapper_subclass(cls, data.shape, dtype=data.dtype, device=torch.device(NAME, 0), **layout)
        made.data_on_cpu = data
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})

    def tolist(self) -> Any:
        return self.data_on_cpu.tolist()


class SecondDevice(TorchDispatchMode):
    """Inside, functions that make tensors can make them on the second device."""

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_options: Any) -> Tensor:
    return SecondTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, _non_blocking: bool = False) -> Tensor:
    data: Any = _on_cpu(target)
    data.copy_(_on_cpu(source))
    return target


def _on_cpu(x: object) -> object:
    return x.data_on_cpu if isinstance(x, SecondTensor) else x


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = function._schema.name
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    on_second = any(isinstance(x, SecondTensor) for x in given)
    on_cpu = [x for x in given if not isinstance(x, SecondTensor) and x.ndim]
    if on_second and on_cpu and name not in COPIES | INDEXING:
        raise RuntimeError(f"{name} needs tensors on one device, got {NAME} and cpu of shape {tuple(on_cpu[0].shape)}")
    if kwargs.get("device") is not None:
        on_second = torch.device(kwargs["device"]).type == NAME
        kwargs = kwargs | {"device": torch.device("cpu")} if on_second else kwargs
    outputs = function(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
    written = {id(_on_cpu(x)): x for x in given}  # in-place operations return the tensor that they were given

    def wrapped(x: object) -> object:
        if not isinstance(x, Tensor) or id(x) in written:
            return written.get(id(x), x)
        if on_second and _float64_is_refused and x.dtype == torch.float64:
            raise TypeError(f"{name} makes a tensor in float64, which some GPUs do not have")
        return SecondTensor(x) if on_second else x

    return tree_map(wrapped, outputs)


@contextmanager
def refuse_float64() -> Iterator[None]:
    """Inside, the second device refuses float64."""
    global _float64_is_refused
    _float64_is_refused = True
    try:
        yield
    finally:
        _float64_is_refused = False


def pytest_configure() -> None:
    """Registers the device, and makes it that of the tests. `Module.to` swaps the contents of parameters."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend  # torch 2.6 has none

    _setup_privateuseone_for_python_backend(NAME, backend_module=Generators())
    autocast, operations = (
        torch.library.Library(name, "IMPL", key)
        for name, key in (("_", "AutocastPrivateUse1"), ("aten", "PrivateUse1"))
    )
    autocast.fallback(torch.library.fallthrough_kernel)
    operations.impl("empty_strided", _empty_strided)  # torch.as_tensor calls it outside the mode
    operations.impl("_copy_from", _copy_from)
    _libraries.extend((autocast, operations))
    torch.__future__.set_swap_module_params_on_conversion(True)
    tests.devices.on_each_device = pytest.mark.parametrize("device", [NAME])


@pytest.fixture(autouse=True)
def _second_device() -> Iterator[None]:
    with SecondDevice():
        yield
