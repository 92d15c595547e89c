"""The Haar transform's forms: the plain one, which defines it, and fast ones that give the same bits."""

__all__ = ["analysis", "must_be_plain", "plain_analysis", "plain_synthesis", "synthesis"]

import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

BLOCK = 2**19  # numbers of an image to a thread: with its bands and what lies between, about what a cache holds
FEW = 6  # channels, last in memory: a loop over fewer ends before it pays (measured), so that each is taken alone
SMALL = 2**16  # numbers of an image; the plain form is faster for fewer (measured, as it is for transposed ones)
KERNEL_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def plain_analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    top, bottom = x[..., 0::2, :], x[..., 1::2, :]
    sums, differences = top + bottom, top - bottom  # of rows
    left, right = sums[..., 0::2], sums[..., 1::2]
    left_difference, right_difference = differences[..., 0::2], differences[..., 1::2]
    horizontal = left_difference + right_difference
    vertical = left - right
    diagonal = left_difference - right_difference
    return 0.5 * (left + right), 0.5 * torch.cat((horizontal, vertical, diagonal), dim=1)


def plain_synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    horizontal, vertical, diagonal = detail.chunk(3, dim=1)
    left, right = approx + vertical, approx - vertical
    left_difference, right_difference = horizontal + diagonal, horizontal - diagonal
    quarters = [
        left + left_difference,
        right + right_difference,
        left - left_difference,
        right - right_difference,
    ]
    return 0.5 * rearrange(quarters, "(r s) b c h w -> b c (h r) (w s)", r=2)


def must_be_plain(*tensors: Tensor) -> bool:
    """Whether to take the plain form: another than autograd follows the operations (a compiler, a tracer, torch.func,
    forward mode, a tensor subclass), or a CPU is given too little to gain."""
    return (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()  # torch.jit.trace
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or is_in_torch_dispatch_mode()
        or any(type(x) not in (Tensor, nn.Parameter) for x in tensors)
        or (tensors[0].device.type == "cpu" and sum(x.numel() for x in tensors) < SMALL)
    )


def analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    """Whichever form is fastest where the tensor is; autograd cannot follow it."""
    if x.device.type == "cpu" and 1 in (x.stride(1), x.stride(3)):
        return _blocked_analysis(x)
    kernels = _kernels_for(x)
    return kernels.analysis(x) if kernels else plain_analysis(x)


def synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    """The inverse of `analysis`, likewise."""
    if approx.device.type == "cpu":
        return _blocked_synthesis(approx, detail)
    kernels = _kernels_for(approx, detail)
    return kernels.synthesis(approx, detail) if kernels else plain_synthesis(approx, detail)


# One pass of the caches: blocks of rows go through all operations before the next are fetched.


def _blocked_analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = x.shape
    layout = torch.channels_last if x.stride(1) == 1 < x.stride(3) else torch.contiguous_format
    approx, detail = (
        torch.empty((batch, num, height // 2, width // 2), dtype=x.dtype, device=x.device, memory_format=layout)
        for num in (channels, 3 * channels)
    )
    for image, low, high in _blocks(x, approx, detail):
        top, bottom = image[:, :, 0::2], image[:, :, 1::2]
        sums, differences = top + bottom, top - bottom
        halves = (half[..., side::2] for half in (sums, differences) for side in (0, 1))
        few = layout is torch.channels_last and channels < FEW
        for left, right, left_difference, right_difference, average, horizontal, vertical, diagonal in zip(
            *(part.unbind(1) if few else [part] for part in (*halves, low, *high.chunk(3, dim=1))), strict=True
        ):
            torch.add(left, right, out=average)
            torch.add(left_difference, right_difference, out=horizontal)
            torch.sub(left, right, out=vertical)
            torch.sub(left_difference, right_difference, out=diagonal)
        low.mul_(0.5)  # last, as in the plain form: halves of tiny numbers are rounded
        high.mul_(0.5)
    return approx, detail


def _blocked_synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    batch, channels, height, width = approx.shape
    x = approx.new_empty(batch, channels, 2 * height, 2 * width)
    for image, low, high in _blocks(x, approx, detail):
        top, bottom = image[:, :, 0::2], image[:, :, 1::2]
        sums = torch.empty_like(top)
        horizontal, vertical, diagonal = high.chunk(3, dim=1)
        torch.add(low, vertical, out=sums[..., 0::2])
        torch.sub(low, vertical, out=sums[..., 1::2])
        torch.add(horizontal, diagonal, out=bottom[..., 0::2])  # differences, until the rows' own values take the place
        torch.sub(horizontal, diagonal, out=bottom[..., 1::2])
        torch.add(sums, bottom, out=top)
        torch.sub(sums, bottom, out=bottom)
        image.mul_(0.5)
    return x


def _blocks(x: Tensor, approx: Tensor, detail: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Views of an image and of its bands that belong together: several images, one, or rows of one."""
    _, channels, height, width = x.shape
    size = BLOCK * torch.get_num_threads()
    images, rows = (max(1, size // max(1, numbers)) for numbers in (channels * height * width, 2 * channels * width))
    for parts in zip(x.split(images), approx.split(images), detail.split(images), strict=True):
        counts = (2 * rows, rows, rows)
        yield from zip(*(part.split(n, dim=2) for part, n in zip(parts, counts, strict=True)), strict=True)


# One pass of the GPU's memory


def _kernels_for(*tensors: Tensor) -> ModuleType | None:
    """The kernels, if there are any for such tensors."""
    fit = all(x.is_cuda and x.dtype in KERNEL_DTYPES and x.is_contiguous() and x.numel() for x in tensors)
    return _kernels() if fit else None


@cache
def _kernels() -> ModuleType | None:
    """The module of kernels, if Triton is installed and can build them, for which it needs a C compiler."""
    try:
        from liftlayers.functional import _haar_triton as kernels
    except ImportError:
        return None
    try:
        kernels.analysis(torch.zeros(1, 1, 2, 2, device="cuda"))
    except Exception as problem:  # whatever keeps a compiler from working
        warnings.warn(f"the Haar transform does without its Triton kernels: {problem}", RuntimeWarning, stacklevel=2)
        return None
    return kernels
