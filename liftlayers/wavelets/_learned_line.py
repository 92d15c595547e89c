"""The lifting steps of a named wavelet along one axis, each with a network on top of its fixed taps."""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from liftlayers.chains.sequential import Sequential
from liftlayers.couplings.additive import AdditiveCoupling
from liftlayers.couplings.lifting import Update
from liftlayers.functional.lifting import lifting_sum
from liftlayers.functional.schemes import LiftingStep, Scheme
from liftlayers.invertible import Invertible, VolumePreserving
from liftlayers.nn._networks import require_network

Boundary = Literal["periodization", "reflect"]


class OnSkeleton(nn.Module):
    r"""Computes what a lifting step adds to its target: the sum of its fixed taps and a network's output.

    .. math:: f(x)_n = \sum_j c_j \, x_{n + j} + r(\Delta x)_n, \qquad (\Delta x)_n = x_{n + 1} - x_n

    The network sees the differences :math:`\Delta x`. An even sample lies between the previous odd sample and the odd
    sample of the same index, so when even samples are the target, :math:`\Delta` is the backward difference instead.
    Differences across the border are zero.

    Args:
        step: The step, with its taps :math:`c`.
        residual: The network :math:`r`, from :math:`(N, K, L, M)` to the same shape, lines along the last axis.
        dim: The axis of `x` that is lifted, -1 or -2.
        boundary: Rule by which the taps continue beyond the border; the network has its own.
        together: Number :math:`K` of parts of each channel that the network sees together.

    Shape:
        - Input and output :math:`(B, K'C, H, W)`, stacked part by part, :math:`K'` a multiple of :math:`K`.

    Raises:
        ValueError: If the network's output does not have the shape of its input.
    """

    def __init__(self, step: LiftingStep, residual: nn.Module, *, dim: int, boundary: Boundary, together: int) -> None:
        super().__init__()
        self.step, self.dim, self.boundary, self.together = step, dim, boundary, together
        require_network("a learned wavelet", residual)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        fixed = lifting_sum(x, self.step, length=x.shape[self.dim], dim=self.dim, boundary=self.boundary)
        axes = "h w" if self.dim == -1 else "w h"  # the network sees lines along the last axis
        lines = rearrange(x, f"b (k c) h w -> (b c) k {axes}", k=self.together)
        before, after = (None, lines[..., -1:]) if self.step.target == "detail" else (lines[..., :1], None)
        output = self.residual(torch.diff(lines, dim=-1, prepend=before, append=after))
        if output.shape != lines.shape:
            found = f"{tuple(output.shape)} from {type(self.residual).__name__} for {tuple(lines.shape)}"
            raise ValueError(f"a learned wavelet needs networks that keep the shape, got {found}")
        channels = x.shape[1] // self.together
        return fixed + rearrange(output, f"(b c) k {axes} -> b (k c) h w", b=x.shape[0], c=channels)

    def extra_repr(self) -> str:
        return f"taps={self.step.taps}, first={self.step.first}, dim={self.dim}, boundary={self.boundary!r}"


class ScalePair(VolumePreserving):
    r"""Multiplies the approximation by a number and the detail by the reciprocal of that number, up to the sign.

    .. math:: a' = s a, \qquad d' = t d, \qquad |s t| = 1

    Args:
        approx: The factor :math:`s`.
        detail: The factor :math:`t`.

    Shape:
        - Two bands of any shape.
    """

    def __init__(self, approx: float, detail: float) -> None:
        super().__init__()
        self.factors = approx, detail

    def scales(self) -> tuple[float | Tensor, float | Tensor]:
        return self.factors

    def forward(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.scales()
        return approx * s, detail * t

    def inverse(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.scales()
        return approx / s, detail / t


class LearnedScalePair(ScalePair):
    r"""A scale pair with one more, learned factor, which starts at one.

    .. math:: s = s_0 e^g, \qquad t = t_0 e^{-g}

    Args:
        approx: The factor :math:`s_0`.
        detail: The factor :math:`t_0`.

    Shape:
        - Two bands of any shape.
    """

    def __init__(self, approx: float, detail: float) -> None:
        super().__init__(approx, detail)
        self.gain = nn.Parameter(torch.zeros(()))

    def scales(self) -> tuple[Tensor, Tensor]:
        s, t = self.factors
        return s * self.gain.exp(), t * (-self.gain).exp()


def line(
    scheme: Scheme, residuals: list[nn.Module], scales: list[ScalePair], *, dim: int, boundary: Boundary, together: int
) -> Sequential:
    """Returns a chain of the scheme's steps along one axis, each with its network, followed by the scales."""
    couplings: list[Invertible] = []
    for step, residual in zip(scheme.steps, residuals, strict=True):
        coupling = Update if step.target == "approx" else AdditiveCoupling
        couplings.append(coupling(OnSkeleton(step, residual, dim=dim, boundary=boundary, together=together)))
    return Sequential(*couplings, *scales)
