"""Analysis and synthesis along one axis under every boundary rule, and the checks of their arguments."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from liftlayers._checks import require_float
from liftlayers.functional import lifting
from liftlayers.functional._inplace_lifting import lift_in_place, unlift_in_place
from liftlayers.functional.schemes import Scheme, filter_length, require_scheme

NON_EXPANSIVE = ("periodization", "reflect")
EXPANSIVE = ("symmetric", "zero", "constant", "periodic")


def analysis(x: Tensor, scheme: Scheme, *, dim: int, boundary: str, spacing: int = 0) -> tuple[Tensor, Tensor]:
    """Returns approximation and detail along an axis, counted from the end; undecimated if there is a spacing."""
    lift = lifting.lift if torch.compiler.is_compiling() else lift_in_place  # compilers fuse the plain form
    if boundary in NON_EXPANSIVE:
        return lift(x, scheme, dim=dim, boundary=boundary, spacing=spacing)
    length = filter_length(scheme)
    num = (x.shape[dim] + length - 1) // 2
    left, first = _margin(length)
    right = 2 * num - x.shape[dim] + left % 2
    line = extended(x, left, right, dim=dim, boundary=boundary)
    approx, detail = lift(line, scheme, dim=dim, boundary="periodization")
    return approx.narrow(dim, first, num), detail.narrow(dim, first, num)


def synthesis(
    who: str,
    approx: Tensor,
    detail: Tensor,
    scheme: Scheme,
    *,
    dim: int,
    boundary: str,
    size: int | None,
    spacing: int = 0,
) -> Tensor:
    """Returns the lines along an axis, counted from the end."""
    unlift = lifting.unlift if torch.compiler.is_compiling() else unlift_in_place
    num, num_detail = approx.shape[dim], detail.shape[dim]
    if boundary in NON_EXPANSIVE:
        total = num + num_detail
        if total == 0 or num - num_detail not in (0, 1):
            raise ValueError(f"{who} needs as many details as approximations or one fewer, got {num_detail} for {num}")
        if size not in (None, total):
            raise ValueError(f"{who} needs a size of {total} for {num} + {num_detail} coefficients, got {size}")
        return unlift(approx, detail, scheme, dim=dim, boundary=boundary, spacing=spacing)
    length = filter_length(scheme)
    even = 2 * num - length + 2
    if num != num_detail or even < 2:
        needed = f"as many details as approximations, at least {length // 2}, for {scheme.name!r} and {boundary!r}"
        raise ValueError(f"{who} needs {needed}, got {num_detail} and {num}")
    if size not in (None, even, even - 1):
        raise ValueError(f"{who} needs a size of {even - 1} or {even} for {num} coefficients, got {size}")
    left, first = _margin(length)
    approx, detail = (extended(band, first, 0, dim=dim, boundary="zero") for band in (approx, detail))
    line = unlift(approx, detail, scheme, dim=dim, boundary="periodization")
    return line.narrow(dim, left, even if size is None else size)


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


def scheme_for(who: str, wavelet: str, boundary: str, *tensors: Tensor) -> Scheme:
    """Returns the scheme of a wavelet; raises unless it and the boundary rule are known and the tensors hold floats."""
    scheme, rules = require_scheme(who, wavelet), (*NON_EXPANSIVE, *EXPANSIVE)
    if boundary not in rules:
        raise ValueError(f"{who} needs a boundary among {', '.join(map(repr, rules))}, got {boundary!r}")
    require_float(who, *tensors)
    return scheme
