"""MIRNet-v2: three parallel resolutions that exchange features.

Syed Waqas Zamir, Aditya Arora, Salman Khan, Munawar Hayat, Fahad Shahbaz Khan, Ming-Hsuan Yang, Ling Shao, "Learning
Enriched Features for Fast Image Restoration and Enhancement", TPAMI 2022.

Differences from the paper:

- The last convolution starts at zero, so that the network starts as the identity.
- Training is that of this example: mean squared errors, crops of one size; the paper has mean absolute errors, patches
  that grow from 128 to 384 pixels, mixtures of two images, and gradients clipped to a norm of 0.01.

Differences from the released code:

- None beyond these in the network.
"""

from pirnet.pixels import check_images
from torch import Tensor, nn


class MIRNetV2(nn.Module):
    r"""Adds to an image a correction by groups of multi-scale blocks.

    .. math:: y = x + L(G_4 \circ \dots \circ G_1(F(x)))

    with 3x3 convolutions :math:`F`, :math:`L` and groups :math:`G_i` of two multi-scale blocks and a 3x3 convolution,
    each added to its input. The 3x3 convolutions inside the blocks have 1, 2, 4, 4 groups. No convolution has a
    bias. At initialisation the network is the identity.

    Args:
        width: Channels of the full resolution, divisible by 16; half and quarter have 3/2 and 9/4 times as many.

    Shape:
        - Input and output (B, 3, H, W), H and W divisible by 4, nominally in [0, 1].

    Raises:
        ValueError: If the input is not RGB or its sides are not divisible by 4, or if the width is not by 16.

    Example:
        >>> with torch.device("meta"):
        ...     sum(parameter.numel() for parameter in MIRNetV2().parameters())
        5858560
    """

    def __init__(self, *, width: int = 80) -> None:
        super().__init__()
        if width % 16:  # a quarter of the resolution has 9/4 width channels in 4 groups
            raise ValueError(f"MIRNetV2 needs a width divisible by 16, got {width}")
        self.first = conv3x3(3, width)
        blocks = ((MultiScaleBlock(width, parts), MultiScaleBlock(width, parts)) for parts in (1, 2, 4, 4))
        self.groups = nn.Sequential(*(Residual(*pair, conv3x3(width, width)) for pair in blocks))
        self.last = conv3x3(width, 3)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        check_images("MIRNetV2", x, multiple=4)
        return x + self.last(self.groups(self.first(x)))


class Residual(nn.Sequential):
    """Adds the output of a chain of modules to its input."""

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


class MultiScaleBlock(nn.Module):
    """Two rounds, each of a context block for each resolution and fusions from coarse to fine; added to the input.

    Both rounds share their context blocks and fusions; the convolutions for enlarging are separate.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        full, half, quarter = width, width * 3 // 2, width * 9 // 4
        self.to_half = down(full, half)
        self.to_quarter = nn.Sequential(down(full, half), down(half, quarter))
        self.contexts = nn.ModuleList(ContextBlock(channels, parts) for channels in (full, half, quarter))
        self.from_quarter = nn.ModuleList(up(quarter, half) for _ in range(2))
        self.from_half = nn.ModuleList(up(half, full) for _ in range(2))
        self.fuse_half = Fusion(half)
        self.fuse_full = Fusion(full)
        self.last = conv1x1(full, full)

    def forward(self, x: Tensor) -> Tensor:
        streams = (x, self.to_half(x), self.to_quarter(x))  # (B, C, H, W), (B, 3C/2, H/2, W/2), (B, 9C/4, H/4, W/4)
        for from_quarter, from_half in zip(self.from_quarter, self.from_half, strict=True):
            full, half, quarter = (context(y) for context, y in zip(self.contexts, streams, strict=True))
            half = self.fuse_half(half, from_quarter(quarter))
            full = self.fuse_full(full, from_half(half))
            streams = (full, half, quarter)
        return x + self.last(streams[0])


class ContextBlock(nn.Module):
    """Two grouped convolutions, then a vector of the whole image for every pixel, added to the input.

    The vector is the mean over pixels, weighted by a softmax, through two 1x1 convolutions.
    """

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        first, second = (conv3x3(channels, channels, parts) for _ in range(2))
        self.body = nn.Sequential(first, nn.LeakyReLU(0.2), second)
        self.mask = conv1x1(channels, 1)
        self.context = nn.Sequential(conv1x1(channels, channels), nn.LeakyReLU(0.2), conv1x1(channels, channels))
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        weights = self.mask(y).flatten(2).softmax(dim=-1)  # (B, 1, HW)
        mean = y.flatten(2) @ weights.mT  # (B, C, 1)
        return x + self.activation(y + self.context(mean.unsqueeze(-1)))


class Fusion(nn.Module):
    """Selective fusion of two streams of one shape: their sum, weighted for every image and channel.

    The weights of a channel add up to one; both are computed from the means of the sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // 8, 4)
        self.weights = nn.Sequential(conv1x1(channels, squeezed), nn.LeakyReLU(0.2), conv1x1(squeezed, 2 * channels))

    def forward(self, upper: Tensor, lower: Tensor) -> Tensor:
        mean = (upper + lower).mean(dim=(-2, -1), keepdim=True)  # (B, C, 1, 1)
        first, second = self.weights(mean).unflatten(1, (2, -1)).softmax(dim=1).unbind(dim=1)
        return first * upper + second * lower


def down(in_channels: int, out_channels: int) -> nn.Sequential:
    """Halves the sides."""
    return nn.Sequential(nn.AvgPool2d(2), conv1x1(in_channels, out_channels))


def up(in_channels: int, out_channels: int) -> nn.Sequential:
    """Doubles the sides."""
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(conv1x1(in_channels, out_channels), enlarge)


def conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def conv3x3(in_channels: int, out_channels: int, parts: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=parts, bias=False)
