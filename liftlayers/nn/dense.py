"""The dense network inside the couplings of HiNet and DeepMIH."""

import torch
from torch import Tensor, nn

from liftlayers._checks import require_image, require_positive
from liftlayers.nn.predictors import zero_


class DensePredictor(nn.Module):
    r"""HiNet's predictor: five convolutions, each of which sees the input and the outputs of all earlier ones.

    .. math::

        P(x) = W_5 * [x, h_1, \dots, h_4], \qquad h_i = \sigma(W_i * [x, h_1, \dots, h_{i-1}]), \qquad
        \sigma(t) = \max(t, 0.01\,t)

    All kernels are 3x3 with bias and zero padding. :math:`W_5` and its bias start at zero; all other weights and
    biases are drawn from :math:`\mathcal N(0, 0.01^2)`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the prediction.
        growth: Channels of each :math:`h_i`.

    Shape:
        - Input :math:`(B, C_{in}, H, W)` of any range, output :math:`(B, C_{out}, H, W)`.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If a number of channels is below 1, or the input has another shape.

    References:
        [Jing2021]_; sizes and initial values as in the authors' released code.

    Example:
        >>> sum(p.numel() for p in DensePredictor(12, 12).parameters())
        84380
    """

    def __init__(self, in_channels: int, out_channels: int, *, growth: int = 32) -> None:
        super().__init__()
        require_positive("DensePredictor", in_channels=in_channels, out_channels=out_channels, growth=growth)
        self.in_channels = in_channels
        self.hidden = nn.ModuleList(nn.Conv2d(in_channels + i * growth, growth, 3, padding=1) for i in range(4))
        for parameter in self.hidden.parameters():
            nn.init.normal_(parameter, std=0.01)
        self.activation = nn.LeakyReLU(0.01)
        self.last = zero_(nn.Conv2d(in_channels + 4 * growth, out_channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        require_image("DensePredictor", x, channels=self.in_channels)
        for conv in self.hidden:
            x = torch.cat([x, self.activation(conv(x))], dim=1)  # adds `growth` channels
        return self.last(x)
