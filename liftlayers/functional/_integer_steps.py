"""The lifting steps of the lossless wavelets: weighted sums of integers, rounded, in which no sum overflows its dtype.

The taps are fixed-point numbers, so that all arithmetic is on integers and has the same bits on every device.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from liftlayers.functional.lifting import halves, lifting_sum, merged, with_steps, without_steps
from liftlayers.functional.schemes import LiftingStep, Scheme

FRACTION = 30  # bits of a tap after the binary point: 2^31 times the taps of a step, less than 4 in all, fits 64 bits


def lift_integers(x: Tensor, scheme: Scheme, *, dim: int) -> tuple[Tensor, Tensor]:
    """Splits lines of integers along an axis, counted from the end, into approximation and detail."""
    approx, detail = with_steps(*halves(x.transpose(dim, -1), -1), scheme, partial(_sum, name=scheme.name), dim=-1)
    return _signed(approx, scheme).transpose(dim, -1), detail.transpose(dim, -1)


def unlift_integers(approx: Tensor, detail: Tensor, scheme: Scheme, *, dim: int) -> Tensor:
    """Inverts `lift_integers`."""
    approx, detail = _signed(approx, scheme).transpose(dim, -1), detail.transpose(dim, -1)
    approx, detail = without_steps(approx, detail, scheme, partial(_sum, name=scheme.name), dim=-1)
    return merged(approx.transpose(dim, -1), detail.transpose(dim, -1), dim)


def _signed(approx: Tensor, scheme: Scheme) -> Tensor:
    """Returns the approximation with the sign of its scale."""
    return -approx if scheme.scales[0] < 0 else approx


def _sum(source: Tensor, step: LiftingStep, *, length: int, name: str) -> Tensor:
    """Computes what a step of a wavelet adds to its target."""
    special = WITHOUT_TAPS.get(name, {}).get(step.target)
    return special(source, length) if special else rounded_sum(source, step, length=length)


def rounded_sum(source: Tensor, step: LiftingStep, *, length: int) -> Tensor:
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
    "haar": {"detail": _minus_left_neighbour, "approx": _half},
    "bior2.2": {"detail": _minus_mean_of_neighbours, "approx": _quarter_of_neighbours},
}
