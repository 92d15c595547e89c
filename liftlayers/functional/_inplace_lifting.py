"""`lift` and `unlift` with in-place steps on new tensors: faster, and nothing is saved for their derivatives.

Both are linear. The transpose of a lifting step is a step from its target to its source with the same weights. So the
transpose of an analysis runs like a synthesis, and a gradient needs no sample of the forward pass.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from liftlayers._bands import Bands, as_tuple
from liftlayers._graphs import is_batch_of_gradients
from liftlayers.functional.lifting import index_inside
from liftlayers.functional.schemes import LiftingStep, Scheme

BLOCK = 2**21  # bytes processed at a time: few enough for a processor's cache, many enough to outweigh the calls


def lift_in_place(x: Tensor, scheme: Scheme, *, dim: int, boundary: str, spacing: int = 0) -> tuple[Tensor, Tensor]:
    """Computes what `lift` computes."""
    return _Lifting.apply(_Transform(scheme, dim, boundary, spacing), x)


def unlift_in_place(
    approx: Tensor, detail: Tensor, scheme: Scheme, *, dim: int, boundary: str, spacing: int = 0
) -> Tensor:
    """Computes what `unlift` computes."""
    return _Lifting.apply(_Transform(scheme, dim, boundary, spacing, inverse=True), approx, detail)


class _Transform(NamedTuple):
    """An analysis along one axis, its inverse, or the transpose of either."""

    scheme: Scheme
    dim: int
    boundary: str
    spacing: int = 0  # of the samples of an undecimated transform
    inverse: bool = False  # subtracts the steps and divides by the scales
    transposed: bool = False

    @property
    def merges(self) -> bool:
        """True if the transform takes two bands and returns lines."""
        return self.inverse != self.transposed

    @property
    def factors(self) -> tuple[float, float]:
        """What halves are multiplied or divided by; the inverse of an undecimated transform takes a mean."""
        approx, detail = self.scheme.scales
        return (2 * approx, 2 * detail) if self.spacing and self.inverse else (approx, detail)


class _Lifting(torch.autograd.Function):
    """Applies a `_Transform`. It is linear: the forward derivative is itself, the gradient its transpose."""

    @staticmethod
    def forward(transform: _Transform, *tensors: Tensor) -> Bands:
        tensors = _batched_alike(tensors)
        return _merge(transform, *tensors) if transform.merges else _split(transform, *tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        ctx.transform = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        transpose = ctx.transform._replace(transposed=not ctx.transform.transposed)
        return None, *as_tuple(_Lifting.apply(transpose, *gradients))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Lifting.apply(ctx.transform, *tangents[1:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        transform, *tensors = inputs
        mapped = (
            x.expand(info.batch_size, *x.shape) if where is None else x.movedim(where, 0)
            for x, where in zip(tensors, in_dims[1:], strict=True)
        )
        return _Lifting.apply(transform, *mapped), 0 if transform.merges else (0, 0)


def _batched_alike(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Makes all tensors batches of gradients if one is: no in-place operation adds a batch to a tensor that is none."""
    batches = [x for x in tensors if is_batch_of_gradients(x)]
    return tuple(x + batches[0].new_zeros(()) for x in tensors) if batches else tensors


def _split(transform: _Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Splits lines into halves, takes the steps from first to last, then scales."""
    dim, spacing, size = transform.dim, transform.spacing, x.shape[transform.dim]
    approx, detail = (_empty(x, dim, size if spacing else (size + more) // 2) for more in (1, 0))
    for line, a, d in _blocks(dim, x, approx, detail):
        for samples, half in _places(line, a, d, spacing):
            half.copy_(samples)
        for step in transform.scheme.steps:
            _add_step(step, a, d, transform)
        for half, scale in zip((a, d), transform.factors, strict=True):
            half.div_(scale) if transform.inverse else half.mul_(scale)
    return approx, detail


def _merge(transform: _Transform, approx: Tensor, detail: Tensor) -> Tensor:
    """Scales two halves, takes the steps from last to first, then merges the halves into lines."""
    dim, spacing, size = transform.dim, transform.spacing, approx.shape[transform.dim]
    x = _empty(approx, dim, size if spacing else size + detail.shape[dim])
    scaled = torch.div if transform.inverse else torch.mul
    for line, *halves in _blocks(dim, x, approx, detail):
        a, d = (scaled(half, scale) for half, scale in zip(halves, transform.factors, strict=True))
        for step in reversed(transform.scheme.steps):
            _add_step(step, a, d, transform)
        for number, (samples, half) in enumerate(_places(line, a, d, spacing)):
            samples.add_(half) if spacing and number else samples.copy_(half)
    return x


def _places(line: Tensor, approx: Tensor, detail: Tensor, spacing: int) -> list[tuple[Tensor, Tensor]]:
    """Returns pairs of samples and of the half that takes them: even and odd ones, or with a spacing all, twice."""
    if not spacing:
        return [(line[:, 0::2], approx), (line[:, 1::2], detail)]
    turns = _turns(spacing, line.shape[1])
    return [(line, approx), *((line.narrow(1, source, n), detail.narrow(1, begin, n)) for begin, source, n in turns)]


def _empty(like: Tensor, dim: int, num: int) -> Tensor:
    """Makes an empty tensor for lines of another length; it is no view, so callers may write into what they get."""
    shape = like.shape
    return like.new_empty(*shape[:dim], num, *shape[len(shape) + dim + 1 :])


def _blocks(dim: int, *tensors: Tensor) -> Iterator[list[Tensor]]:
    """Yields parts of tensors, the first of which has whole lines, that are small enough for a processor's cache.

    Each part has three axes, with the lines along the middle one. Parts of contiguous tensors are views.
    """
    shapes = [(math.prod(x.shape[:dim]), x.shape[dim], math.prod(x.shape[x.ndim + dim + 1 :])) for x in tensors]
    lines = [x.reshape(shape) for x, shape in zip(tensors, shapes, strict=True)]
    before, size, after = shapes[0]
    num = BLOCK // max(1, size * lines[0].element_size()) if lines[0].device.type == "cpu" else before * after
    columns = max(1, min(after, max(num, 64)))
    rows = max(1, num // columns)
    for parts in zip(*(x.split(rows) for x in lines), strict=True):
        yield from map(list, zip(*(x.split(columns, dim=2) for x in parts), strict=True))


Link = tuple[int, int, int, float]  # part of a step: index in the target, index in the source, samples, weight


def _add_step(step: LiftingStep, approx: Tensor, detail: Tensor, transform: _Transform) -> None:
    """Adds or subtracts a step, or its transpose, in place; lines are along axis 1."""
    target, source = (detail, approx) if step.target == "detail" else (approx, detail)
    sizes = target.shape[1], source.shape[1]
    for begin, begin_in_source, num, weight in _links(step, *sizes, transform.boundary, transform.spacing):
        to, of = target.narrow(1, begin, num), source.narrow(1, begin_in_source, num)
        if transform.transposed:
            to, of = of, to
        to.add_(of, alpha=-weight if transform.inverse else weight)


@lru_cache(maxsize=1024)
def _links(step: LiftingStep, num_target: int, num_source: int, boundary: str, spacing: int) -> tuple[Link, ...]:
    """Lists a step's links: one for each tap inside the source, and one for each sample read beyond its ends."""
    if spacing:
        taps = enumerate(step.taps, step.first)
        return tuple((*turn, weight) for n, weight in taps for turn in _turns(2 * spacing * n, num_source))
    if num_source == 0:
        return ()
    links: list[Link] = []
    for offset, weight in enumerate(step.taps, step.first):
        begin = min(max(0, -offset), num_target)
        end = max(begin, min(num_target, num_source - offset))
        if end > begin:
            links.append((begin, begin + offset, end - begin, weight))
        for n in (*range(begin), *range(end, num_target)):
            inside = index_inside(n + offset, step, size=num_source, total=num_target + num_source, boundary=boundary)
            links.append((n, inside, 1, weight))
    return tuple(links)


def _turns(shift: int, size: int) -> list[tuple[int, int, int]]:
    """Returns the two pieces of a periodic line that is read from a shift on: target, source, number of samples."""
    shift %= size
    return [(0, shift, size - shift), (size - shift, 0, shift)][: 2 if shift else 1]
