"""Analysis and synthesis of one axis under every boundary rule, and the checks of what they are given."""

__all__ = ["analysis", "require_bands", "require_boundary", "require_lines", "synthesis"]

import torch
from torch import Tensor

from liftlayers._checks import require_alike, require_float
from liftlayers.functional._boundaries import EXPANSIVE, NON_EXPANSIVE, extended
from liftlayers.functional._in_place import lift_in_place, unlift_in_place
from liftlayers.functional.lifting import lift, unlift
from liftlayers.functional.schemes import Scheme, filter_length


def analysis(x: Tensor, scheme: Scheme, *, dim: int, boundary: str) -> tuple[Tensor, Tensor]:
    """Approximation and detail along an axis, counted from the end."""
    if boundary in NON_EXPANSIVE:
        return _lift(x, scheme, dim=dim, boundary=boundary)
    length = filter_length(scheme)
    num = (x.shape[dim] + length - 1) // 2
    left, first = _margin(length)
    right = 2 * num - x.shape[dim] + left % 2
    line = extended(x, left, right, dim=dim, boundary=boundary)
    approx, detail = _lift(line, scheme, dim=dim, boundary="periodization")
    return approx.narrow(dim, first, num), detail.narrow(dim, first, num)


def synthesis(
    who: str, approx: Tensor, detail: Tensor, scheme: Scheme, *, dim: int, boundary: str, size: int | None
) -> Tensor:
    """The lines along an axis, counted from the end."""
    num, num_detail = approx.shape[dim], detail.shape[dim]
    if boundary in NON_EXPANSIVE:
        total = num + num_detail
        if total == 0 or num - num_detail not in (0, 1):
            raise ValueError(
                f"{who} needs as many details as approximations or one fewer under {boundary!r}, "
                f"got {num_detail} for {num}"
            )
        if size not in (None, total):
            raise ValueError(f"{who} needs a size of {total} for {num} + {num_detail} coefficients, got {size}")
        return _unlift(approx, detail, scheme, dim=dim, boundary=boundary)
    length = filter_length(scheme)
    even = 2 * num - length + 2
    if num != num_detail or even < 2:
        raise ValueError(
            f"{who} needs as many details as approximations, at least {length // 2}, for {scheme.name!r} under "
            f"{boundary!r}, got {num_detail} and {num}"
        )
    if size not in (None, even, even - 1):
        raise ValueError(f"{who} needs a size of {even - 1} or {even} for {num} coefficients, got {size}")
    left, first = _margin(length)
    approx, detail = (extended(band, first, 0, dim=dim, boundary="zero") for band in (approx, detail))
    line = _unlift(approx, detail, scheme, dim=dim, boundary="periodization")
    return line.narrow(dim, left, even if size is None else size)


def _margin(length: int) -> tuple[int, int]:
    """How many samples are put before a line, and which coefficient is then PyWavelets' first.

    PyWavelets' coefficient :math:`k` reads samples :math:`2k + 2 - L` to :math:`2k + 1` of the line; ours, of what is
    extended, reads :math:`2k + 1 - L/2` to :math:`2k + L/2`.
    """
    left = length - 2 + (length // 2 + 1) % 2
    return left, (left + 1 - length // 2) // 2


def _lift(x: Tensor, scheme: Scheme, *, dim: int, boundary: str) -> tuple[Tensor, Tensor]:
    transform = lift if torch.compiler.is_compiling() else lift_in_place  # compilers fuse what stands there plainly
    return transform(x, scheme, dim=dim, boundary=boundary)


def _unlift(approx: Tensor, detail: Tensor, scheme: Scheme, *, dim: int, boundary: str) -> Tensor:
    transform = unlift if torch.compiler.is_compiling() else unlift_in_place
    return transform(approx, detail, scheme, dim=dim, boundary=boundary)


def require_boundary(who: str, boundary: str) -> None:
    """Raises `ValueError` unless the rule is known."""
    if boundary not in (*NON_EXPANSIVE, *EXPANSIVE):
        known = ", ".join(map(repr, (*NON_EXPANSIVE, *EXPANSIVE)))
        raise ValueError(f"{who} needs a boundary among {known}, got {boundary!r}")


def require_lines(who: str, x: Tensor, *, num_axes: int) -> None:
    """Raises unless the tensor is floating-point and its last axes have samples."""
    require_float(who, x)
    if x.ndim < num_axes or 0 in x.shape[-num_axes:]:
        raise ValueError(f"{who} needs a tensor of shape {_SHAPES[num_axes]} without empty sides, got {tuple(x.shape)}")


def require_bands(who: str, *bands: Tensor) -> None:
    """Raises unless the bands have one dtype and device, and shapes that differ in the last one or two axes only."""
    require_float(who, *bands)
    require_alike(who, *bands)
    num_axes = len(bands) // 2
    leading = [tuple(band.shape[:-num_axes]) for band in bands]
    shapes = [tuple(band.shape[-num_axes:]) for band in bands]
    fit = len(shapes[0]) == num_axes and all(shape == leading[0] for shape in leading)
    if fit and num_axes == 2:
        approx, horizontal, vertical, diagonal = shapes
        rows, columns = (approx[0], horizontal[0]), (approx[1], vertical[1])
        fit = (vertical[0], diagonal[0], horizontal[1], diagonal[1]) == (*rows, *columns)
    if not fit:
        raise ValueError(
            f"{who} needs bands that fit together, got shapes {', '.join(str(tuple(band.shape)) for band in bands)}"
        )


_SHAPES = {1: "(..., N)", 2: "(..., H, W)"}
