"""A named wavelet transform along one axis at a time, under every boundary rule."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from liftlayers.functional import lifting
from liftlayers.functional._inplace_lifting import lift_in_place, unlift_in_place
from liftlayers.functional.schemes import Scheme, filter_length

NON_EXPANSIVE = ("periodization", "reflect")
EXPANSIVE = ("symmetric", "zero", "constant", "periodic")


class LineTransform(NamedTuple):
    """A transform of lines along any of several axes; errors name `who` as the function that was called."""

    who: str
    scheme: Scheme
    dims: tuple[int, ...]  # the axes, counted from the end
    boundary: str = "periodization"
    spacing: int = 0  # of the samples that an undecimated transform reads, else 0

    @property
    def expands(self) -> bool:
        return self.boundary in EXPANSIVE

    def split(self, x: Tensor, dim: int) -> Sequence[Tensor]:
        """Returns approximation and detail along one axis."""
        lift = lifting.lift if torch.compiler.is_compiling() else lift_in_place  # compilers fuse the plain form
        if not self.expands:
            return lift(x, self.scheme, dim=dim, boundary=self.boundary, spacing=self.spacing)
        length = filter_length(self.scheme)
        num = (x.shape[dim] + length - 1) // 2
        left, first = _margin(length)
        right = 2 * num - x.shape[dim] + left % 2
        line = extended(x, left, right, dim=dim, boundary=self.boundary)
        approx, detail = lift(line, self.scheme, dim=dim, boundary="periodization")
        return approx.narrow(dim, first, num), detail.narrow(dim, first, num)

    def merge(self, approx: Tensor, detail: Tensor, dim: int, *, size: int | None) -> Tensor:
        """Inverts `split`; raises `ValueError` if the bands do not fit together or do not fit the size."""
        num, num_detail = approx.shape[dim], detail.shape[dim]
        if not self.expands:
            if num == 0 or num - num_detail not in (0, 1):
                needed = "as many details as approximations or one fewer"
                raise ValueError(f"{self.who} needs {needed}, got {num_detail} for {num}")
            if size not in (None, num + num_detail):
                needed = f"{num + num_detail} for {num} + {num_detail} coefficients"
                raise ValueError(f"{self.who} needs a size of {needed}, got {size}")
            return self.join(approx, detail, dim)
        length = filter_length(self.scheme)
        even = 2 * num - length + 2
        if num != num_detail or even < 2:
            rule = f"{self.scheme.name!r} and {self.boundary!r}"
            needed = f"as many details as approximations, at least {length // 2}, for {rule}"
            raise ValueError(f"{self.who} needs {needed}, got {num_detail} and {num}")
        if size not in (None, even, even - 1):
            raise ValueError(f"{self.who} needs a size of {even - 1} or {even} for {num} coefficients, got {size}")
        left, first = _margin(length)
        approx, detail = (extended(band, first, 0, dim=dim, boundary="zero") for band in (approx, detail))
        line = self._replace(boundary="periodization").join(approx, detail, dim)
        return line.narrow(dim, left, even if size is None else size)

    def join(self, approx: Tensor, detail: Tensor, dim: int) -> Tensor:
        """Merges bands that fit together, under a rule that is not expansive."""
        unlift = lifting.unlift if torch.compiler.is_compiling() else unlift_in_place
        return unlift(approx, detail, self.scheme, dim=dim, boundary=self.boundary, spacing=self.spacing)


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


def _margin(length: int) -> tuple[int, int]:
    """Returns how many samples are added before a line, and which of our coefficients is PyWavelets' first.

    PyWavelets' coefficient :math:`k` reads samples :math:`2k + 2 - L` to :math:`2k + 1` of the line. Ours reads samples
    :math:`2k + 1 - L/2` to :math:`2k + L/2` of the extended line.
    """
    left = length - 2 + (length // 2 + 1) % 2
    return left, (left + 1 - length // 2) // 2
