"""`lift` and `unlift` in buffers of their own: faster, and their derivatives save nothing.

Both are linear. The transpose of a lifting step is a step from its target to its source with the same weights, so the
transpose of an analysis runs like a synthesis, and a gradient needs no sample of the forward pass.
"""

__all__ = ["lift_in_place", "unlift_in_place"]

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from liftlayers.functional._boundaries import standing_for
from liftlayers.functional.schemes import LiftingStep, Scheme

BLOCK = 2**21  # bytes: what is added to again and again should stay in a processor's cache, and be worth the calls


def lift_in_place(x: Tensor, scheme: Scheme, *, dim: int, boundary: str) -> tuple[Tensor, Tensor]:
    """As `lift`."""
    return _Split.apply(x, _Lines(scheme, dim, boundary, False))  # type: ignore[no-any-return]


def unlift_in_place(approx: Tensor, detail: Tensor, scheme: Scheme, *, dim: int, boundary: str) -> Tensor:
    """As `unlift`."""
    return _Merge.apply(approx, detail, _Lines(scheme, dim, boundary, False))  # type: ignore[no-any-return]


class _Lines(NamedTuple):
    """Where lines lie and what is done to them: an analysis or a synthesis, or the transpose of the other one."""

    scheme: Scheme
    dim: int
    boundary: str
    transposed: bool

    def flipped(self) -> "_Lines":
        return self._replace(transposed=not self.transposed)


class _Split(torch.autograd.Function):
    """Analysis, or the transpose of synthesis: split, steps in order, scales."""

    @staticmethod
    def forward(x: Tensor, lines: _Lines) -> tuple[Tensor, Tensor]:
        scheme, dim = lines.scheme, lines.dim
        before, size, after = _folded(x, dim)
        source = x.reshape(before, size, after)
        num_approx, num_detail = (size + 1) // 2, size // 2
        approx, detail = _empty(x, dim, num_approx), _empty(x, dim, num_detail)
        approx3, detail3 = approx.view(before, num_approx, after), detail.view(before, num_detail, after)
        for at in _blocks(x, before, size, after):
            here = source[at]
            a, d = approx3[at].copy_(here[:, 0::2]), detail3[at].copy_(here[:, 1::2])
            for step in scheme.steps:
                _take(step, a, d, lines, -1 if lines.transposed else 1)
            for half, scale in zip((a, d), scheme.scales, strict=True):
                half.div_(scale) if lines.transposed else half.mul_(scale)
        return approx, detail

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        ctx.lines = inputs[1]

    @staticmethod
    def backward(ctx: Any, *bands: Tensor) -> tuple[Tensor, None]:
        return _Merge.apply(*bands, ctx.lines.flipped()), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, Tensor]:
        return _Split.apply(tangents[0], ctx.lines)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], *inputs: Any) -> tuple[Any, tuple[int, int]]:  # noqa: ARG004
        x, lines = inputs
        return _Split.apply(x.movedim(in_dims[0], 0), lines), (0, 0)


class _Merge(torch.autograd.Function):
    """Synthesis, or the transpose of analysis: scales, steps from last to first, merge."""

    @staticmethod
    def forward(approx: Tensor, detail: Tensor, lines: _Lines) -> Tensor:
        scheme, dim = lines.scheme, lines.dim
        before, num_approx, after = _folded(approx, dim)
        num_detail = detail.shape[dim]
        size = num_approx + num_detail
        approx3 = approx.reshape(before, num_approx, after)
        detail3 = detail.reshape(before, num_detail, after)
        x = _empty(approx, dim, size)
        x3 = x.view(before, size, after)
        for at in _blocks(x, before, size, after):
            a, d = (
                half[at] * scale if lines.transposed else half[at] / scale
                for half, scale in zip((approx3, detail3), scheme.scales, strict=True)
            )
            for step in reversed(scheme.steps):
                _take(step, a, d, lines, 1 if lines.transposed else -1)
            here = x3[at]
            here[:, 0::2].copy_(a)
            here[:, 1::2].copy_(d)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        ctx.lines = inputs[2]

    @staticmethod
    def backward(ctx: Any, *x: Tensor) -> tuple[Tensor, Tensor, None]:
        return *_Split.apply(*x, ctx.lines.flipped()), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _Merge.apply(*tangents[:2], ctx.lines)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None, None], *inputs: Any) -> tuple[Tensor, int]:
        *bands, lines = inputs
        mapped = (
            band.expand(info.batch_size, *band.shape) if where is None else band.movedim(where, 0)
            for band, where in zip(bands, in_dims[:2], strict=True)
        )
        return _Merge.apply(*mapped, lines), 0


def _folded(x: Tensor, dim: int) -> tuple[int, int, int]:
    """How many lines lie before an axis, how long they are, how many lie after it."""
    shape = x.shape
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[len(shape) + dim + 1 :])


def _empty(like: Tensor, dim: int, num: int) -> Tensor:
    """Room for lines of another length; a tensor of its own and no view, so that whoever gets it may write into it."""
    shape = like.shape
    return like.new_empty(*shape[:dim], num, *shape[len(shape) + dim + 1 :])


def _blocks(x: Tensor, before: int, size: int, after: int) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of (before, size, after) with whole lines, small enough for a processor's cache."""
    lines = BLOCK // max(1, size * x.element_size()) if x.device.type == "cpu" else before * after
    columns = max(1, min(after, max(lines, 64)))
    rows = max(1, lines // columns)
    for row in range(0, before, rows):
        for column in range(0, after, columns):
            yield slice(row, row + rows), slice(None), slice(column, column + columns)


class _Link(NamedTuple):
    """Part of a step: so many samples of the source from one place on, times a weight, go to the target."""

    target: int
    source: int
    num: int
    weight: float


def _take(step: LiftingStep, approx: Tensor, detail: Tensor, lines: _Lines, sign: int) -> None:
    """Adds a step, or its transpose, to its target in place; the line is axis 1."""
    target, source = (detail, approx) if step.target == "detail" else (approx, detail)
    for link in _links(step, target.shape[1], source.shape[1], lines.boundary):
        to = target.narrow(1, link.target, link.num)
        of = source.narrow(1, link.source, link.num)
        if lines.transposed:
            to, of = of, to
        to.add_(of, alpha=sign * link.weight)


@lru_cache(maxsize=1024)
def _links(step: LiftingStep, num_target: int, num_source: int, boundary: str) -> tuple[_Link, ...]:
    """One link a tap where the source has the samples, and one a sample beyond its ends."""
    if num_source == 0:
        return ()
    links = []
    for offset, weight in enumerate(step.taps, step.first):
        begin = min(max(0, -offset), num_target)
        end = max(begin, min(num_target, num_source - offset))
        if end > begin:
            links.append(_Link(begin, begin + offset, end - begin, weight))
        for n in (*range(begin), *range(end, num_target)):
            stands = standing_for(n + offset, step, size=num_source, total=num_target + num_source, boundary=boundary)
            links.append(_Link(n, stands, 1, weight))
    return tuple(links)
