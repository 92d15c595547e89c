"""XYDeblur: a U-Net whose decoder runs twice, the second time on features turned by a right angle.

Seo-Won Ji, Jeongmin Lee, Seung-Wook Kim, Jun-Pyo Hong, Seung-Jin Baek, Seung-Won Jung, Sung-Jea Ko, "XYDeblur: Divide
and Conquer for Single Image Deblurring", CVPR 2022.

Differences from the paper:

- The last convolution starts at zero, so that the network starts as the identity.
- Training is that of this example, with mean squared errors; the paper has mean absolute errors, and Adam at 1e-4,
  halved every 500 of 3,000 epochs, on four crops of 256 pixels.

Differences from the released code:

- None beyond these in the network. It also returns both corrections, but is trained only on the result.
"""

from collections.abc import Sequence

import torch
from pirnet.pixels import check_images
from torch import Tensor, nn


class XYDeblur(nn.Module):
    r"""Adds to an image two corrections from one decoder, which sees the features upright and turned.

    .. math:: y = x + D(E(x)) + R^{-1} D(R\, E(x))

    with encoder :math:`E`, decoder :math:`D` and the rotation :math:`R` of every feature map by 90 degrees. At
    initialisation the network is the identity.

    Args:
        width: Channels at full resolution; they double with every halving.

    Shape:
        - Input and output (B, 3, H, W), H and W divisible by 4, nominally in [0, 1].

    Raises:
        ValueError: If the input is not RGB or its sides are not divisible by 4.

    Example:
        >>> with torch.device("meta"):
        ...     sum(parameter.numel() for parameter in XYDeblur().parameters())
        4918627
    """

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.decoder = Decoder(width)

    def forward(self, x: Tensor) -> Tensor:
        check_images("XYDeblur", x, multiple=4)
        features = self.encoder(x)
        turned = [torch.rot90(feature, 1, dims=(-2, -1)) for feature in features]
        return x + self.decoder(features) + torch.rot90(self.decoder(turned), -1, dims=(-2, -1))


class Encoder(nn.Module):
    """A convolution and six residual blocks at each of three resolutions; returns the features of all, finest first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), residual_blocks(width))
        self.middle = nn.Sequential(*halving(width, 2 * width), residual_blocks(2 * width))
        self.coarse = nn.Sequential(*halving(2 * width, 4 * width), residual_blocks(4 * width))

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.fine(x)  # (B, C, H, W)
        middle = self.middle(fine)  # (B, 2C, H/2, W/2)
        return [fine, middle, self.coarse(middle)]  # the last (B, 4C, H/4, W/4)


class Decoder(nn.Module):
    """Six residual blocks at each resolution, on coarser features joined with those of the encoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(residual_blocks(4 * width), *doubling(4 * width, 2 * width))
        self.merge_middle = nn.Sequential(nn.Conv2d(4 * width, 2 * width, 1), nn.ReLU())
        self.middle = nn.Sequential(residual_blocks(2 * width), *doubling(2 * width, width))
        self.merge_fine = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.ReLU())
        self.fine = residual_blocks(width)
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        fine, middle, coarse = features
        x = self.merge_middle(torch.cat([self.coarse(coarse), middle], dim=1))  # (B, 2C, H/2, W/2)
        x = self.merge_fine(torch.cat([self.middle(x), fine], dim=1))  # (B, C, H, W)
        return self.last(self.fine(x))  # (B, 3, H, W)


class ResidualBlock(nn.Sequential):
    """Two convolutions, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


def residual_blocks(width: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(6)))


def halving(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.ReLU()


def doubling(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1), nn.ReLU()
