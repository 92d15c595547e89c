"""Shrinkage of coefficients: soft, hard, and the non-negative garrote between them."""

import torch
from torch import Tensor

from liftlayers._bands import is_readable
from liftlayers._checks import require_float


def soft_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Moves numbers towards zero by a threshold, and those within it to zero.

    .. math:: \operatorname{sign}(x) \max(|x| - t, 0)

    Args:
        x: Tensor of any shape, any floating-point dtype and range.
        threshold: The threshold :math:`t \ge 0`, a number or a tensor of the dtype of `x` that broadcasts to its shape,
            with a gradient if it needs one. Without axes, it may have another dtype.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        TypeError: If `x` is not floating-point, or `threshold` is a tensor of another dtype that has axes.
        ValueError: If `threshold` is negative, or does not broadcast to the shape of `x`. Tensors are checked for
            negative numbers on CPUs only, and not under compilers and transforms.

    References:
        [Donoho1994]_; ``pywt.threshold(x, t, "soft")``.

    Example:
        >>> soft_threshold(torch.tensor([-3.0, 1.0, 2.0]), 1.5)
        tensor([-1.5000,  0.0000,  0.5000])
    """
    _require("soft_threshold", x, threshold)
    return x.sign() * (x.abs() - threshold).relu()


def hard_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Sets numbers whose magnitude is below a threshold to zero, and keeps the others.

    .. math:: x \; \text{ if } |x| \ge t, \text{ else } 0

    Args:
        x: As for `soft_threshold`.
        threshold: As for `soft_threshold`, but it gets no gradient.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        TypeError: As for `soft_threshold`.
        ValueError: As for `soft_threshold`.

    References:
        [Donoho1994]_; ``pywt.threshold(x, t, "hard")``.

    Example:
        >>> hard_threshold(torch.tensor([-3.0, 1.0, 2.0]), 1.5)
        tensor([-3.,  0.,  2.])
    """
    _require("hard_threshold", x, threshold)
    return torch.where(x.abs() < threshold, 0, x)


def garrote_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Sets numbers within a threshold to zero and moves the others towards zero, large ones less than small ones.

    .. math:: x - t^2 / x \; \text{ if } |x| > t, \text{ else } 0

    Args:
        x: As for `soft_threshold`.
        threshold: As for `soft_threshold`.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        TypeError: As for `soft_threshold`.
        ValueError: As for `soft_threshold`.

    References:
        [Gao1998]_; ``pywt.threshold(x, t, "garrote")``.

    Example:
        >>> garrote_threshold(torch.tensor([-3.0, 1.0, 2.0]), 1.5)
        tensor([-2.2500,  0.0000,  0.8750])
    """
    _require("garrote_threshold", x, threshold)
    kept, t = ~(x.abs() <= threshold), torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
    smaller = t / torch.where(kept, x, 1)  # never divides by zero, in gradients too; t**2 might overflow
    return torch.where(kept, x - t * smaller, 0)


def _require(who: str, x: Tensor, threshold: float | Tensor) -> None:
    require_float(who, x)
    least = threshold
    if isinstance(threshold, Tensor):
        if threshold.dtype != x.dtype and (threshold.ndim or not x.ndim):  # else the dtype would be promoted
            raise TypeError(f"{who} needs a threshold in {x.dtype}, got {threshold.dtype}")
        sizes = zip(reversed(threshold.shape), reversed(x.shape), strict=False)
        if threshold.ndim > x.ndim or any(size not in (1, side) for size, side in sizes):
            shapes = f"{tuple(x.shape)}, got {tuple(threshold.shape)}"
            raise ValueError(f"{who} needs a threshold that broadcasts to the shape {shapes}")
        least = threshold.min().item() if is_readable(threshold) and threshold.numel() else 0
    if not least >= 0:
        raise ValueError(f"{who} needs a threshold of at least 0, got {least}")
