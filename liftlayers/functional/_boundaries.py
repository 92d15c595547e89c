"""What stands beyond the ends of a line, for samples and for the halves of a line."""

__all__ = ["EXPANSIVE", "NON_EXPANSIVE", "extended", "standing_for"]

import torch
from torch import Tensor
from torch.nn.functional import pad

from liftlayers.functional.schemes import LiftingStep

NON_EXPANSIVE = ("periodization", "reflect")
EXPANSIVE = ("symmetric", "zero", "constant", "periodic")


def standing_for(position: int, step: LiftingStep, *, size: int, total: int, boundary: str) -> int:
    """Which sample of a step's source stands for the one at a position beyond its ends.

    Args:
        position: In the source, below zero or not below its size.
        step: Says which half is the source.
        size: How many samples the source has; at least one.
        total: How many samples both halves have; at least two.
        boundary: ``"periodization"`` repeats the half; ``"reflect"`` mirrors the line at its first and last sample,
            which maps even samples to even ones, and odd to odd.
    """
    if boundary == "periodization":
        return position % size
    parity = 0 if step.target == "detail" else 1
    period = 2 * (total - 1)
    place = (2 * position + parity) % period
    return min(place, period - place) // 2


def extended(x: Tensor, left: int, right: int, *, dim: int, boundary: str) -> Tensor:
    """Lines with samples added at both ends by one of the expansive rules."""
    if boundary == "zero":
        return pad(x, (*[0, 0] * (-dim - 1), left, right))
    size = x.shape[dim]
    index = torch.arange(-left, size + right, device=x.device)
    if boundary == "constant":
        index = index.clamp(0, size - 1)
    elif boundary == "periodic":
        index = index % size
    else:
        index = index % (2 * size)
        index = torch.minimum(index, 2 * size - 1 - index)
    return x.index_select(dim, index)
