"""The Haar transform on a GPU: the bits of its Triton kernels, and their bandwidth."""

__all__ = ["haar"]

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from gpu_measure import Cases, Row, Setting, compiler
from torch import Tensor
from wavelets import LAYOUTS, PASSES, Transform, measure, ours_haar, seconds, sliced_haar

from liftlayers.functional import _haar_backends as backends
from liftlayers.functional import haar_analysis, haar_synthesis

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PHOTO, CROPS, LARGE = (1, 3, 1024, 1024), (16, 12, 256, 256), (16, 12, 1024, 1024)  # the last one is larger than caches
ODD = [(1, 1, 2, 2), (1, 3, 34, 258), (3, 2, 10, 600), (1, 1, 2, 1030), (2, 5, 64, 2)]  # tiles end within rows


def haar(setting: Setting) -> Cases:
    """First the bits, then the time of all sizes, then that of compiled transforms."""
    sizes, dtypes = (PHOTO, CROPS, LARGE), tuple(DTYPES)
    if setting.dry_run:
        sizes, dtypes = ((1, 3, 64, 64),), ("float32",)
    cases: Cases = {"kernels": partial(kernels, setting.device)}
    for dtype in DTYPES:
        for layout in LAYOUTS:
            cases[f"bits, {dtype}, {layout}"] = partial(bits, [*ODD, *sizes[:2]], dtype, layout, setting.device)
    for compiled in (False, True):
        for size in sizes[:2] if compiled else sizes:
            for dtype in dtypes:
                for layout in LAYOUTS:
                    case = f"{'x'.join(map(str, size))}, {dtype}, {layout}{', compiled' * compiled}"
                    cases[case] = partial(speed, case, size, dtype, layout, setting, compiled=compiled)
    return cases


def kernels(device: str) -> Iterator[Row]:
    """Whether the Triton kernels can be built; without them the plain form would be compared with itself."""
    yield {"law": "Triton kernels can be built", "holds": device == "cpu" or backends._kernels() is not None}


def bits(shapes: list[tuple[int, ...]], dtype: str, layout: str, device: str) -> Iterator[Row]:
    """Compares with the plain form on the CPU: forward, inverse and gradient."""
    differing = []
    for seed, shape in enumerate(shapes):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DTYPES[dtype])
        wanted = backends.plain_analysis(x)
        image = backends.plain_synthesis(*wanted)
        leaf = x.to(device).contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
        bands = haar_analysis(leaf)
        returned = haar_synthesis(*bands)
        (gradient,) = torch.autograd.grad(returned, leaf, leaf.detach())  # the transform is orthogonal: twice the same
        pairs = zip((*bands, returned, gradient), (*wanted, image, image), strict=True)
        if not all(torch.equal(found.cpu(), expected) for found, expected in pairs):
            differing.append("x".join(map(str, shape)))
    law = f"Haar gives the bits of the plain form on the CPU, {dtype}, {layout}"
    yield {"law": law, "holds": not differing, "where not": ", ".join(differing)}


def convolution(x: Tensor) -> Transform:
    """One convolution with a stride of two, and its transpose, as in FrEIA."""
    signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    weight = (signs / 2).view(4, 1, 2, 2).repeat(x.shape[1], 1, 1, 1).to(x)
    split = partial(F.conv2d, weight=weight, stride=2, groups=x.shape[1])
    return split, partial(F.conv_transpose2d, weight=weight, stride=2, groups=x.shape[1])


def compiled_haar(x: Tensor) -> Transform:
    """The plain form in one kernel of inductor."""
    torch.compiler.reset()  # torch recompiles a function only a few times before it gives up
    options = compiler(x.device.type)
    synthesis = torch.compile(haar_synthesis, **options)
    return torch.compile(haar_analysis, **options), lambda bands: synthesis(*bands)


def speed(
    case: str, size: tuple[int, ...], dtype: str, layout: str, setting: Setting, *, compiled: bool
) -> Iterator[Row]:
    """Time relative to copy_, and bandwidth: the bytes that a transform has to move, divided by its time."""
    variants: dict[str, Callable[[Tensor], Transform]] = {"liftlayers": ours_haar, "convolution": convolution}
    if compiled:
        variants = {"liftlayers": ours_haar, "torch.compile": compiled_haar}
    elif dtype == "float32":  # its inverse has no other dtype
        variants["strided slicing"] = sliced_haar
    x = torch.rand(size, device=setting.device).to(DTYPES[dtype]).contiguous(memory_format=LAYOUTS[layout])
    target = torch.empty_like(x)
    found = measure(variants, x, rounds=1 if setting.dry_run else 3)
    times = sorted(seconds(lambda: target.copy_(x), setting.device) for _ in range(5))
    gigabytes = 2 * x.numel() * x.element_size() / times[2] / 1e9
    for variant, figures in found.items():
        row: Row = {"case": case, "variant": variant}
        for which in PASSES if variant in variants else PASSES[:1]:
            ratio = figures[which]
            row[f"{which}, relative time"] = ratio
            moved = 2 if which == PASSES[2] else 1
            row[f"{which}, GB/s"] = ratio if isinstance(ratio, str) else moved * gigabytes / ratio
        yield row
