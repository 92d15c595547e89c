"""Random parameters, with which a broken law shows."""

import math
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
WEIGHTED = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d


@torch.no_grad()
def randomise_(module: M, seed: int = 0) -> M:
    r"""Replaces every parameter, in place, by random numbers at a scale that keeps activations of order one.

    .. math:: w \sim \mathcal N\left(0, \tfrac{1}{3 n_{in}}\right), \qquad v \sim \mathcal N(v_0, 0.1^2)

    Here :math:`w` are weights with two or more dimensions and :math:`n_{in}` inputs per output. Their variance is that
    of PyTorch's own initialisation, except for transposed convolutions. Vectors and scales :math:`v` are drawn around
    :math:`v_0 = 1` if all their values are one, as in a new normalisation layer, and around zero otherwise. A parameter
    with one number per output is a scale, unless it belongs to a linear layer or a convolution. With three times the
    variance, a correct chain of 24 blocks amplifies its input a hundredfold and loses its digits. With the zeros that
    many networks start with, a broken chain passes.

    Args:
        module: Any module.
        seed: Seed of the random numbers; the global random state does not change.

    Returns:
        The same module.

    Raises:
        ValueError: If a parameter has no values yet, as in a new `torch.nn.LazyConv2d` or on the meta device; then no
            parameter changes.

    References:
        [LeCun1998]_, section 4.6, on variances that keep activations of order one.

    Example:
        >>> randomise_(nn.Conv2d(16, 16, 3), seed=1).weight.std().item()
        0.04...
    """
    for name, parameter in module.named_parameters():
        if nn.parameter.is_lazy(parameter) or parameter.is_meta:
            kind = "on the meta device" if parameter.is_meta else "uninitialised"
            raise ValueError(f"randomise_ needs parameters that have values, got {name}, which is {kind}")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64, device="cpu")
        fan_in = _fan_in(module.get_submodule(name.rpartition(".")[0]), parameter)
        centre = float((parameter == 1).all())
        parameter.copy_(noise * (3 * fan_in) ** -0.5 if fan_in else centre + 0.1 * noise)
    return module


def _fan_in(owner: nn.Module, parameter: nn.Parameter) -> int:
    """Returns the number of inputs per output of a weight, or 0 for a vector or a scale."""
    if parameter.ndim < 2:
        return 0
    if isinstance(owner, TRANSPOSED):  # inputs are the first axis; each output sees 1/stride of the kernel
        return max(1, parameter.numel() // (owner.out_channels * math.prod(owner.stride)))
    inputs = math.prod(parameter.shape[1:])
    return inputs if inputs > 1 or isinstance(owner, WEIGHTED) else 0
