"""The table of restoration tasks: everything that differs from task to task is read from here.

A new task is one row here, one function in `degrade.py` and weights that were trained with it; the README of the
example shows one. This module does not import torch, which takes seconds: the scripts read it for their `--help`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pirnet.support.settings import check, shown

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Degradation:
    """The ranges of the parameters; the defaults are the fixed test: sigma 25, 15 x 15 at 1.6, x4.

    Raises:
        ValueError: A range is empty or holds a value that its degradation cannot take.
    """

    noise_sigma: tuple[float, float] = (25.0, 25.0)
    """Lowest and highest standard deviation of the noise, in 8-bit grey levels."""

    blur_kernel: tuple[int, int] = (15, 15)
    """Smallest and largest size of the blur kernel, in pixels; odd sizes are drawn."""

    blur_sigma: tuple[float, float] = (1.6, 1.6)
    """Lowest and highest standard deviation of the Gaussian blur, in pixels."""

    factors: tuple[int, ...] = (4,)
    """Factors of low resolution, one of which is drawn."""

    protocol: Literal["paper", "released"] = "paper"
    """Bicubic resizing with antialiasing, as in MATLAB and most papers; or without, as in the released PIRNet code."""

    def __post_init__(self) -> None:
        check(self, name=lambda path: f"Degradation.{path}")
        if not 0 <= self.noise_sigma[0] <= self.noise_sigma[1] < math.inf:
            raise ValueError(f"Degradation needs 0 <= lowest <= highest noise_sigma, got {shown(self.noise_sigma)}")
        if not 0 < self.blur_sigma[0] <= self.blur_sigma[1] < math.inf:
            raise ValueError(f"Degradation needs 0 < lowest <= highest blur_sigma, got {shown(self.blur_sigma)}")
        kernel = self.blur_kernel
        if kernel[0] < 1 or not self.kernel_sizes():
            raise ValueError(f"Degradation needs a blur_kernel range with an odd size from 1 up, got {shown(kernel)}")
        if not self.factors or min(self.factors) < 1:
            raise ValueError(f"Degradation needs one or more factors of at least 1, got {shown(self.factors)}")

    def kernel_sizes(self) -> range:
        """The odd sizes in the range of `blur_kernel`."""
        return range(self.blur_kernel[0] | 1, self.blur_kernel[1] + 1, 2)


@dataclass(frozen=True)
class Task:
    """One kind of damage that the cloud repairs."""

    title: str
    """The damage at test, as tables and figures call it."""
    degrade: str
    """A function of `degrade.py`, which takes images :math:`(B, 3, H, W)` in :math:`[0, 1]`, the `Degradation` and a
    generator, and draws its parameters once for the batch."""
    middle_blocks: int
    """NAFBlocks that the task adds after those of earlier tasks, at the coarsest level of the paper's restorer."""
    published: tuple[float, float] | None = None
    """PSNR in dB of restored stego and restored secret in the paper, on 50 pairs of DIV2K; None if it has no figure."""


TASKS: dict[str, Task] = {
    "denoise": Task("noise, sigma 25", "noisy", 0, (29.39, 29.21)),
    "deblur": Task("blur, 15 x 15, sigma 1.6", "blurred", 2, (30.12, 28.73)),
    "sr": Task("low resolution, x4", "small", 2, (30.33, 24.51)),
}
"""Tasks by name. Weights are for the first tasks of this table, as many as they were trained for: append new rows."""


def degrade(x: "torch.Tensor", task: str, degradation: Degradation, *, generator: "torch.Generator") -> "torch.Tensor":
    """Applies the degradation that a task undoes, with one draw of its parameters for the whole batch.

    The result is rounded to 8-bit grey levels, as in a file: blur without rounding could be undone almost without loss.
    Values beyond black and white, which a file would clip, are kept, because clipped noise is no longer Gaussian.

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
    from pirnet import degrade as degradations  # here, since it imports torch

    degraded: torch.Tensor = getattr(degradations, TASKS[task].degrade)(x, degradation, generator)
    return degraded.mul(255).round() / 255
