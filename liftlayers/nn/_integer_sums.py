"""Sums of products of integers that floats hold."""

import torch
import torch.nn.functional as F
from torch import Tensor

from liftlayers._bands import has_values, is_readable
from liftlayers._graphs import constant_in_graphs, in_onnx_export
from liftlayers.functional.grid import grid_limit

LARGEST = 255  # of an input: eight bits and a sign, which bfloat16 holds, too
LARGEST_INTEGER = grid_limit(torch.float32, 0)  # float32 holds all integers up to it
NNPACK_BATCH = 16  # the smallest batch that NNPACK's transforms are used for
NOT_INTEGERS = (
    "IntegerConv2d needs sums that are integers: its input or bias is not, or a kernel does more than multiply and add"
)


def whole(who: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns integers, or whole numbers in floats, in another floating-point dtype; what cannot count is clipped."""
    if x.dtype == dtype:
        return x
    if x.dtype in (torch.int32, torch.int64):
        x = x.clamp(-(2**20), 2**20)
    elif x.dtype not in (torch.uint8, torch.int8, torch.int16, torch.float32, torch.float64):
        raise TypeError(f"{who} needs uint8, int8, int16, int32, int64, float32 or float64, got {x.dtype}")
    return x.to(dtype)


def clipped(x: Tensor, *, signed: bool, inplace: bool = False) -> Tensor:
    """Clips whole numbers to -255 or 0 and 255, with the gradient of `torch.clamp`; in place if none is needed."""
    lowest = -LARGEST if signed else 0
    if not x.requires_grad:
        inplace = inplace and not torch._C._are_functorch_transforms_active()  # `vmap` has no rule for `clamp_`
        return x.clamp_(lowest, LARGEST) if inplace else x.clamp(lowest, LARGEST)
    y = F.hardtanh(x, lowest - 0.5, LARGEST + 0.5)  # its backward pass takes a tenth of the time
    y.detach().clamp_(lowest, LARGEST)
    return y


def rounded_sums(codes: Tensor, weight: Tensor, bias: Tensor, *, scale: Tensor) -> Tensor:
    """Returns a convolution rounded down, of integers and of weights and biases that are integers times the scale."""
    sums = _convolution(codes, weight, bias)
    unseen = sums.detach()  # by autograd; the backward pass of a convolution does not need its output
    if has_values(sums) and not (torch._C._are_functorch_transforms_active() or in_onnx_export()):
        _require_integers(unseen, scale)
    unseen.floor_()
    return sums


def _require_integers(sums: Tensor, scale: Tensor) -> None:
    """Raises unless the sums in the middle row, which are scaled, are integers.

    Kernels that transform their input, such as Winograd's, have rounding errors almost everywhere.
    """
    if not (sums.is_cpu or sums.is_cuda):
        return
    row = sums.narrow(2, sums.shape[2] // 2, 1) / scale  # exact: the scale is a power of two
    integers = row.floor().clamp(-LARGEST_INTEGER, LARGEST_INTEGER)
    if is_readable(row):
        if not torch.equal(row, integers):
            raise RuntimeError(NOT_INTEGERS)
    else:  # raises later, without waiting for the device
        torch._assert_async((row == integers).all(), NOT_INTEGERS)  # pyright: ignore[reportPrivateImportUsage]


def _convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Returns a convolution that NNPACK does not compute: it takes batches of 16 where oneDNN is off."""
    padding = weight.shape[-1] // 2
    if x.shape[0] < NNPACK_BATCH or not x.is_cpu or _onednn_is_on():
        return F.conv2d(x, weight, bias, padding=padding)
    return torch.cat([F.conv2d(part, weight, bias, padding=padding) for part in x.split(NNPACK_BATCH - 1)])


@constant_in_graphs
def _onednn_is_on() -> bool:
    return bool(torch.backends.mkldnn.enabled)
