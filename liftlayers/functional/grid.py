"""The dyadic grid on which sums in floating point have no rounding."""

import torch
from torch import Tensor

from liftlayers._checks import require_float, require_whole

DIGITS = {torch.float32: 24, torch.float64: 53}  # binary digits of the significand, including the hidden one


def round_to_grid(x: Tensor, bits: int) -> Tensor:
    r"""Rounds to the nearest multiple of a power of two, half to even.

    .. math:: y = 2^{-k} \operatorname{round}(2^k x), \qquad \frac{\partial y}{\partial x} := 1

    Sums and differences of such numbers are exact, in any order, while they stay below `grid_limit`. So an additive
    coupling has an inverse without error if its network's output is rounded. The true derivative of rounding is zero
    almost everywhere; the gradient is passed through unchanged instead (straight-through estimator). A rounded zero is
    always positive zero.

    Args:
        x: Numbers in float32 or float64, of any shape. Those beyond ``grid_limit(x.dtype, bits)`` have no digits below
            the grid and do not change, nor do infinities and nan.
        bits: The exponent :math:`k`, from 0 to 52; 8 is about the step of an 8-bit image in [0, 1].

    Returns:
        The rounded numbers, in the shape and dtype of `x`.

    Raises:
        TypeError: If `x` is neither float32 nor float64, or `bits` is not an integer.
        ValueError: If `bits` is out of range.

    References:
        [Bengio2013]_ for the gradient; equation :eq:`grid` of :doc:`/mathematics`.

    Example:
        >>> round_to_grid(torch.tensor([0.3, 0.375, 0.625]), bits=2)
        tensor([0.2500, 0.5000, 0.5000])
    """
    require_float("round_to_grid", x)
    if x.dtype not in DIGITS:
        raise TypeError(f"round_to_grid needs a float32 or float64 tensor, got {x.dtype}; call .float() first")
    require_bits("round_to_grid", bits)
    with torch.no_grad():  # as few operations as there can be, since each is a pass over the numbers
        scaled = x.detach() * 2.0**bits
        change = scaled.round().sub_(scaled).nan_to_num_(0.0)  # nan where the product has overflowed
    return torch.add(x, change, alpha=2.0**-bits)  # exact


def straight_through(value: Tensor, x: Tensor) -> Tensor:
    """Returns a value that was rounded from `x`, in its dtype, with the gradient of `x`: adds a zero that has it."""
    return value + (x - x.detach())


def grid_limit(dtype: torch.dtype, bits: int) -> float:
    r"""Returns the bound below which a floating-point type represents every multiple of :math:`2^{-k}`.

    .. math:: L = 2^{p - k}

    with :math:`p` the number of binary digits of its significand. If the computed sum of two such numbers is below
    :math:`L`, it is exact; otherwise it may have lost its last digit.

    Args:
        dtype: float32 (:math:`p = 24`) or float64 (:math:`p = 53`).
        bits: The exponent :math:`k`.

    Returns:
        The limit :math:`L`, for example 256 for 16 bits in float32.

    Raises:
        TypeError: If `dtype` is neither float32 nor float64.

    References:
        Equation :eq:`grid` of :doc:`/mathematics`.

    Example:
        >>> grid_limit(torch.float32, 16)
        256.0
    """
    if dtype not in DIGITS:
        raise TypeError(f"grid_limit needs torch.float32 or torch.float64, got {dtype}")
    return 2.0 ** (DIGITS[dtype] - bits)


def require_bits(who: str, bits: int) -> None:
    """Raises unless the exponent of a grid is an integer for which float64 represents the grid up to 1."""
    require_whole(who, bits=bits)
    if not 0 <= bits < DIGITS[torch.float64]:
        raise ValueError(f"{who} needs 0 to {DIGITS[torch.float64] - 1} bits, got {bits}")


def require_exponents(who: str, **exponents: int) -> None:
    """Raises unless exponents of grids are whole numbers from -52 to 52; the keyword is the name in the error."""
    require_whole(who, **exponents)
    most = DIGITS[torch.float64] - 1
    for name, exponent in exponents.items():
        if abs(exponent) > most:
            raise ValueError(f"{who} needs {name} from {-most} to {most}, got {exponent}")
