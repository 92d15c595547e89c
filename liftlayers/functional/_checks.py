"""Checks of what a caller hands over, shared by every floor: each error says who, what is needed and what came."""

__all__ = ["require_float", "require_image", "require_same_device"]

from torch import Tensor


def require_float(who: str, *tensors: Tensor) -> None:
    """Raises `TypeError` unless every tensor holds floating-point numbers."""
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{who} needs tensors, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{who} needs floating-point tensors, got {tensor.dtype}; call .float() first")


def require_same_device(who: str, *tensors: Tensor) -> None:
    """Raises `ValueError` unless all tensors are on one device."""
    if len({tensor.device for tensor in tensors}) > 1:
        devices = " and ".join(str(tensor.device) for tensor in tensors)
        raise ValueError(f"{who} needs its bands on one device, got {devices}")


def require_image(who: str, tensor: Tensor, *, channels: int | None = None) -> None:
    """Raises unless the tensor is a floating-point (B, C, H, W), with C equal to `channels` if that is given."""
    require_float(who, tensor)
    if tensor.ndim != 4 or (channels is not None and tensor.shape[1] != channels):
        needed = "C" if channels is None else channels
        raise ValueError(f"{who} needs a (B, {needed}, H, W) tensor, got {tuple(tensor.shape)}")
