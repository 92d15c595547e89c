"""Checks of arguments, used throughout the library: each error names the caller, what it needs and what it got."""

from collections.abc import Mapping, Sequence
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


def require_condition(who: str, condition: object) -> None:
    """Raises `TypeError` unless a condition is a tensor or `None`."""
    if not (condition is None or isinstance(condition, Tensor)):
        raise TypeError(f"{who} needs a tensor as condition, got {type(condition).__name__}")


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


def require_image(who: str, tensor: Tensor, *, channels: int | None = None, spatial_dims: int = 2) -> None:
    """Raises unless the tensor holds floating-point numbers and has the shape that `require_shape` requires."""
    require_float(who, tensor)
    require_shape(who, tensor, channels=channels, spatial_dims=spatial_dims)


def require_shape(who: str, tensor: Tensor, *, channels: int | None = None, spatial_dims: int = 2) -> None:
    """Raises unless the tensor is (B, C, H, W), with C equal to `channels` if that is given.

    For another number of spatial axes it is (B, C, W) or (B, C, D, H, W).
    """
    require_tensors(who, tensor)
    if tensor.ndim != 2 + spatial_dims or (channels is not None and tensor.shape[1] != channels):
        needed = ", ".join(["B", "C" if channels is None else str(channels), *"DHW"[-spatial_dims:]])
        raise ValueError(f"{who} needs a ({needed}) tensor, got {tuple(tensor.shape)}")


def require_even(who: str, x: Tensor, *, spatial_dims: int = 2) -> None:
    """Raises `ValueError` unless the spatial sides, the last ones, are even, and not zero."""
    require_sides(who, x, num_axes=spatial_dims)
    sides = x.shape[-spatial_dims:]
    if any(side % 2 for side in sides):
        needed = ("width", "height and width", "depth, height and width")[spatial_dims - 1]
        raise ValueError(f"{who} needs an even {needed}, got {' x '.join(map(str, sides))}")


def require_detail(who: str, approx: Tensor, detail: Tensor) -> None:
    """Raises unless `detail` stacks the detail bands of an approximation (B, C, ...), of its dtype and device."""
    require_tensors(who, detail)
    batch, channels, *size = approx.shape
    needed = batch, (2 ** len(size) - 1) * channels, *size
    if detail.shape != needed:
        given = f"an approximation of shape {tuple(approx.shape)}"
        raise ValueError(f"{who} needs a detail of shape {needed} for {given}, got {tuple(detail.shape)}")
    require_alike(who, approx, detail)


def require_image_bands(who: str, approx: Tensor, detail: Tensor, *, spatial_dims: int = 2) -> None:
    """Raises unless the two are the floating-point bands of an image, the detail bands stacked."""
    require_image(who, approx, spatial_dims=spatial_dims)
    require_image(who, detail, spatial_dims=spatial_dims)
    require_detail(who, approx, detail)


def require_spatial_dims(who: str, spatial_dims: int) -> None:
    """Raises unless the number of spatial axes is 1, 2 or 3: lines, images or volumes."""
    require_whole(who, spatial_dims=spatial_dims)
    if spatial_dims not in (1, 2, 3):
        raise ValueError(f"{who} needs spatial_dims of 1, 2 or 3, got {spatial_dims}")


def require_fitting(who: str, x: Tensor, parameter: Tensor) -> None:
    """Raises unless `x` is (B, C, ...) with a channel for each row of the parameter, of its dtype and on its device."""
    require_float(who, x)
    if x.ndim < 2 or x.shape[1] != len(parameter):
        raise ValueError(f"{who} needs a (B, {len(parameter)}, ...) tensor, got {tuple(x.shape)}")
    if x.dtype != parameter.dtype:  # otherwise the result would have another dtype than the input
        raise TypeError(f"{who} needs a tensor of its parameters' {parameter.dtype}, got {x.dtype}; convert it first")
    if x.device != parameter.device:
        raise ValueError(f"{who} needs a tensor on its parameters' device, {parameter.device}, got {x.device}")


def require_whole(who: str, **numbers: object) -> None:
    """Raises `TypeError` unless every number is a whole number; the keyword is the name in the error."""
    for name, number in numbers.items():
        if not isinstance(number, Integral) or isinstance(number, bool):
            raise TypeError(f"{who} needs a whole number as {name}, got {number!r}")


def require_positive(who: str, **numbers: int) -> None:
    """Raises unless every number is a whole number of at least 1; the keyword is the name in the error."""
    require_at_least(1, who, **numbers)


def require_at_least(least: int, who: str, **numbers: int) -> None:
    """Raises unless every number is a whole number of at least `least`; the keyword is the name in the error."""
    require_whole(who, **numbers)
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{who} needs {name} of at least {least}, got {number}")


def require_sides(who: str, x: Tensor, *, num_axes: int) -> None:
    """Raises `ValueError` unless the tensor has the transformed axes, one to three, and they are not empty."""
    require_tensors(who, x)
    if x.ndim < num_axes or 0 in x.shape[-num_axes:]:
        needed = "(..., N)" if num_axes == 1 else f"(..., {', '.join('DHW'[-num_axes:])})"
        raise ValueError(f"{who} needs a tensor of shape {needed} without empty sides, got {tuple(x.shape)}")


def require_named_bands(who: str, bands: Mapping[str, Tensor], dims: Sequence[int]) -> None:
    """Raises unless bands are alike and fit together: shapes differ along the transformed axes only, consistently.

    Each letter of a band's name, "a" or "d", belongs to one of the transformed axes, which count from the end.
    """
    require_alike(who, *bands.values())
    num_axes, sizes = max(band.ndim for band in bands.values()), {}
    fit = num_axes >= -min(dims) and all(band.ndim == num_axes for band in bands.values())
    for key, band in bands.items():
        letters = dict(zip(dims, key, strict=True))
        for axis, size in enumerate(band.shape, -num_axes):
            fit = fit and sizes.setdefault((axis, letters.get(axis)), size) == size
    if not fit:
        shapes = ", ".join(str(tuple(band.shape)) for band in bands.values())
        raise ValueError(f"{who} needs bands that fit together, got shapes {shapes}")


def require_axes(who: str, axes: Sequence[int]) -> int:
    """Returns how many axes there are; raises `TypeError` unless they are a sequence of whole numbers."""
    if not isinstance(axes, Sequence) or isinstance(axes, str) or not axes:
        raise TypeError(f"{who} needs a sequence of axes, got {axes!r}")
    for axis in axes:
        require_whole(who, axis=axis)
    return len(axes)


def dims_for(who: str, axes: Sequence[int], num_axes: int) -> tuple[int, ...]:
    """Returns axes of a tensor as numbers that count from the end; raises unless they exist and are different."""
    dims = tuple(axis - num_axes if axis >= 0 else axis for axis in axes)
    if len(set(dims)) < len(dims) or not all(-num_axes <= dim < 0 for dim in dims):
        raise ValueError(f"{who} needs different axes of a tensor of {num_axes} axes, got {tuple(axes)}")
    return dims


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
