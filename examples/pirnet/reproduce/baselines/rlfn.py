r"""RLFN, the residual local feature network for super-resolution.

Kong, Li, Liu, Liu, He, Bai, Chen, Fu, "Residual local feature network for efficient super-resolution", CVPR Workshops
2022, arXiv:2205.07514.

Differences from the paper:
    - At scale 1, which the paper does not have, the last convolution starts at zero and its output is added to the
      image: at initialisation the network is the identity. Larger scales add nothing, as in the paper.
    - Trained with the losses, learning rates and degradations of this example, without warm start or contrastive loss.

Differences from the released code:
    - It takes images in 0..255; this one in [0, 1], which it multiplies by 255 and divides again.
"""

from pirnet.pixels import check_images
from torch import Tensor, nn
from torch.nn import functional as F

MIN_SIDE = 15  # the strided convolution leaves 7 pixels, one pooling window
ATTENTION = 16


class SpatialAttention(nn.Module):
    """Multiplies features with a gate from their neighbourhood: (B, C, H, W) to the same, H and W at least 15.

    The neighbourhood is read at 1/6 of the resolution, on few channels: a strided convolution, then a maximum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, ATTENTION, 1)
        self.halve = nn.Conv2d(ATTENTION, ATTENTION, 3, stride=2)
        self.around = nn.Conv2d(ATTENTION, ATTENTION, 3, padding=1)
        self.here = nn.Conv2d(ATTENTION, ATTENTION, 1)
        self.excite = nn.Conv2d(ATTENTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x)  # (B, 16, H, W)
        around = self.around(F.max_pool2d(self.halve(squeezed), 7, stride=3))  # (B, 16, about H/6, about W/6)
        around = F.interpolate(around, x.shape[-2:], mode="bilinear", align_corners=False)  # (B, 16, H, W)
        return x * self.excite(around + self.here(squeezed)).sigmoid()


class LocalFeatures(nn.Module):
    """Three 3x3 convolutions with LeakyReLU, added to their input, then a 1x1 convolution and attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.mix = nn.Conv2d(channels, channels, 1)
        self.attention = SpatialAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        local = x
        for conv in self.convs:
            local = F.leaky_relu(conv(local), 0.05)
        return self.attention(self.mix(x + local))


class RLFN(nn.Module):
    r"""Convolutions with local residuals and one attention a block, all at the resolution of the input.

    .. math:: y = T\bigl(h + C \, B_6 \circ \dots \circ B_1 (h)\bigr), \qquad h = H(x)

    with 3x3 convolutions :math:`H, C`, blocks :math:`B_i` and the tail :math:`T`, a 3x3 convolution and a pixel
    shuffle.

    Args:
        scale: The factor by which each side is enlarged. At 1 the image is added to the output.
        channels: Features of all layers: 52, or 48 for RLFN-S.

    Shape:
        - (B, 3, H, W) in [0, 1], H and W at least 15, to (B, 3, scale H, scale W).

    Raises:
        ValueError: If the image has another shape or is too small.

    Example:
        >>> with torch.device("meta"):
        ...     network = RLFN()
        >>> sum(parameter.numel() for parameter in network.parameters())
        522635
    """

    def __init__(self, scale: int = 1, channels: int = 52) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        blocks = (LocalFeatures(channels) for _ in range(6))
        self.body = nn.Sequential(*blocks, nn.Conv2d(channels, channels, 3, padding=1))
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        if scale == 1:
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        check_images("RLFN", image, least=MIN_SIDE)
        shallow = self.head(255 * image)  # (B, C, H, W)
        enlarged = F.pixel_shuffle(self.tail(shallow + self.body(shallow)), self.scale) / 255  # (B, 3, sH, sW)
        return image + enlarged if self.scale == 1 else enlarged
