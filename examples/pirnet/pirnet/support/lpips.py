"""LPIPS with SqueezeNet 1.1: a learned perceptual distance of two images, with weights from a local file."""

from pathlib import Path

import torch
from torch import Tensor, nn

from pirnet.pixels import check_images, grey_levels
from pirnet.weights import fill, read_tensors

MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of red, green, blue in [-1, 1]
TAPS = {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}  # layers that are compared, and their channels
LPIPS_SIDE = 17  # smaller images have no pixel left after the last pooling


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 one, each to half of the outputs, all with ReLU."""

    def __init__(self, in_channels: int, squeezed: int, out_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, out_channels // 2, 1)
        self.expand3x3 = nn.Conv2d(squeezed, out_channels // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat((self.expand1x1(x), self.expand3x3(x)), dim=1).relu()


class LPIPS(nn.Module):
    r"""Learned perceptual distance of two images, version 0.1, on the layers of SqueezeNet 1.1.

    .. math:: \sum_l \frac{1}{H_l W_l} \sum_{h, w} w_l \cdot \bigl(\hat y^l_{hw} - \hat z^l_{hw}\bigr)^2

    with the channels :math:`\hat y^l, \hat z^l` of layer :math:`l` at unit length and learned weights :math:`w_l`.
    Most papers use LPIPS with AlexNet, which gives different figures: the two cannot be compared.

    The parameters have the names of the published files: `features.N` for SqueezeNet 1.1, `linL` for LPIPS.

    Shape:
        - Two images (B, 3, H, W) in [0, 1], both sides at least 17, to one distance an image, (B,); 0 for images
          that are equal in 8 bits.

    Raises:
        TypeError: An image is not floating point.
        ValueError: An image has another shape or is too small, or the two shapes differ.

    References:
        Zhang, Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a perceptual metric",
        CVPR 2018. Iandola and others, "SqueezeNet", arXiv:1602.07360 (2016).
    """

    backbone = "SqueezeNet 1.1"

    def __init__(self) -> None:
        super().__init__()
        halve = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), halve),
            *(Fire(64, 16, 128), Fire(128, 16, 128), halve),
            *(Fire(128, 32, 256), Fire(256, 32, 256), halve),
            *(Fire(256, 48, 384), Fire(384, 48, 384), Fire(384, 64, 512), Fire(512, 64, 512)),
        )
        for number, channels in enumerate(TAPS.values()):
            self.add_module(f"lin{number}", nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        check_images("LPIPS", a, b, least=LPIPS_SIDE)
        return self.distance(*(grey_levels(image.float()) / 127.5 - 1 for image in (a, b)))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The same for images (B, 3, H, W) in [-1, 1], which are not rounded."""
        total = torch.zeros(len(a), device=a.device)  # (B,)
        for number, (y, z) in enumerate(zip(self._layers(a), self._layers(b), strict=True)):
            squared = (_unit_length(y) - _unit_length(z)).square()  # (B, C, H/s, W/s)
            total = total + self.get_submodule(f"lin{number}")(squared).mean(dim=(1, 2, 3))
        return total

    def _layers(self, x: Tensor) -> list[Tensor]:
        mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        x = (x - mean) / std
        layers = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS:
                layers.append(x)
        return layers


def load_lpips(path: Path) -> LPIPS:
    """Reads LPIPS from one safetensors file that holds `features.N.*` and `linL.weight`.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds something else.
    """
    return fill(LPIPS(), read_tensors(path, "LPIPS weights")[0], path, title=f"LPIPS with {LPIPS.backbone}")


def _unit_length(x: Tensor) -> Tensor:
    return x / (x.norm(dim=1, keepdim=True) + 1e-10)
