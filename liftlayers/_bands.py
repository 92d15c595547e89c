"""Bands, the tensors that an invertible module takes and returns: one is passed bare, several as a tuple."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

Bands = Tensor | tuple[Tensor, ...]


def as_tuple(bands: Bands) -> tuple[Tensor, ...]:
    """Returns several bands as they are, and a bare one as a tuple of one."""
    if isinstance(bands, list):
        raise TypeError(f"bands are one tensor or a tuple of tensors, got a list of {len(bands)}")
    return bands if isinstance(bands, tuple) else (bands,)


def bare(bands: tuple[Tensor, ...]) -> Bands:
    """Returns a tuple of one band as that band, and several as they are."""
    return bands[0] if len(bands) == 1 else bands


def has_values(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor can be read: those on the meta device and fake tensors have none."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def is_readable(tensor: Tensor) -> bool:
    """Whether Python can read a tensor without waiting for a device, and neither compiler nor transform is active."""
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or not has_values(tensor):
        return False
    return tensor.is_cpu and not torch._C._are_functorch_transforms_active() and forward_ad._current_level < 0


def is_differentiable(tensor: Tensor) -> bool:
    """Whether a tensor of this dtype can have a gradient."""
    return tensor.is_floating_point() or tensor.is_complex()


def zero_log_det(bands: tuple[Tensor, ...]) -> Tensor:
    """Returns a zero for each sample, of shape (B,), on the bands' device, in their dtype, but float32 at least."""
    if not bands or bands[0].ndim == 0:
        raise ValueError(f"a log-determinant needs bands of shape (B, ...), got {'()' if bands else 'none'}")
    dtype = bands[0].dtype if is_differentiable(bands[0]) else torch.get_default_dtype()
    return bands[0].new_zeros(len(bands[0]), dtype=torch.promote_types(dtype, torch.float32))


def require_log_det(who: str, log_det: Tensor, band: Tensor) -> Tensor:
    """Returns a log-determinant; raises `ValueError` unless it has one number for each sample of the band."""
    if not isinstance(log_det, Tensor) or log_det.shape != band.shape[:1]:  # sums would broadcast without notice
        got = tuple(log_det.shape) if isinstance(log_det, Tensor) else type(log_det).__name__
        found = f"got {got} for bands of {len(band)} samples; sum over all axes but the first"
        raise ValueError(f"{who} needs a log-determinant of shape (B,), {found}")
    return log_det
