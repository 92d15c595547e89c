r"""CBDNet, the blind denoiser that estimates the noise level first.

Guo, Yan, Zhang, Zuo, Zhang, "Toward convolutional blind denoising of real photographs", CVPR 2019.

Differences from the paper:
    - Its losses on the noise map are left out: the asymmetric one, weight 0.5, needs the true map, which does not exist
      for blur and low resolution, and so is total variation, weight 0.05. `noise_map` returns the map.
    - Trained with the losses, learning rates and degradations of this example.

Differences from the released code:
    - The PyTorch re-implementation from which the layers are taken skips the asymmetric loss on real pairs only.
"""

import itertools

import torch
from pirnet.pixels import check_images
from torch import Tensor, nn


class CBDNet(nn.Module):
    r"""A noise map from five convolutions, and a U-Net with image and map as its input.

    .. math:: y = x + U\bigl(x, E(x)\bigr)

    The U-Net has three levels of 3x3 convolutions with ReLU; it reduces by average pooling and enlarges by
    transposed convolutions, to which the encoder's features are added::

        image, map ── 64, 64 ───────────────────────────── + ── 64, 64 ── 1x1 to 3
                         └ 128, 128, 128 ──── + ── 128, 128, 128 ┘
                                 └ 6 times 256 ┘

    Shape:
        - (B, 3, H, W) in [0, 1], H and W divisible by 4, to the same shape.

    Raises:
        ValueError: If the image has another shape.

    Example:
        >>> with torch.device("meta"):
        ...     network = CBDNet()
        >>> sum(parameter.numel() for parameter in network.parameters())
        4365382
    """

    def __init__(self) -> None:
        super().__init__()
        self.estimator = _convs(3, 32, 32, 32, 32, 3)
        self.encoder = nn.ModuleList([_convs(6, 64, 64), _convs(64, 128, 128, 128)])
        self.bottom = _convs(128, *[256] * 6)
        self.ups = nn.ModuleList([nn.ConvTranspose2d(256, 128, 2, stride=2), nn.ConvTranspose2d(128, 64, 2, stride=2)])
        self.decoder = nn.ModuleList([_convs(128, 128, 128, 128), _convs(64, 64, 64)])
        self.out = nn.Conv2d(64, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        check_images("CBDNet", image, multiple=4)
        x, skips = torch.cat((image, self.noise_map(image)), dim=1), []  # (B, 6, H, W)
        for level in self.encoder:
            skips.append(level(x))  # (B, 64, H, W), (B, 128, H/2, W/2)
            x = nn.functional.avg_pool2d(skips[-1], 2)
        x = self.bottom(x)  # (B, 256, H/4, W/4)
        for up, level, skip in zip(self.ups, self.decoder, reversed(skips), strict=True):
            x = level(up(x) + skip)
        return image + self.out(x)

    def noise_map(self, image: Tensor) -> Tensor:
        """The estimated noise level of each pixel and channel: (B, 3, H, W) to the same shape, never negative."""
        return self.estimator(image)


def _convs(*channels: int) -> nn.Sequential:
    """3x3 convolutions from each number of channels to the next, all followed by ReLU."""
    pairs = itertools.pairwise(channels)
    return nn.Sequential(*(layer for a, b in pairs for layer in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())))
