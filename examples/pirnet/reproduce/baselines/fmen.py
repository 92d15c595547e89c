r"""FMEN, the fast and memory-efficient network for super-resolution: trained wide, deployed as plain convolutions.

Du, Liu, Liu, Tang, Wu, Fu, "Fast and memory-efficient network towards efficient image super-resolution", CVPR
Workshops 2022, arXiv:2204.08397.

Differences from the paper:
    - At scale 1, which the paper does not have, the last convolution starts at zero and its output is added to the
      image: at initialisation the network is the identity. Larger scales add nothing, as in the paper.
    - Trained with the losses, learning rates and degradations of this example.

Differences from the released code:
    - It takes images in 0..255; this one in [0, 1], which it multiplies by 255 and divides again.
    - The deployed form is computed from any trained network, not implemented as a second network.
"""

import copy
from typing import TypeVar

import torch
from pirnet.pixels import check_images
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


class WideConv(nn.Module):
    r"""A 3x3 convolution in a wider form, for training: :math:`x + R\,(W + 1)\,E\,x`, (B, C, H, W) to the same.

    The 1x1 convolution :math:`E` doubles the channels, :math:`R` halves them again, :math:`W` is 3x3. Zeros are
    padded around :math:`x`, not around :math:`E x`, which is padded with its bias: only then do the three equal one
    convolution up to the border.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 3)
        self.reduce = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.expand(F.pad(x, (1, 1, 1, 1)))  # (B, 2C, H + 2, W + 2)
        return x + self.reduce(self.conv(wide) + wide[..., 1:-1, 1:-1])

    def folded(self) -> nn.Conv2d:
        """The one convolution that computes the same."""
        expand, reduce = (conv.weight[..., 0, 0] for conv in (self.expand, self.reduce))  # (2C, C), (C, 2C)
        weight = self.conv.weight + _one(self.conv.weight)  # with its residual connection
        bias = _bias(self.reduce) + reduce @ (_bias(self.conv) + weight.sum(dim=(2, 3)) @ _bias(self.expand))
        weight = torch.einsum("oi, ijyx, jc -> ocyx", reduce, weight, expand)  # (C, C, 3, 3)
        return _conv(weight + _one(weight), bias)


class NormConv(nn.Module):
    """A batch normalisation and a 3x3 convolution, padded with the normalised value of zero."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, zero = self.norm(x), _affine(self.norm)[1].view(-1, 1, 1)
        return self.conv(F.pad(x - zero, (1, 1, 1, 1)) + zero)

    def folded(self) -> nn.Conv2d:
        """The one convolution that computes the same in eval mode."""
        scale, shift = _affine(self.norm)
        weight = self.conv.weight
        return _conv(weight * scale[:, None, None], _bias(self.conv) + weight.sum(dim=(2, 3)) @ shift)


class NormConvNorm(NormConv):
    """A `NormConv` and one more batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.after = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(super().forward(x))

    def folded(self) -> nn.Conv2d:
        conv, (scale, shift) = super().folded(), _affine(self.after)
        return _conv(conv.weight * scale[:, None, None, None], _bias(conv) * scale + shift)


class EnhancedBlock(nn.Module):
    """Two convolutions with LeakyReLU between; the residual connections are inside them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first: nn.Module = WideConv(channels)
        self.second: nn.Module = WideConv(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.leaky_relu(self.first(x), 0.1))


class HighFrequencyAttention(nn.Module):
    """Multiplies features with a gate that `count` blocks compute on few channels: (B, C, H, W) to the same."""

    def __init__(self, channels: int, squeezed: int, count: int) -> None:
        super().__init__()
        self.squeeze: nn.Module = NormConv(channels, squeezed)
        self.blocks = nn.Sequential(*(EnhancedBlock(squeezed) for _ in range(count)))
        self.excite: nn.Module = NormConvNorm(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.blocks(F.leaky_relu(self.squeeze(x), 0.1))  # (B, squeezed, H, W)
        return x * self.excite(F.leaky_relu(gate, 0.1)).sigmoid()


class FMEN(nn.Module):
    r"""Enhanced blocks and high-frequency attention in turn, in the form for training.

    .. math:: y = T\bigl(h + C \circ A_4 E_4 \circ \dots \circ A_1 E_1 \circ A_0 C_0 (h)\bigr), \qquad h = H(x)

    with 3x3 convolutions :math:`H, C_0, C`, blocks :math:`E_i`, attention :math:`A_i` and the tail :math:`T`, a 3x3
    convolution and a pixel shuffle.

    Args:
        scale: The factor by which each side is enlarged. At 1 the image is added to the output.

    Shape:
        - (B, 3, H, W) in [0, 1], for all H and W, to (B, 3, scale H, scale W).

    Raises:
        ValueError: If the image has another shape.

    Example:
        >>> with torch.device("meta"):
        ...     network = FMEN()
        >>> [sum(parameter.numel() for parameter in form.parameters()) for form in (network, network.deployed())]
        [1025571, 320771]
    """

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, 50, 3, padding=1)
        blocks = [block for _ in range(4) for block in (EnhancedBlock(50), HighFrequencyAttention(50, 16, 1))]
        warmup = nn.Conv2d(50, 50, 3, padding=1), HighFrequencyAttention(50, 12, 2)
        self.body = nn.Sequential(*warmup, *blocks, nn.Conv2d(50, 50, 3, padding=1))
        self.tail = nn.Conv2d(50, 3 * scale**2, 3, padding=1)
        if scale == 1:
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(_bias(self.tail))

    def forward(self, image: Tensor) -> Tensor:
        check_images("FMEN", image)
        shallow = self.head(255 * image)  # (B, 50, H, W)
        enlarged = F.pixel_shuffle(self.tail(shallow + self.body(shallow)), self.scale) / 255  # (B, 3, sH, sW)
        return image + enlarged if self.scale == 1 else enlarged

    @torch.no_grad()
    def deployed(self) -> "FMEN":
        """The same network in eval mode as plain 3x3 convolutions, a third of the parameters."""
        return _folded(copy.deepcopy(self)).eval()


def _folded(module: M) -> M:
    for name, child in module.named_children():
        setattr(module, name, child.folded() if isinstance(child, (WideConv, NormConv)) else _folded(child))
    return module


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a normalisation in eval mode, (C,) each."""
    assert norm.running_mean is not None  # a BatchNorm2d has it by default
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # every convolution here has one
    return conv.bias


def _one(weight: Tensor) -> Tensor:
    """The kernel of the identity, of the same shape (C, C, 3, 3)."""
    return nn.init.dirac_(torch.empty_like(weight))


def _conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """The zero-padded 3x3 convolution of a weight (O, I, 3, 3) and a bias (O,)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    return conv
