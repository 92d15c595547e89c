"""The lifting steps of the lossless wavelets: weighted sums of integers, rounded, in which no sum overflows its dtype.

The taps are fixed-point numbers, so that all arithmetic is on integers and has the same bits on every device.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liftlayers.functional.lifting import halves, lifting_sum, merged
from liftlayers.functional.schemes import LiftingStep, require_scheme

FRACTION = 30  # bits of a tap after the binary point: 2^31 times the taps of a step, less than 4 in all, fits 64 bits


class IntegerStep(NamedTuple):
    """One lifting step from integers to integers.

    `change` takes the half that the step reads and the length of its target, and returns what is added to the target.
    """

    target: Literal["approx", "detail"]
    change: Callable[[Tensor, int], Tensor]


class IntegerScheme(NamedTuple):
    """The steps of a transform, in order, and whether the approximation is then negated."""

    steps: tuple[IntegerStep, ...]
    negated: bool


def integer_scheme(who: str, wavelet: str) -> IntegerScheme:
    """Returns the steps of a wavelet; raises `ValueError`, naming `who`, if the wavelet is unknown."""
    scheme = require_scheme(who, wavelet)
    rounded = tuple(IntegerStep(step.target, partial(rounded_sum, step)) for step in scheme.steps)
    return IntegerScheme(WITHOUT_TAPS.get(scheme.name, rounded), scheme.scales[0] < 0)


def lift_integers(x: Tensor, scheme: IntegerScheme, *, dim: int) -> tuple[Tensor, Tensor]:
    """Splits lines of integers along an axis, counted from the end, into approximation and detail."""
    approx, detail = halves(x.transpose(dim, -1), dim=-1)
    for step in scheme.steps:
        if step.target == "detail":
            detail = detail + step.change(approx, detail.shape[-1])
        else:
            approx = approx + step.change(detail, approx.shape[-1])
    return (-approx if scheme.negated else approx).transpose(dim, -1), detail.transpose(dim, -1)


def unlift_integers(who: str, approx: Tensor, detail: Tensor, *, scheme: IntegerScheme, dim: int) -> Tensor:
    """Inverts `lift_integers`; raises `ValueError`, naming `who`, if there are too few or too many details."""
    num, num_detail = approx.shape[dim], detail.shape[dim]
    if num - num_detail not in (0, 1):
        raise ValueError(f"{who} needs as many details as approximations or one fewer, got {num_detail} for {num}")
    approx, detail = (-approx if scheme.negated else approx).transpose(dim, -1), detail.transpose(dim, -1)
    for step in reversed(scheme.steps):
        if step.target == "detail":
            detail = detail - step.change(approx, num_detail)
        else:
            approx = approx - step.change(detail, num)
    return merged(approx.transpose(dim, -1), detail.transpose(dim, -1), dim)


def rounded_sum(step: LiftingStep, source: Tensor, length: int) -> Tensor:
    r"""Computes a step's weighted sum of integers, on the mirrored line, and rounds it half up.

    .. math:: \left\lfloor \frac{\sum_j C_j \, o_{n + f + j} + 2^{F - 1}}{2^F} \right\rfloor, \qquad
        C_j = \operatorname{round}(2^F c_j)

    with :math:`F` = `FRACTION`. Samples of 64 bits are split at bit :math:`F`: the upper parts give multiples of
    :math:`2^F`, which are not rounded and may wrap around.
    """
    fixed = step._replace(taps=tuple(round(tap * 2**FRACTION) for tap in step.taps))
    whole, half = source.long(), 1 << (FRACTION - 1)
    sums = partial(lifting_sum, step=fixed, length=length, dim=-1, boundary="reflect")
    if source.dtype.itemsize < 8:
        rounded = (sums(whole) + half) >> FRACTION
    else:
        rounded = sums(whole >> FRACTION) + ((sums(whole & (2**FRACTION - 1)) + half) >> FRACTION)
    return rounded.to(source.dtype)


def _minus_left_neighbour(even: Tensor, num_odd: int) -> Tensor:
    return -even[..., :num_odd]


def _half(detail: Tensor, num_even: int) -> Tensor:
    return F.pad(detail >> 1, (0, num_even - detail.shape[-1]))


def _minus_mean_of_neighbours(even: Tensor, num_odd: int) -> Tensor:
    if even.shape[-1] == num_odd:  # the line ends with an odd sample, whose right neighbour is the mirrored left one
        even = torch.cat((even, even[..., -1:]), dim=-1)
    return -floor_of_mean(even[..., :-1], even[..., 1:])


def _quarter_of_neighbours(detail: Tensor, num_even: int) -> Tensor:
    if num_even == 1 and not detail.shape[-1]:  # a single sample has no neighbours
        return F.pad(detail, (0, 1))
    mirrored = detail[..., -1:] if num_even > detail.shape[-1] else detail[..., :0]
    detail = torch.cat((detail[..., :1], detail, mirrored), dim=-1)
    mean = floor_of_mean(detail[..., :-1], detail[..., 1:])
    return (mean >> 1) + (mean & 1)  # (mean + 1) >> 1, where mean + 1 might overflow


def floor_of_mean(a: Tensor, b: Tensor) -> Tensor:
    """Returns (a + b) >> 1 where a + b might overflow: common bits count in full, differing bits by half."""
    return (a & b) + ((a ^ b) >> 1)


# The S-transform, and the reversible 5/3 of JPEG 2000. `rounded_sum` has the same bits for the latter, more slowly.
WITHOUT_TAPS = {
    "haar": (IntegerStep("detail", _minus_left_neighbour), IntegerStep("approx", _half)),
    "bior2.2": (IntegerStep("detail", _minus_mean_of_neighbours), IntegerStep("approx", _quarter_of_neighbours)),
}
