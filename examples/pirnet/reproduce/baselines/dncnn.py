r"""DnCNN, the denoiser that predicts the noise.

Zhang, Zuo, Chen, Meng, Zhang, "Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising", IEEE
Transactions on Image Processing 26(7), 2017.

Differences from the paper:
    - Convolutions before a batch normalisation have a bias, as in KAIR, so that the merged form has the same names.
    - Trained with batch normalisation, as in the paper, but by default with the 20 layers of its blind colour network.
    - Trained with the losses, learning rates and degradations of this example, on all of its tasks.

Differences from the released code:
    - The author's PyTorch trainer has a bias in the first convolution only; KAIR has one in each, as here.
    - A running average keeps nine tenths at each step; in the author's trainer nearly all comes from the last batch
      (momentum 0.95). Our batches are small.
"""

import copy
import itertools

import torch
from pirnet.pixels import check_images
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

FEATURES = 64


class DnCNN(nn.Module):
    r"""A chain of 3x3 convolutions with ReLU between, whose output is subtracted from the image.

    .. math:: y = x - C_L \circ \rho N_{L-1} C_{L-1} \circ \dots \circ \rho N_2 C_2 \circ \rho\, C_1 (x)

    with convolutions :math:`C_i` of 64 features, zero-padded, batch normalisations :math:`N_i` and ReLU :math:`\rho`.

    Args:
        channels: Channels of the image: 1 is grey, 3 is colour.
        layers: The number of convolutions :math:`L`: 17 in the paper for one noise level, 20 for colour or any level.
        batch_norm: Whether there are normalisations. Networks train better with them and run faster without:
            `merged` removes them.

    Shape:
        - (B, channels, H, W) to the same shape, in [0, 1], for all H and W.

    Raises:
        ValueError: If there are fewer than two layers, or the image has another shape.

    Example:
        >>> with torch.device("meta"):
        ...     network = DnCNN()
        >>> sum(parameter.numel() for parameter in network.parameters())
        670531
    """

    def __init__(self, channels: int = 3, layers: int = 20, *, batch_norm: bool = True) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"DnCNN needs at least two layers, got {layers}")
        self.channels = channels
        widths = [channels, *[FEATURES] * (layers - 1), channels]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        norms = (nn.BatchNorm2d(FEATURES, eps=1e-4) if batch_norm else nn.Identity() for _ in range(layers - 2))
        self.norms = nn.ModuleList(norms)
        for conv in self.convs:
            nn.init.orthogonal_(conv.weight)  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        check_images("DnCNN", image, channels=self.channels)
        first, *middle, last = self.convs
        noise = first(image).relu()  # (B, 64, H, W)
        for conv, norm in zip(middle, self.norms, strict=True):
            noise = norm(conv(noise)).relu()
        return image - last(noise)

    @torch.no_grad()
    def merged(self) -> "DnCNN":
        r"""The same network in eval mode without normalisations; each is merged into the convolution before it.

        .. math:: N(Wx + b) = \gamma\, \frac{Wx + b - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta
        """
        plain = copy.deepcopy(self).eval()
        for number, norm in enumerate(plain.norms):
            conv = plain.convs[number + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                plain.convs[number + 1], plain.norms[number] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        return plain
