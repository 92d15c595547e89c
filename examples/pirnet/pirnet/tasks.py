"""The table of restoration tasks: everything that differs from task to task is read from here.

A new task is one row here, one function in `degrade.py` and weights that were trained with it; the README of the
example shows one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pirnet import degrade as degradations
from pirnet.degrade import Degradation


@dataclass(frozen=True)
class Task:
    """One kind of damage that the cloud repairs."""

    title: str
    """The damage at test, as tables and figures call it."""
    degrade: Callable[[Tensor, Degradation, torch.Generator], Tensor]
    """Images :math:`(B, 3, H, W)` in :math:`[0, 1]` to damaged ones, with one draw of the parameters for the batch."""
    middle_blocks: int
    """NAFBlocks that the task adds after those of earlier tasks, at the coarsest level of the paper's restorer."""
    published: tuple[float, float] | None = None
    """PSNR in dB of restored stego and restored secret in the paper, on 50 pairs of DIV2K; None if it has no figure."""


TASKS: dict[str, Task] = {
    "denoise": Task("noise, sigma 25", degradations.noisy, 0, (29.39, 29.21)),
    "deblur": Task("blur, 15 x 15, sigma 1.6", degradations.blurred, 2, (30.12, 28.73)),
    "sr": Task("low resolution, x4", degradations.small, 2, (30.33, 24.51)),
}
"""Tasks by name. Weights are for the first tasks of this table, as many as they were trained for: append new rows."""


def degrade(x: Tensor, task: str, degradation: Degradation, *, generator: torch.Generator) -> Tensor:
    """Applies the degradation that a task undoes, with one draw of its parameters for the whole batch.

    Args:
        x: Images :math:`(B, 3, H, W)` in :math:`[0, 1]`.
        task: A name in `TASKS`.
        degradation: The ranges of the parameters.
        generator: Draws the parameters, then the noise.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: `x` has another shape, or `task` is unknown.
    """
    if task not in TASKS:
        raise ValueError(f"degrade needs a task among {', '.join(TASKS)}, got {task!r}")
    return TASKS[task].degrade(x, degradation, generator)
