"""The lifting steps of the lossless wavelets: means of integers, rounded down, in which no sum overflows its dtype."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class LosslessSteps(NamedTuple):
    """The two lifting steps of a transform.

    Each takes one half of a line and the length of the other half, and returns what is subtracted from that other half
    (predict) or added to it (update).
    """

    predict: Callable[[Tensor, int], Tensor]
    update: Callable[[Tensor, int], Tensor]


def lossless_steps(who: str, wavelet: str) -> LosslessSteps:
    """Returns the steps of a wavelet; raises `ValueError`, naming `who`, if the wavelet is unknown."""
    if wavelet not in STEPS:
        raise ValueError(f"{who} needs one of the wavelets {', '.join(map(repr, STEPS))}, got {wavelet!r}")
    return STEPS[wavelet]


def _left_neighbour(even: Tensor, num_odd: int) -> Tensor:
    return even[..., :num_odd]


def _half(detail: Tensor, num_even: int) -> Tensor:
    return F.pad(detail >> 1, (0, num_even - detail.shape[-1]))


def _mean_of_neighbours(even: Tensor, num_odd: int) -> Tensor:
    if even.shape[-1] == num_odd:  # the line ends with an odd sample, whose right neighbour is the mirrored left one
        even = torch.cat((even, even[..., -1:]), dim=-1)
    return _floor_of_mean(even[..., :-1], even[..., 1:])


def _quarter_of_neighbours(detail: Tensor, num_even: int) -> Tensor:
    if num_even == 1 and not detail.shape[-1]:  # a single sample has no neighbours
        return F.pad(detail, (0, 1))
    mirrored = detail[..., -1:] if num_even > detail.shape[-1] else detail[..., :0]
    detail = torch.cat((detail[..., :1], detail, mirrored), dim=-1)
    mean = _floor_of_mean(detail[..., :-1], detail[..., 1:])
    return (mean >> 1) + (mean & 1)  # (mean + 1) >> 1, where mean + 1 might overflow


def _floor_of_mean(a: Tensor, b: Tensor) -> Tensor:
    """Returns (a + b) >> 1 where a + b might overflow: common bits count in full, differing bits by half."""
    return (a & b) + ((a ^ b) >> 1)


S_TRANSFORM = LosslessSteps(_left_neighbour, _half)
REVERSIBLE_53 = LosslessSteps(_mean_of_neighbours, _quarter_of_neighbours)
STEPS = {"haar": S_TRANSFORM, "5/3": REVERSIBLE_53, "bior2.2": REVERSIBLE_53}
