"""Weights and biases of convolutions of integers: rounded, within the bound of the sums, and scaled."""

import torch
from torch import Tensor

from liftlayers._bands import is_readable
from liftlayers._graphs import in_onnx_export
from liftlayers.nn._integer_sums import LARGEST

LARGEST_WEIGHT = 127  # seven bits and a sign
LARGEST_SUM = 2**22  # two binary digits below what float32 holds
MOST_BITS = 16  # after the binary point of a weight: with more, the bias of a channel of tiny weights would be large

Numbers = tuple[Tensor, Tensor, Tensor]


def power_of_two(exponent: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns powers of two from the bits of their exponents: powers that are computed may be off by one bit.

    ONNX has no such operation; its powers of two are exact in onnxruntime.
    """
    if in_onnx_export():
        return torch.ldexp(torch.ones((), dtype=dtype), exponent)
    return ((exponent.to(torch.int32) + 127) << 23).view(torch.float32).to(dtype)


def bounds_of(weight: Tensor, bias: Tensor) -> Tensor:
    """Returns the largest absolute value that a sum of each output channel may have, as a float."""
    return torch.add(bias.abs(), weight.abs().sum((1, 2, 3)), alpha=LARGEST)


def require_bound(name: str, weight: Tensor, bias: Tensor) -> None:
    """Raises `ValueError` if a sum of the layer of that name can exceed the bound."""
    largest, channel = bounds_of(weight.float(), bias.float()).max(0)
    if largest > LARGEST_SUM:
        found = f"{int(largest)} in channel {int(channel)} of {name}"
        raise ValueError(f"a frozen IntegerConv2d needs bounds of at most {LARGEST_SUM}, got {found}")


def scaled(weight: Tensor, bias: Tensor, shift: Tensor) -> Numbers:
    """Returns weights and biases, which are integers, times the scale of each output channel, and the scale, (C, 1, 1).

    A scale is a power of two, so the products are exact, and sums need no scaling.
    """
    scale = power_of_two(-shift, weight.dtype if weight.is_floating_point() else torch.float32)
    return weight * scale.view(-1, 1, 1, 1), bias * scale, scale.view(-1, 1, 1)


def rounded(weight: Tensor, bias: Tensor, in_bits: int, out_bits: int, zero_mean: bool) -> Numbers:
    """Returns weights and biases, which need no gradient, rounded to integers, and the shift of each output channel."""
    if weight.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"IntegerConv2d needs weights in float32 or float64, got {weight.dtype}")

    def integers_at(exponent: Tensor) -> tuple[Tensor, Tensor]:
        unit = power_of_two(exponent, weight.dtype)
        integers = (weight * unit.view(-1, 1, 1, 1)).round_()
        if zero_mean:  # a kernel has an odd number of weights, so no mean is a tie
            integers -= integers.mean((2, 3), keepdim=True).round_()
        half = (unit * 2.0 ** (in_bits - out_bits - 1)).floor_()  # 0 if the shift is not positive
        return integers.clamp_(-LARGEST_WEIGHT, LARGEST_WEIGHT), (bias * (unit * 2.0**in_bits)).round_() + half

    # The largest exponent that gives weights of seven bits and sums within the bound.
    exponent = (7 - torch.frexp(weight.abs().amax((1, 2, 3))).exponent).clamp(max=MOST_BITS)
    weights, biases = integers_at(exponent)
    excess = torch.frexp(bounds_of(weights, biases) * (1.0625 / LARGEST_SUM)).exponent.clamp(min=0)
    for _ in range(2):  # a smaller scale rounds up at most twofold, which the second time makes up for
        if is_readable(weight) and not excess.any():
            break
        exponent = exponent - excess
        weights, biases = integers_at(exponent)
        excess = (bounds_of(weights, biases) > LARGEST_SUM).int()
    return weights, biases, exponent + (in_bits - out_bits)


def rounded_and_scaled(weight: Tensor, bias: Tensor, in_bits: int, out_bits: int, zero_mean: bool) -> Numbers:
    """Returns what `scaled` does for rounded numbers, with the gradients of the numbers that are not rounded."""
    fixed, fixed_bias = weight.detach(), bias.detach()
    weights, biases, scale = scaled(*rounded(fixed, fixed_bias, in_bits, out_bits, zero_mean))
    zeros = weight - fixed  # with a gradient
    if zero_mean:
        zeros = zeros - zeros.mean((2, 3), keepdim=True)
    weights = torch.add(weights, zeros, alpha=2.0 ** (out_bits - in_bits))
    return weights, torch.add(biases, bias - fixed_bias, alpha=2.0**out_bits), scale
