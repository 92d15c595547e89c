"""Networks for `Predict` and `Update`: they map images to images of the same size and start at zero.

The last convolution of each starts at zero. So a chain starts as the exact identity and stays close to it in the first
steps of training; a chain of 24 blocks with default initialisation amplifies its input forty-fold.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor, nn

from liftlayers._checks import require_at_least, require_image, require_positive, require_whole
from liftlayers.nn._depthwise import DepthwiseConv2d

C = TypeVar("C", bound=nn.Module)


class _Convolutions(nn.Module):
    """Convolutions that `conv` makes, with leaky rectifiers between them; the last starts at zero."""

    def __init__(self, conv: Callable[[int, int], nn.Module], channels: tuple[int, int, int], num_hidden: int) -> None:
        super().__init__()
        self.in_channels, hidden_channels, out_channels = channels
        self.hidden = nn.Sequential()
        for before in [self.in_channels] + [hidden_channels] * (num_hidden - 1):
            self.hidden.append(conv(before, hidden_channels))
            self.hidden.append(nn.LeakyReLU(0.1, inplace=True))  # backward of a convolution needs no output
        self.last = zero_(conv(hidden_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        require_image(type(self).__name__, x, channels=self.in_channels)
        return self.last(self.hidden(x))


class ConvPredictor(_Convolutions):
    r"""A small predictor: a few convolutions with leaky rectifiers between them.

    .. math:: P(x) = W_{n+1} * \sigma(W_n * \dots \sigma(W_1 * x)), \qquad \sigma(t) = \max(t, 0.1\,t)

    All kernels are 3x3 with bias and zero padding; the last, :math:`W_{n+1}`, starts at zero.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the prediction.
        hidden_channels: Channels of the hidden layers.
        num_hidden: Number :math:`n` of hidden layers.

    Shape:
        - Input :math:`(B, C_{in}, H, W)` of any range, output :math:`(B, C_{out}, H, W)`.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If a number is below 1, or the input has another shape.

    References:
        [Deng2023]_ and [Dinh2015]_ use similar networks in their steps; [Kingma2018]_, section 3.3, starts them at
        zero.

    Example:
        >>> ConvPredictor(3, 9)(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 9, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, *, hidden_channels: int = 24, num_hidden: int = 1) -> None:
        numbers = {"in_channels": in_channels, "hidden_channels": hidden_channels, "out_channels": out_channels}
        require_positive("ConvPredictor", **numbers, num_hidden=num_hidden)
        conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1)
        super().__init__(conv, (in_channels, hidden_channels, out_channels), num_hidden)


class BiasFreePredictor(_Convolutions):
    r"""A predictor whose output scales with its input: convolutions and leaky rectifiers without a bias.

    .. math::

        P(x) = W_{n+1} * \sigma(W_n * \dots \sigma(W_1 * x)), \qquad \sigma(t) = \max(t, 0.1\,t), \qquad
        P(\lambda x) = \lambda P(x) \text{ for } \lambda \ge 0

    Kernels are zero-padded; the last, :math:`W_{n+1}`, starts at zero.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the prediction.
        hidden_channels: Channels of the hidden layers.
        num_hidden: Number :math:`n` of hidden layers.
        kernel_size: Height and width of the kernels, or one number for both, odd. With height 1 rows are independent.

    Shape:
        - Input :math:`(B, C_{in}, H, W)` of any range, output :math:`(B, C_{out}, H, W)`.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If a number is below 1, a side of the kernels is even, there are not one or two sides, or the input
            has another shape.

    References:
        [Mohan2020]_, who leave out the bias so that a network scales with its input.

    Example:
        >>> BiasFreePredictor(1, 1)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 16,
        num_hidden: int = 1,
        kernel_size: int | tuple[int, int] = (1, 3),
    ) -> None:
        sides = tuple(kernel_size) if isinstance(kernel_size, Sequence) else (kernel_size, kernel_size)
        numbers = {"in_channels": in_channels, "hidden_channels": hidden_channels, "out_channels": out_channels}
        require_positive("BiasFreePredictor", **numbers, num_hidden=num_hidden)
        for side in sides:
            require_positive("BiasFreePredictor", kernel_size=side)
        if len(sides) != 2 or any(side % 2 == 0 for side in sides):
            raise ValueError(f"BiasFreePredictor needs an odd kernel_size, or a pair of odd ones, got {kernel_size}")
        conv = functools.partial(nn.Conv2d, kernel_size=sides, padding="same", bias=False)
        super().__init__(conv, (in_channels, hidden_channels, out_channels), num_hidden)


class ResidualPredictor(nn.Module):
    r"""PIRNet's predictor: separable residual blocks between two plain convolutions.

    .. math::

        P(x) = W_{out} * h_n, \qquad h_0 = W_{in} * x, \qquad
        h_i = \sigma\bigl(h_{i-1} + S_i'(\sigma(S_i(h_{i-1})))\bigr), \qquad \sigma(t) = \max(t, 0.01\,t)

    :math:`W_{in}` and :math:`W_{out}` are 3x3; each :math:`S` is a depthwise convolution followed by a 1x1. No kernel
    has a bias and all are zero-padded. :math:`W_{out}` starts at zero.

    The depthwise convolutions are torch's. On CPUs the gradient of their kernels is computed by this library, because
    torch's is slow for kernels larger than 3x3, and wrong for dilated kernels in bfloat16 on some processors
    (:doc:`/compatibility`).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the prediction.
        hidden_channels: Channels of :math:`h_i`.
        num_blocks: Number :math:`n` of residual blocks, from 0 up.
        kernel_size: Side of the depthwise kernels, odd.
        dilation: Dilation of the depthwise kernels.

    Shape:
        - Input :math:`(B, C_{in}, H, W)` of any range, output :math:`(B, C_{out}, H, W)`.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If a number is below 1, `num_blocks` is below 0, `kernel_size` is even, or the input has another
            shape.

    References:
        [Deng2023]_; sizes as in the authors' released code.

    Example:
        >>> sum(p.numel() for p in ResidualPredictor(12, 12).parameters())
        21504
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 32,
        num_blocks: int = 4,
        kernel_size: int = 5,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        numbers = {"in_channels": in_channels, "out_channels": out_channels, "hidden_channels": hidden_channels}
        require_positive("ResidualPredictor", **numbers, dilation=dilation)
        require_at_least(0, "ResidualPredictor", num_blocks=num_blocks)
        require_whole("ResidualPredictor", kernel_size=kernel_size)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"ResidualPredictor needs an odd, positive kernel_size, got {kernel_size}")
        self.in_channels = in_channels
        self.first = nn.Conv2d(in_channels, hidden_channels, 3, padding=1, bias=False)
        blocks = (_SeparableResidual(hidden_channels, kernel_size, dilation) for _ in range(num_blocks))
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(hidden_channels, out_channels, 3, padding=1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_out", nonlinearity="relu")
        zero_(self.last)

    def forward(self, x: Tensor) -> Tensor:
        require_image("ResidualPredictor", x, channels=self.in_channels)
        return self.last(self.blocks(self.first(x)))


class _SeparableResidual(nn.Module):
    """One residual block: separable convolution, rectifier, separable convolution, sum, rectifier."""

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.separable1 = _separable(channels, kernel_size, dilation)
        self.separable2 = _separable(channels, kernel_size, dilation)
        self.activation = nn.LeakyReLU(0.01, inplace=True)  # in place: backward uses neither output

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.separable2(self.activation(self.separable1(x))))


def _separable(channels: int, kernel_size: int, dilation: int) -> nn.Sequential:
    depthwise = DepthwiseConv2d(channels, kernel_size, dilation=dilation)
    return nn.Sequential(depthwise, nn.Conv2d(channels, channels, 1, bias=False))


def zero_(conv: C) -> C:
    """Sets a convolution's weight and bias to zero, in place, and returns it."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
