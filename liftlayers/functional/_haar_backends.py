"""Implementations of the Haar transform: a plain one, which defines it, and faster ones that give the same bits."""

import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

BLOCK = 2**19  # elements of an image for each thread: with bands and intermediate results, about what a cache holds
FEW = 6  # with fewer channels, last in memory, it is faster to process each channel alone (measured)
SMALL = 2**16  # for fewer elements, and for transposed images, the plain form is faster (measured)
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
    quarters = [left + left_difference, right + right_difference, left - left_difference, right - right_difference]
    return 0.5 * rearrange(quarters, "(r s) b c h w -> b c (h r) (w s)", r=2)


def must_be_plain(*tensors: Tensor) -> bool:
    """Returns True if only the plain form works, or if it is the fastest.

    The fast forms define a gradient and nothing else, so compilers, tracers, torch.func, forward mode and tensor
    subclasses need the plain form. On CPUs small images gain nothing from the fast ones.
    """
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
    """Runs the fastest form for the tensor's device and layout; autograd does not record it."""
    if x.device.type == "cpu" and 1 in (x.stride(1), x.stride(3)):
        return _blocked_analysis(x)
    kernels = _kernels_for(x)
    return kernels.analysis(x) if kernels else plain_analysis(x)


def synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    """Runs the fastest form of the inverse; autograd does not record it."""
    if approx.device.type == "cpu":
        return _blocked_synthesis(approx, detail)
    kernels = _kernels_for(approx, detail)
    return kernels.synthesis(approx, detail) if kernels else plain_synthesis(approx, detail)


# On CPUs: each block of rows goes through all operations while it is in the cache.


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
        low.mul_(0.5)  # after the sums, as in the plain form: halving tiny numbers rounds them
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
        torch.add(horizontal, diagonal, out=bottom[..., 0::2])  # holds differences until the rows are known
        torch.sub(horizontal, diagonal, out=bottom[..., 1::2])
        torch.add(sums, bottom, out=top)
        torch.sub(sums, bottom, out=bottom)
        image.mul_(0.5)
    return x


def _blocks(x: Tensor, approx: Tensor, detail: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields views of an image and its bands that belong together: of several images, of one, or of rows of one."""
    _, channels, height, width = x.shape
    size = BLOCK * torch.get_num_threads()
    images, rows = (max(1, size // max(1, each)) for each in (channels * height * width, 2 * channels * width))
    for parts in zip(x.split(images), approx.split(images), detail.split(images), strict=True):
        counts = (2 * rows, rows, rows)
        yield from zip(*(part.split(n, dim=2) for part, n in zip(parts, counts, strict=True)), strict=True)


# On GPUs: each kernel reads and writes every element once.


def _kernels_for(*tensors: Tensor) -> ModuleType | None:
    """Returns the module of Triton kernels, or None if it is not available or cannot take these tensors."""
    fit = all(x.is_cuda and x.dtype in KERNEL_DTYPES and x.is_contiguous() and x.numel() for x in tensors)
    return _kernels() if fit else None


@cache
def _kernels() -> ModuleType | None:
    """Returns the module of kernels if Triton is installed and can build them, for which it needs a C compiler."""
    try:
        from liftlayers.functional import _haar_triton as kernels
    except ImportError:
        return None
    try:
        kernels.analysis(torch.zeros(1, 1, 2, 2, device="cuda"))
    except Exception as problem:  # a compiler can fail in many ways
        warnings.warn(f"the Haar transform runs without its Triton kernels: {problem}", RuntimeWarning, stacklevel=2)
        return None
    return kernels
