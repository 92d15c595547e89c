"""A 1x1 convolution that is a product of matrices where the channels of a pixel are next to each other in memory."""

import torch.nn.functional as F
from torch import Tensor, nn

from liftlayers._graphs import in_onnx_export


class PointwiseConv2d(nn.Conv2d):
    """Multiplies the channels of each pixel by a matrix: a 1x1 convolution of stride 1.

    On CPUs, with channels last in memory, it is a product of matrices. The convolution of oneDNN reorders its weights
    in every call, which takes longer than the arithmetic if there are few pixels: with 256 channels on 5 x 5 pixels in
    bfloat16, the product takes half the time forwards and backwards. Both differ by rounding errors. Graphs for ONNX
    get convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor, *, scale: Tensor | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolves (B, C, H, W) and multiplies by `scale`, (C', 1, 1), where it is given."""
        weight, bias = self.weight, self.bias
        if scale is not None:  # the weights absorb it, since they are smaller than most images
            weight = weight * scale[:, None]
            bias = None if bias is None else bias * scale.flatten()
        if in_onnx_export() or x.device.type != "cpu" or x.ndim != 4 or x.stride(1) != 1:
            return F.conv2d(x, weight, bias)
        # Of two equal views, the one that gives the gradient the strides of the weights: DistributedDataParallel warns
        # of others.
        matrix = (weight if weight.stride(3) == 1 else weight.permute(0, 2, 3, 1)).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)
