"""Boundary rules: what continues a line, or one half of it, beyond its ends."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from liftlayers.functional.schemes import LiftingStep

NON_EXPANSIVE = ("periodization", "reflect")
EXPANSIVE = ("symmetric", "zero", "constant", "periodic")


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


def extended(x: Tensor, left: int, right: int, *, dim: int, boundary: str) -> Tensor:
    """Returns lines with samples added at both ends by one of the expansive rules."""
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
