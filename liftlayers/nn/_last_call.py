"""The result of a function of tensors, kept for calls with the same numbers."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

R = TypeVar("R")


class LastCall(Generic[R]):
    """Keeps the result of the last call of a function, and copies of its arguments, which are tensors and settings.

    It compares numbers, since the version counters of tensors miss changes through ``.data`` and NumPy. Its own copies
    and pickles are empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[object], R] | None = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return LastCall, ()

    def __call__(self, function: Callable[..., R], *arguments: object) -> R:
        """Returns ``function(*arguments)``, from memory if the arguments are the same and no gradient is needed."""
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        if not _are_comparable(tensors) or (torch.is_grad_enabled() and any(x.requires_grad for x in tensors)):
            return function(*arguments)
        kept = self._kept
        if kept is None or not all(map(_are_same, arguments, kept[0])):
            with torch.inference_mode(False), torch.no_grad():  # a later pass may need gradients of other tensors
                copies = [x.clone() if isinstance(x, Tensor) else x for x in arguments]
                self._kept = kept = copies, function(*arguments)
        return kept[1]


def _are_comparable(tensors: list[Tensor]) -> bool:
    """Whether Python can compare the numbers of tensors without waiting for a device, and no transform is active."""
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode():
        return False
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return not transformed and all(x.device.type == "cpu" for x in tensors)


def _are_same(x: object, y: object) -> bool:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return x.dtype == y.dtype and torch.equal(x, y)
    return x == y
