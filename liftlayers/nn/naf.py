"""The block of NAFNet, which has no activation function, and its two parts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liftlayers._checks import require_image, require_positive
from liftlayers.nn._pointwise import PointwiseConv2d


class LayerNorm2d(nn.Module):
    r"""Normalises the channels of each pixel separately.

    .. math:: y_c = w_c \frac{x_c - \mu}{\sqrt{\sigma^2 + \epsilon}} + b_c

    with mean :math:`\mu` and variance :math:`\sigma^2` over the channels of one pixel; :math:`w` starts at one,
    :math:`b` at zero.

    Args:
        channels: Number of channels :math:`C`.
        eps: The :math:`\epsilon` that keeps the division finite.

    Shape:
        - Input :math:`(B, C, H, W)` of any range; output of the same shape, of order :math:`w` about :math:`b`.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If `channels` is below 1, or the input has another shape.

    References:
        [Ba2016]_; [Chen2022]_.

    Example:
        >>> y = LayerNorm2d(4)(torch.rand(1, 4, 2, 2))
        >>> bool(y.mean(dim=1).abs().max() < 1e-5)
        True
    """

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        require_positive("LayerNorm2d", channels=channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        require_image("LayerNorm2d", x, channels=len(self.weight))
        y = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return y.movedim(-1, 1)


class SimpleGate(nn.Module):
    r"""Multiplies one half of the channels by the other.

    .. math:: y = x_{:C} \odot x_{C:}

    Shape:
        - Input :math:`(B, 2C, H, W)` of any range, output :math:`(B, C, H, W)`.

    Raises:
        TypeError: If the input is not floating-point.
        ValueError: If the number of channels is odd, or the input is not four-dimensional.

    References:
        [Chen2022]_.

    Example:
        >>> SimpleGate()(torch.full((1, 4, 2, 2), 3.0)).unique()
        tensor([9.])
    """

    def forward(self, x: Tensor) -> Tensor:
        require_image("SimpleGate", x)
        if x.shape[1] % 2:
            raise ValueError(f"SimpleGate needs an even number of channels, got {x.shape[1]}")
        first, second = x.chunk(2, dim=1)
        return first * second


class NAFBlock(nn.Module):
    r"""The nonlinear-activation-free block: gated depthwise convolution with channel attention, then a gated 1x1.

    .. math::

        y &= x + \beta \odot W_3\bigl(A(G(W_2 * W_1 N_1(x)))\bigr), \qquad A(u) = u \odot W_A \operatorname{mean}(u) \\
        z &= y + \gamma \odot W_5\, G(W_4 N_2(y))

    :math:`N` is `LayerNorm2d`, :math:`G` is `SimpleGate`, :math:`W_2` a depthwise 3x3 and every other :math:`W` a 1x1
    convolution, all with bias; the mean is taken over the whole image. :math:`\beta` and :math:`\gamma` start at zero,
    so that the block starts as the identity.

    Args:
        channels: Number of channels :math:`C`.

    Shape:
        - Input and output :math:`(B, C, H, W)`, of any size and range.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If `channels` is below 1, or the input has another shape.

    References:
        [Chen2022]_, figure 3.

    Example:
        >>> sum(p.numel() for p in NAFBlock(32).parameters())
        8224
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        require_positive("NAFBlock", channels=channels)
        self.norm1 = LayerNorm2d(channels)
        self.expand1 = PointwiseConv2d(channels, 2 * channels)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = PointwiseConv2d(channels, channels)
        self.project1 = PointwiseConv2d(channels, channels)
        self.norm2 = LayerNorm2d(channels)
        self.expand2 = PointwiseConv2d(channels, 2 * channels)
        self.project2 = PointwiseConv2d(channels, channels)
        self.gate = SimpleGate()
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.depthwise(self.expand1(self.norm1(x))))
        y = y * self.attention(_mean_over_pixels(y))
        x = x + self.project1(y, scale=self.beta)
        y = self.gate(self.expand2(self.norm2(x)))
        return x + self.project2(y, scale=self.gamma)


def _mean_over_pixels(x: Tensor) -> Tensor:
    """Averages (B, C, H, W) to (B, C, 1, 1). With channels last in memory, its gradient has them last, too."""
    if x.stride(1) == 1:
        return x.movedim(1, -1).mean(dim=(1, 2), keepdim=True).movedim(-1, 1)
    return x.mean(dim=(-2, -1), keepdim=True)
