"""Baluja's three networks: one prepares the secret, one hides it in the cover, one reveals it.

Shumeet Baluja, "Hiding Images in Plain Sight: Deep Steganography", NeurIPS 2017.

Differences from the paper:

- No noise is added to the stego image before it is revealed: it is rounded to 8 bit instead, as a file is, which
  also keeps secrets out of its last bits.
- Training is that of this example: mean squared errors with PIRNet's weights, one of them on the low frequencies of the
  stego, and PIRNet's crops and learning rates. As in the paper, the error of the stego trains the first two networks
  and that of the secret all three.

Differences from the released code, which is by other authors (the layers and their sizes are from there):

- It adds noise of standard deviation 0.1, in the units of its normalised images, to a stego image that is detached
  from the graph: the error of the secret never reaches the first two networks. Here it does.
- It trains with Adam at 1e-4, on crops of 224.
"""

import torch
from pirnet.band_hider import Z
from pirnet.pixels import check_images
from torch import Tensor, nn

CHANNELS = 50
KERNELS = (3, 4, 5)
WIDTH = CHANNELS * len(KERNELS)


class Baluja(nn.Module):
    """Hides with three networks of parallel convolutions with kernels of 3, 4 and 5.

    Their inputs and outputs are images normalised by the mean and standard deviation of ImageNet::

        secret ── preparation ─┬─ hiding ── stego ── revealing ── secret
        cover ─────────────────┘

    Shape:
        - Images (B, 3, H, W) of any size from 2 x 2, nominally in [0, 1], to an image of the same shape.

    Raises:
        ValueError: If an image is not RGB or has a side of one pixel, or cover and secret differ in shape.

    Example:
        >>> with torch.device("meta"):
        ...     baluja = Baluja()
        >>> networks = baluja.preparation, baluja.hiding, baluja.revealing
        >>> [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
        [798300, 1173753, 798753]
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.preparation = _stages(3)
        self.hiding = nn.Sequential(_stages(WIDTH + 3), nn.Conv2d(WIDTH, 3, 1))
        self.revealing = nn.Sequential(_stages(3), nn.Conv2d(WIDTH, 3, 1))
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1), persistent=False)

    def conceal(self, cover: Tensor, secret: Tensor) -> Tensor:
        """Hides: cover and secret (B, 3, H, W) to the stego image, not yet clamped or rounded."""
        check_images("Baluja", cover, secret, least=2)
        prepared = self.preparation(self._normalised(secret))  # (B, 150, H, W)
        return self._image(self.hiding(torch.cat([prepared, self._normalised(cover)], dim=1)))

    def reveal(self, stego: Tensor, z: Z = "zero") -> Tensor:  # noqa: ARG002
        """Reveals: stego (B, 3, H, W) to the secret; there is no lost part, so `z` is ignored."""
        check_images("Baluja", stego, least=2)
        return self._image(self.revealing(self._normalised(stego)))

    def _normalised(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std

    def _image(self, normalised: Tensor) -> Tensor:
        return normalised.to(self.std.dtype) * self.std + self.mean  # under autocast only the networks are rounded


class _Rows(nn.Module):
    """Parallel rows of convolutions, one for each kernel size, of different lengths."""

    def __init__(self, in_channels: int, lengths: tuple[int, int, int]) -> None:
        super().__init__()
        self.rows = nn.ModuleList(_row(in_channels, *each) for each in zip(KERNELS, lengths, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([row(x) for row in self.rows], dim=1)


def _stages(in_channels: int) -> nn.Sequential:
    return nn.Sequential(_Rows(in_channels, (4, 4, 4)), _Rows(WIDTH, (1, 2, 1)))


def _row(in_channels: int, kernel: int, length: int) -> nn.Sequential:
    """Convolutions and ReLUs; those of 4x4 come in pairs: the first loses a row and a column, the second adds one."""
    layers: list[nn.Module] = []
    for number in range(length):
        padding = (kernel - 1 + number % 2) // 2
        layers += [nn.Conv2d(CHANNELS if number else in_channels, CHANNELS, kernel, padding=padding), nn.ReLU()]
    return nn.Sequential(*layers)
