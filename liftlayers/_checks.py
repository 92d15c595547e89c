"""Checks of arguments, used throughout the library: each error names the caller, what it needs and what it got."""

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor


def require_tensors(who: str, *tensors: Tensor) -> None:
    """Raises `TypeError` unless every argument is a tensor."""
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{who} needs tensors, got {type(tensor).__name__}")


def require_float(who: str, *tensors: Tensor) -> None:
    """Raises `TypeError` unless every tensor holds floating-point numbers."""
    require_tensors(who, *tensors)
    for tensor in tensors:
        if not tensor.is_floating_point():
            advice = "pass .real and .imag separately" if tensor.is_complex() else "call .float() first"
            raise TypeError(f"{who} needs floating-point tensors, got {tensor.dtype}; {advice}")


def require_same_device(who: str, *tensors: Tensor) -> None:
    """Raises `ValueError` unless all tensors are on one device."""
    if len({tensor.device for tensor in tensors}) > 1:
        devices = " and ".join(str(tensor.device) for tensor in tensors)
        raise ValueError(f"{who} needs its bands on one device, got {devices}")


def require_alike(who: str, *bands: Tensor) -> None:
    """Raises unless all bands are on one device and of one dtype, so that no dtype is promoted silently."""
    require_same_device(who, *bands)
    if len({band.dtype for band in bands}) > 1:
        raise TypeError(f"{who} needs bands of one dtype, got {' and '.join(str(band.dtype) for band in bands)}")


def require_four_axes(who: str, tensor: Tensor, *, channels: int | None = None) -> None:
    """Raises `ValueError` unless the tensor is (B, C, H, W), with C equal to `channels` if that is given."""
    if tensor.ndim != 4 or (channels is not None and tensor.shape[1] != channels):
        needed = "C" if channels is None else channels
        raise ValueError(f"{who} needs a (B, {needed}, H, W) tensor, got {tuple(tensor.shape)}")


def require_image(who: str, tensor: Tensor, *, channels: int | None = None) -> None:
    """Raises unless the tensor is a floating-point (B, C, H, W), with C equal to `channels` if that is given."""
    require_float(who, tensor)
    require_four_axes(who, tensor, channels=channels)


def require_even(who: str, x: Tensor) -> None:
    """Raises `ValueError` unless height and width are even, and not zero."""
    require_sides(who, x, num_axes=2)
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        raise ValueError(f"{who} needs an even height and width, got {height} x {width}")


def require_detail(who: str, approx: Tensor, detail: Tensor) -> None:
    """Raises unless `detail` stacks the detail bands of an approximation (B, C, H, W), of its dtype and device."""
    batch, channels, *size = approx.shape
    needed = batch, 3 * channels, *size
    if detail.shape != needed:
        given = f"an approximation of shape {tuple(approx.shape)}"
        raise ValueError(f"{who} needs a detail of shape {needed} for {given}, got {tuple(detail.shape)}")
    require_alike(who, approx, detail)


def require_image_bands(who: str, approx: Tensor, detail: Tensor) -> None:
    """Raises unless the two are the floating-point bands of an image, the detail bands stacked."""
    require_image(who, approx)
    require_image(who, detail)
    require_detail(who, approx, detail)


def require_fitting(who: str, x: Tensor, parameter: Tensor) -> None:
    """Raises unless `x` is (B, C, ...) with a channel for each row of the parameter, of its dtype and on its device."""
    require_float(who, x)
    if x.ndim < 2 or x.shape[1] != len(parameter):
        raise ValueError(f"{who} needs a (B, {len(parameter)}, ...) tensor, got {tuple(x.shape)}")
    if x.dtype != parameter.dtype:  # otherwise the result would have another dtype than the input
        raise TypeError(f"{who} needs a tensor of its parameters' {parameter.dtype}, got {x.dtype}")
    if x.device != parameter.device:
        raise ValueError(f"{who} needs a tensor on its parameters' device, {parameter.device}, got {x.device}")


def require_whole(who: str, **numbers: object) -> None:
    """Raises `TypeError` unless every number is a whole number; the keyword is the name in the error."""
    for name, number in numbers.items():
        if not isinstance(number, Integral) or isinstance(number, bool):
            raise TypeError(f"{who} needs a whole number as {name}, got {number!r}")


def require_positive(who: str, **numbers: int) -> None:
    """Raises unless every number is a whole number of at least 1; the keyword is the name in the error."""
    require_whole(who, **numbers)
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{who} needs {name} of at least 1, got {number}")


def require_sides(who: str, x: Tensor, *, num_axes: int) -> None:
    """Raises `ValueError` unless the tensor has the transformed axes, one or two, and they are not empty."""
    if x.ndim < num_axes or 0 in x.shape[-num_axes:]:
        needed = "(..., N)" if num_axes == 1 else "(..., H, W)"
        raise ValueError(f"{who} needs a tensor of shape {needed} without empty sides, got {tuple(x.shape)}")


def require_fitting_bands(who: str, approx: Tensor, *details: Tensor) -> None:
    """Raises unless bands are alike and fit together: shapes differ along the transformed axes only, consistently.

    One detail belongs to a transform of lines, three (horizontal, vertical, diagonal) to a transform of images.
    """
    require_alike(who, approx, *details)
    shapes = [tuple(band.shape) for band in (approx, *details)]
    fit = min([len(shape) for shape in shapes]) > len(details) // 2
    if fit and len(details) == 1:
        fit = shapes[0][:-1] == shapes[1][:-1]
    elif fit:
        *leading, rows, columns = shapes[0]
        detail_rows, detail_columns = shapes[1][-2], shapes[2][-1]
        sizes = (detail_rows, columns), (rows, detail_columns), (detail_rows, detail_columns)
        fit = shapes[1:] == [(*leading, *size) for size in sizes]
    if not fit:
        raise ValueError(f"{who} needs bands that fit together, got shapes {', '.join(map(str, shapes))}")


def four_bands(who: str, coefficients: object) -> list[Tensor]:
    """Flattens (approx, (horizontal, vertical, diagonal)) into a list of four bands.

    Raises `TypeError` for another nesting, a stacked detail for instance, which would be split along its batch.
    """
    if isinstance(coefficients, Sequence) and len(coefficients) == 2:
        approx, details = coefficients
        if isinstance(details, Sequence) and len(details) == 3:
            return [approx, *details]
    raise TypeError(f"{who} needs (approx, (horizontal, vertical, diagonal)), got {_nesting(coefficients)}")


def _nesting(nest: object) -> str:
    if isinstance(nest, Sequence) and not isinstance(nest, str):
        return f"({', '.join(map(_nesting, nest))})"
    return type(nest).__name__
