"""Shrinkage of coefficients: soft, hard, and the non-negative garrote between them."""

import torch
from torch import Tensor

from liftlayers._checks import require_float


def soft_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Moves numbers towards zero by a threshold, and those within it to zero.

    .. math:: \operatorname{sign}(x) \max(|x| - t, 0)

    Args:
        x: Tensor of any shape, any floating-point dtype and range.
        threshold: The threshold :math:`t \ge 0`, a number or a tensor that broadcasts to the shape of `x`, with a
            gradient if it needs one.

    Returns:
        Tensor of the shape of `x`.

    Raises:
        TypeError: If `x` is not floating-point.
        ValueError: If `threshold` is a negative number.

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
        threshold: As for `soft_threshold`; its gradient is zero.

    Returns:
        Tensor of the shape of `x`.

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
        Tensor of the shape of `x`.

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
    kept = x.abs() > threshold
    return torch.where(kept, x - threshold**2 / torch.where(kept, x, 1), 0)  # never divides by zero, in gradients too


def _require(who: str, x: Tensor, threshold: float | Tensor) -> None:
    require_float(who, x)
    if not isinstance(threshold, Tensor) and not threshold >= 0:
        raise ValueError(f"{who} needs a threshold of at least 0, got {threshold}")
