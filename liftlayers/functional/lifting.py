"""A scheme along one axis: splits lines into approximation and detail by lifting steps, and merges them again."""

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor

from liftlayers.functional.schemes import LiftingStep, Scheme

Sum = Callable[..., Tensor]  # of a source, a step and `length=`, as `lifting_sum`


def lift(x: Tensor, scheme: Scheme, *, dim: int, boundary: str, spacing: int = 0) -> tuple[Tensor, Tensor]:
    r"""Splits lines into even and odd samples, takes the steps of a scheme in order, and scales.

    .. math::

        a, d = x_{2n}, x_{2n+1}; \qquad d \leftarrow d + S_1(a), \quad a \leftarrow a + S_2(d), \quad \dots; \qquad
        a, d \leftarrow K_a a, K_d d

    Each :math:`S_i` is a `lifting_sum`. The scheme says which half changes first.

    With a spacing :math:`s > 0` the transform is undecimated: :math:`a_n = x_n` and :math:`d_n = x_{n+s}` for every
    :math:`n` of the periodic line, and the steps read samples that are :math:`2s` apart.

    Args:
        x: Lines of any length :math:`n` along the axis `dim`.
        scheme: The steps and the scales.
        dim: The axis, counted from the end.
        boundary: As for `lifting_sum`.
        spacing: The number :math:`s`, or 0 for the decimated transform.

    Returns:
        :math:`\lceil n/2 \rceil` approximations and :math:`\lfloor n/2 \rfloor` details along that axis, or
        :math:`n` of each if the transform is undecimated.

    Example:
        >>> from liftlayers.functional.schemes import scheme
        >>> approx, detail = lift(torch.arange(5.0), scheme("5/3"), dim=-1, boundary="reflect")
        >>> approx / 2**0.5, detail.abs()
        (tensor([0., 2., 4.]), tensor([0., 0.]))
    """
    approx, detail = (x, x.roll(-spacing, dim)) if spacing else halves(x, dim)
    added = partial(lifting_sum, dim=dim, boundary=boundary, spacing=spacing)
    approx, detail = with_steps(approx, detail, scheme, added, dim=dim)
    return scheme.scales[0] * approx, scheme.scales[1] * detail


def unlift(approx: Tensor, detail: Tensor, scheme: Scheme, *, dim: int, boundary: str, spacing: int = 0) -> Tensor:
    """Inverts `lift`: undoes the scales, then the steps from the last to the first, and merges the halves.

    Undecimated halves hold every sample twice, and the mean of both is returned.
    """
    approx, detail = approx / scheme.scales[0], detail / scheme.scales[1]
    added = partial(lifting_sum, dim=dim, boundary=boundary, spacing=spacing)
    approx, detail = without_steps(approx, detail, scheme, added, dim=dim)
    return 0.5 * (approx + detail.roll(spacing, dim)) if spacing else merged(approx, detail, dim)


def with_steps(approx: Tensor, detail: Tensor, scheme: Scheme, added: Sum, *, dim: int) -> tuple[Tensor, Tensor]:
    """Takes the steps of a scheme in order; `added` computes what each adds to its target."""
    for step in scheme.steps:
        if step.target == "detail":
            detail = detail + added(approx, step, length=detail.shape[dim])
        else:
            approx = approx + added(detail, step, length=approx.shape[dim])
    return approx, detail


def without_steps(approx: Tensor, detail: Tensor, scheme: Scheme, added: Sum, *, dim: int) -> tuple[Tensor, Tensor]:
    """Undoes `with_steps`."""
    for step in reversed(scheme.steps):
        if step.target == "detail":
            detail = detail - added(approx, step, length=detail.shape[dim])
        else:
            approx = approx - added(detail, step, length=approx.shape[dim])
    return approx, detail


def lifting_sum(source: Tensor, step: LiftingStep, *, length: int, dim: int, boundary: str, spacing: int = 0) -> Tensor:
    r"""Computes what a step adds to its target.

    .. math:: S(o)_n = \sum_j c_j \, o_{n + f + j}, \qquad n = 0, \dots, N - 1

    Args:
        source: The half :math:`o` that the step reads.
        step: The step, with taps :math:`c` and the offset :math:`f` of the first tap.
        length: The number :math:`N` of samples of the target: as many as the source has, or one more or less.
        dim: The axis of the lines, counted from the end.
        boundary: ``"periodization"`` repeats the source; ``"reflect"`` mirrors the line at its first and last sample.
        spacing: With a number :math:`s > 0`, the sum is that of :math:`o_{n + 2s(f + j)}`, with a periodic :math:`o`.

    Returns:
        A tensor shaped like `source`, but with :math:`N` samples along `dim`; zeros if the source is empty there.

    Example:
        >>> from liftlayers.functional.schemes import scheme
        >>> predict = scheme("5/3").steps[0]  # subtracts the mean of both neighbours
        >>> lifting_sum(torch.tensor([0.0, 2.0, 4.0]), predict, length=3, dim=-1, boundary="reflect")
        tensor([-1., -3., -4.])
    """
    if spacing:
        far = 2 * spacing
        return sum(tap * source.roll(-far * n, dim) for n, tap in enumerate(step.taps, step.first))  # type: ignore[return-value]
    size = source.shape[dim]
    if length == 0:
        return source.narrow(dim, 0, 0)
    if size == 0:
        return source.sum(dim, keepdim=True).narrow(dim, 0, length)
    longer = 0 if length == size else 1 if length > size else -1  # sizes may be symbols, but `range` needs numbers
    before, after = max(0, -step.first), max(0, longer + step.first + len(step.taps) - 1)
    beyond = [
        source.narrow(dim, index_inside(n, step, size=size, total=size + length, boundary=boundary), 1)
        for n in (*range(-before, 0), *(size + n for n in range(after)))
    ]
    line = torch.cat([*beyond[:before], source, *beyond[before:]], dim)
    start = before + step.first
    return reduce(torch.add, (tap * line.narrow(dim, offset, length) for offset, tap in enumerate(step.taps, start)))


def index_inside(position: int, step: LiftingStep, *, size: int, total: int, boundary: str) -> int:
    """Returns the index of the source sample that a step reads at a position beyond the source's ends.

    Args:
        position: Position in the source, either negative or at least `size`.
        step: The step; its target says which half is the source.
        size: Number of samples of the source, at least one.
        total: Number of samples of both halves, at least two.
        boundary: ``"periodization"`` repeats the half; ``"reflect"`` mirrors the whole line at its first and last
            sample, which maps even samples to even ones and odd samples to odd ones.
    """
    if boundary == "periodization":
        return position % size
    parity = 0 if step.target == "detail" else 1
    period = 2 * (total - 1)
    in_line = (2 * position + parity) % period
    return min(in_line, period - in_line) // 2


def halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Returns views of the even and of the odd samples along an axis, counted from the end."""
    after = [slice(None)] * (-dim - 1)
    return x[(..., slice(0, None, 2), *after)], x[(..., slice(1, None, 2), *after)]


def merged(approx: Tensor, detail: Tensor, dim: int) -> Tensor:
    """Interleaves even and odd samples: the inverse of `halves`."""
    pairs = detail.shape[dim]
    line = torch.stack((approx.narrow(dim, 0, pairs), detail), dim).flatten(dim - 1, dim)
    return line if approx.shape[dim] == pairs else torch.cat((line, approx.narrow(dim, pairs, 1)), dim)
