r"""RIDNet, the denoiser with feature attention.

Anwar, Barnes, "Real image denoising with feature attention", ICCV 2019.

Differences from the paper:
    - Trained with the losses, learning rates and degradations of this example, not with L1.

Differences from the released code:
    - The mean colour is added to the residual, as there, and the image after it: the sum would start out too bright by
      the mean. Here the last convolution's bias starts at minus the mean.
    - Values are in [0, 1]; there the mean is multiplied by the range of the values.
"""

import torch
from pirnet.pixels import check_images
from torch import Tensor, nn

FEATURES = 64
MEAN = (0.4488, 0.4371, 0.4040)  # of red, green, blue


class MeanShift(nn.Module):
    """Adds `sign` times the mean colour, as a 1x1 convolution that is never trained."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3).view(3, 3, 1, 1), requires_grad=False)
        self.bias = nn.Parameter(sign * torch.tensor(MEAN), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight, self.bias)


class Attended(nn.Module):
    """Enhancement attention module: (B, 64, H, W) to the same.

    Two pairs of dilated convolutions side by side, a residual block, another with a 1x1 convolution at its end, and a
    gate for each channel from its mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(_conv(dilation=1), nn.ReLU(), _conv(dilation=2), nn.ReLU())
        self.far = nn.Sequential(_conv(dilation=3), nn.ReLU(), _conv(dilation=4), nn.ReLU())
        self.merge = nn.Sequential(nn.Conv2d(2 * FEATURES, FEATURES, 3, padding=1), nn.ReLU())
        self.residual = nn.Sequential(_conv(), nn.ReLU(), _conv())
        self.enhanced = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), nn.Conv2d(FEATURES, FEATURES, 1))
        squeezed = FEATURES // 16
        gate = nn.Conv2d(FEATURES, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, FEATURES, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), *gate, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.merge(torch.cat((self.near(x), self.far(x)), dim=1))
        x = (x + self.residual(x)).relu()
        x = (x + self.enhanced(x)).relu()
        return x * self.gate(x)


class RIDNet(nn.Module):
    r"""Four modules of dilated, residual and gated convolutions between two more, all at full resolution.

    .. math:: y = x + m + T\, A_4 \circ \dots \circ A_1 \circ \rho H (x - m)

    with the mean colour :math:`m`, 3x3 convolutions :math:`H, T`, modules :math:`A_i` and ReLU :math:`\rho`.

    Shape:
        - (B, 3, H, W) in [0, 1], for all H and W, to the same shape.

    Raises:
        ValueError: If the image has another shape.

    Example:
        >>> with torch.device("meta"):
        ...     network = RIDNet()
        >>> sum(parameter.numel() for parameter in network.parameters())
        1499371
    """

    def __init__(self) -> None:
        super().__init__()
        self.off = MeanShift(-1)
        self.head = nn.Sequential(nn.Conv2d(3, FEATURES, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(*(Attended() for _ in range(4)))
        self.tail = nn.Conv2d(FEATURES, 3, 3, padding=1)
        self.on = MeanShift(1)
        with torch.no_grad():
            self.tail.bias.sub_(self.on.bias)  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> Tensor:
        check_images("RIDNet", image)
        return image + self.on(self.tail(self.body(self.head(self.off(image)))))


def _conv(dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(FEATURES, FEATURES, 3, padding=dilation, dilation=dilation)
