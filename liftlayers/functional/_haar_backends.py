"""Implementations of the Haar transform: a plain one, which defines it, and faster ones that give the same bits."""

import math
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from liftlayers._graphs import is_batch_of_gradients
from liftlayers.functional.lifting import halves

BLOCK = 2**19  # elements of an image for each thread: with bands and intermediate results, about what a cache holds
FEW = 6  # with fewer channels, last in memory, it is faster to process each channel alone (measured)
WIDENED = 32  # with fewer channels of 16 bits, last in memory, strided sums are faster in float32 (measured)
SMALL = 2**16  # for fewer elements, and for transposed images, the plain form is faster (measured)
KERNEL_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


# By the number of axes, of lines, images and volumes: which sums and differences are stacked, with the bands ordered by
# name (aa, ad, da, dd).
STACKED = {3: (1,), 4: (2, 1, 3), 5: (1, 2, 3, 4, 5, 6, 7)}


def plain_analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    bands, scale = _bands(x, 2), _scale(x)
    return scale * bands[0], scale * torch.cat([bands[k] for k in STACKED[x.ndim]], dim=1)


def _bands(x: Tensor, dim: int) -> list[Tensor]:
    """Returns sums and differences of pairs along all axes from `dim` on, ordered by name."""
    if dim == x.ndim:
        return [x]
    even, odd = halves(x, dim - x.ndim)
    return [*_bands(even + odd, dim + 1), *_bands(even - odd, dim + 1)]


def plain_synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    return _scale(approx) * _merged(_ordered(approx, detail), 2)


def _merged(bands: list[Tensor], dim: int) -> Tensor:
    """Merges bands, ordered by name, along all axes from `dim` on, the last axis first."""
    if len(bands) == 1:
        return bands[0]
    half = len(bands) // 2
    sums, differences = _merged(bands[:half], dim + 1), _merged(bands[half:], dim + 1)
    pairs, sides = torch.stack((sums + differences, sums - differences), dim + 1), sums.shape
    return pairs.reshape(*sides[:dim], 2 * sides[dim], *sides[dim + 1 :])  # batched gradients cannot be flattened


def _ordered(approx: Tensor, detail: Tensor) -> list[Tensor]:
    """Returns all bands ordered by name."""
    order = STACKED[approx.ndim]
    details = detail.chunk(len(order), dim=1)
    return [approx, *(details[k - 1] for k in order)]  # the order is its own inverse


def _scale(x: Tensor) -> float:
    return 2 ** (1 - x.ndim / 2)


def must_be_plain(*tensors: Tensor) -> bool:
    """Returns True if only the plain form works, or if it is the fastest.

    The fast forms define a gradient and nothing else, so compilers, tracers, torch.func, forward mode, gradients in
    batches and tensor subclasses need the plain form. On CPUs small images gain nothing from the fast ones.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()  # torch.jit.trace
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or is_in_torch_dispatch_mode()
        or any(type(x) not in (Tensor, nn.Parameter) or is_batch_of_gradients(x) for x in tensors)
        or (tensors[0].device.type == "cpu" and sum(x.numel() for x in tensors) < SMALL)
    )


def analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    """Runs the fastest form for the tensor's device and layout; autograd does not record it."""
    if x.device.type == "cpu" and 1 in (x.stride(1), x.stride(-1)):
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
    batch, channels, *sides = x.shape
    layout = torch.channels_last if x.ndim == 4 and x.stride(1) == 1 < x.stride(3) else torch.contiguous_format
    approx, detail = (
        torch.empty((batch, num, *(side // 2 for side in sides)), dtype=x.dtype, device=x.device, memory_format=layout)
        for num in (channels, (2 ** len(sides) - 1) * channels)
    )
    few = layout is torch.channels_last and channels < FEW
    widen = layout is torch.channels_last and channels < WIDENED and x.element_size() == 2
    for image, *bands in _blocks(x, approx, detail):
        sums = [torch.empty_like(band, dtype=torch.float32) for band in bands] if widen else bands
        _split_into(_ordered(*sums), image, 2, few)
        for band, total in zip(bands, sums, strict=True):
            # scaled after the sums are rounded, as in the plain form: halving tiny numbers rounds them again
            torch.mul(total.to(x.dtype), _scale(x), out=band)
    return approx, detail


def _split_into(bands: list[Tensor], x: Tensor, dim: int, few: bool) -> None:
    """Writes what `_bands` returns; bands of another dtype get the last sums before they are rounded."""
    half = len(bands) // 2
    even, odd = halves(x if half > 1 else x.to(bands[0].dtype), dim - x.ndim)
    if half > 1:
        _split_into(bands[:half], even + odd, dim + 1, few)
        _split_into(bands[half:], even - odd, dim + 1, few)
        return
    for first, second, total, difference in zip(
        *(y.unbind(1) if few else [y] for y in (even, odd, *bands)), strict=True
    ):
        torch.add(first, second, out=total)
        torch.sub(first, second, out=difference)


def _blocked_synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    batch, channels, *sides = approx.shape
    x = approx.new_empty(batch, channels, *(2 * side for side in sides))
    for image, low, high in _blocks(x, approx, detail):
        _merge_into(image, _ordered(low, high), 2)
        image.mul_(_scale(x))
    return x


def _merge_into(x: Tensor, bands: list[Tensor], dim: int) -> None:
    """Writes sums and differences of bands into even and odd places of an image, along all axes from `dim` on."""
    even, odd = halves(x, dim - x.ndim)
    half, sums, differences = len(bands) // 2, bands[0], bands[-1]
    if half > 1:
        sums, differences = torch.empty_like(even), odd  # odd places hold differences until their sums are known
        _merge_into(sums, bands[:half], dim + 1)
        _merge_into(differences, bands[half:], dim + 1)
    torch.add(sums, differences, out=even)
    torch.sub(sums, differences, out=odd)


def _blocks(x: Tensor, approx: Tensor, detail: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields views of an image and its bands that belong together: of several images, of one, or of rows of one."""
    channels, height, *others = x.shape[1:]
    row, size = channels * math.prod(others), BLOCK * torch.get_num_threads()
    images, rows = (max(1, size // max(1, each)) for each in (height * row, 2 * row))
    for parts in zip(x.split(images), approx.split(images), detail.split(images), strict=True):
        counts = (2 * rows, rows, rows)
        yield from zip(*(part.split(n, dim=2) for part, n in zip(parts, counts, strict=True)), strict=True)


# On GPUs: each kernel reads and writes every element once.


def _kernels_for(*tensors: Tensor) -> ModuleType | None:
    """Returns the module of Triton kernels, or None if it is not available or cannot take these tensors."""
    fit = all(
        x.ndim == 4 and x.is_cuda and x.dtype in KERNEL_DTYPES and x.is_contiguous() and x.numel() for x in tensors
    )
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
