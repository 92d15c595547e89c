"""A depthwise convolution whose weight gradient is fast and correct on CPUs.

On CPUs torch uses oneDNN, which is fast for the weight gradient of depthwise 3x3 kernels only. For larger kernels
torch 2.13 takes ten to a hundred times as long as forward. For dilated kernels in bfloat16, channels last, on
processors with AVX-512 BF16, the gradient it returns is wrong.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

TILE = 3  # side of the kernels for which oneDNN is fast


class DepthwiseConv2d(nn.Conv2d):
    """Convolves each channel with its own kernel, of odd side, zero-padded to the same size, without bias.

    On CPUs with gradients enabled, the gradient of a kernel is assembled from 3x3 tiles. Each tile is the gradient of a
    3x3 kernel on a shifted image.
    """

    def __init__(self, channels: int, kernel_size: int, *, dilation: int = 1) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(
            channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        plain = x.device.type != "cpu" or not torch.is_grad_enabled()
        if plain or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            return super().forward(x)
        x, weight = _as_autocast(x), _as_autocast(self.weight)
        function = _Convolution if torch.compiler.is_compiling() else _AnyConvolution
        return function.apply(x, weight, self.dilation[0])  # pyright: ignore[reportReturnType]


def _as_autocast(x: Tensor) -> Tensor:
    """Casts as autocast casts the arguments of convolutions; it does not do so inside autograd functions."""
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype("cpu"))
    return x


class _Convolution(torch.autograd.Function):
    """The form for compilers. Its gradients consist of torch operations, so that they are differentiable too."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        return _convolve(x, weight, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG004
        x, weight, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)  # for `jvp`

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight, _ = ctx.needs_input_grad
        x_gradient = _convolve(gradient, weight.flip(2, 3), ctx.dilation) if of_x else None
        weight_gradient = _weight_gradient(x, gradient, weight.shape[-1], ctx.dilation) if of_weight else None
        return x_gradient, weight_gradient, None


class _AnyConvolution(_Convolution):
    """The form for everything else: with rules for torch.func and forward mode, which compilers do not accept."""

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        x, weight = ctx.saved_tensors
        x_tangent, weight_tangent, _ = tangents
        return _convolve(x_tangent, weight, ctx.dilation) + _convolve(x, weight_tangent, ctx.dilation)


def _convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, padding=padding, dilation=dilation, groups=weight.shape[0])


def _weight_gradient(x: Tensor, gradient: Tensor, side: int, dilation: int) -> Tensor:
    """Assembles the gradient from tiles; each is the gradient of a small kernel on the image shifted to the tile.

    The phases are summed in float32 at least: on processors without bfloat16 arithmetic, torch rounds after each image.
    """
    x, gradient = _phases(x, dilation), _phases(gradient, dilation)
    channels, height, width = gradient.shape[1:]
    num = -(-side // TILE)
    before = side // 2
    after = before + num * TILE - side  # the last tiles extend beyond the kernel
    x = F.pad(x, (before, after, before, after))
    starts = range(0, num * TILE, TILE)  # `narrow`, because gradients in batches have no rule for slices of all
    windows = (x.narrow(2, i, height + TILE - 1).narrow(3, j, width + TILE - 1) for i in starts for j in starts)
    tiles = [conv2d_weight(window, (channels, 1, TILE, TILE), gradient, groups=channels) for window in windows]
    gradient = rearrange(tiles, "(i j) c 1 p q -> c 1 (i p) (j q)", i=num).narrow(2, 0, side).narrow(3, 0, side)
    if dilation == 1:
        return gradient
    total = torch.promote_types(gradient.dtype, torch.float32)
    return reduce(gradient.to(total), "(p c) 1 h w -> c 1 h w", "sum", p=dilation**2).to(gradient.dtype)


def _phases(x: Tensor, dilation: int) -> Tensor:
    """Moves every `dilation`-th row and column into channels of their own, in which the convolution is not dilated."""
    if dilation == 1:
        return x
    x = F.pad(x, (0, -x.shape[3] % dilation, 0, -x.shape[2] % dilation))
    return rearrange(x, "b c (h p) (w q) -> b (p q c) h w", p=dilation, q=dilation)
