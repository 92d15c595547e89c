"""Checks that layers with parameters of their own share: does this tensor fit them?"""

__all__ = ["require_fitting", "require_positive"]

from torch import Tensor

from liftlayers.functional._checks import require_float


def require_fitting(who: str, x: Tensor, parameter: Tensor) -> None:
    """Raises unless `x` is (B, C, ...) with a channel for each row of the parameter, of its dtype and on its device."""
    require_float(who, x)
    if x.ndim < 2 or x.shape[1] != len(parameter):
        raise ValueError(f"{who} needs a (B, {len(parameter)}, ...) tensor, got {tuple(x.shape)}")
    if x.dtype != parameter.dtype:  # else the result would be of another dtype than the image
        raise TypeError(f"{who} needs a tensor of its parameters' {parameter.dtype}, got {x.dtype}")
    if x.device != parameter.device:
        raise ValueError(f"{who} needs a tensor on its parameters' device, {parameter.device}, got {x.device}")


def require_positive(who: str, what: str, *numbers: int) -> None:
    """Raises `ValueError` unless every number is at least 1."""
    for number in numbers:
        if number < 1:
            raise ValueError(f"{who} needs {what} of at least 1, got {number}")
