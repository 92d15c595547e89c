"""Steps that rearrange numbers among bands, channels and positions without changing them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from liftlayers._checks import require_alike, require_positive, require_tensors
from liftlayers.invertible import VolumePreserving


class Rearrangement(VolumePreserving):
    """A step that only moves numbers to other places."""

    exact_on_grid = True


class Split(Rearrangement):
    r"""Splits one band into several along its channels; ``Inverse(Split(...))`` concatenates them.

    .. math:: x = [b_1, \dots, b_n] \mapsto (b_1, \dots, b_n)

    The bands are views of :math:`x`, as `torch.split` makes them.

    Args:
        sizes: Channels of each band, two or more numbers.

    Shape:
        - Forward: :math:`(B, \sum C_i, *)` to :math:`n` bands :math:`(B, C_i, *)`, of any dtype and range.
        - Inverse: the reverse.

    Raises:
        TypeError: If a number is no integer, or the bands to concatenate have different dtypes.
        ValueError: If there are fewer than two sizes, a size is below 1, the channels do not add up to the sum of the
            sizes, or the bands to concatenate do not fit together or are on different devices.

    References:
        [Dinh2017]_, section 3.4, on partitioning channels.

    Example:
        >>> split = Split(1, 2)
        >>> a, b = split(torch.rand(1, 3, 4, 4))
        >>> a.shape, b.shape
        (torch.Size([1, 1, 4, 4]), torch.Size([1, 2, 4, 4]))
        >>> Inverse(split)(a, b).shape
        torch.Size([1, 3, 4, 4])
    """

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        if len(sizes) < 2:
            given = ", ".join(map(str, sizes)) or "none"
            raise ValueError(f"Split needs two or more sizes, as in Split(1, 2), got {given}")
        for size in sizes:
            require_positive("Split", size=size)
        self.sizes = sizes

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        require_tensors("Split", x)
        if x.ndim < 2 or x.shape[1] != sum(self.sizes):
            raise ValueError(f"Split needs a tensor of shape (B, {sum(self.sizes)}, ...), got {tuple(x.shape)}")
        return x.split(self.sizes, dim=1)

    def inverse(self, *bands: Tensor) -> Tensor:
        require_tensors("Split.inverse", *bands)
        channels = [band.shape[1] if band.ndim > 1 else None for band in bands]
        others = [(band.shape[:1], band.shape[2:]) for band in bands]  # a list: an exporter's sizes have no hash
        if channels != list(self.sizes) or any(other != others[0] for other in others):
            needed = " and ".join(f"(B, {size}, ...)" for size in self.sizes)
            shapes = " and ".join(str(tuple(band.shape)) for band in bands)
            raise ValueError(f"Split.inverse needs bands of shapes {needed}, got {shapes}")
        require_alike("Split.inverse", *bands)
        return torch.cat(bands, dim=1)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.sizes))


class Swap(Rearrangement):
    r"""Swaps two bands, so that the next coupling changes the other one.

    .. math:: (a, b) \mapsto (b, a)

    Shape:
        - Two bands of any shape, dtype and range.

    Raises:
        TypeError: If the number of bands is not two.

    References:
        [Dinh2015]_, section 3.2, on couplings that change the two bands alternately.

    Example:
        >>> Swap()(torch.zeros(1), torch.ones(1))
        (tensor([1.]), tensor([0.]))
    """

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return b, a

    def inverse(self, b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        return a, b


class PixelUnshuffle(Rearrangement):
    r"""Moves every square of pixels into the channels of one pixel.

    .. math:: y_{c k^2 + i k + j,\; h,\; w} = x_{c,\; k h + i,\; k w + j}

    Args:
        factor: Side :math:`k` of the squares.

    Shape:
        - Forward: :math:`(B, C, kH, kW)` to :math:`(B, k^2 C, H, W)`, of any range and each dtype that
          `torch.nn.functional.pixel_unshuffle` takes.
        - Inverse: the reverse.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If `factor` is below 1, a tensor is not four-dimensional, its height or width is not a multiple of
            :math:`k`, or, in the inverse, its number of channels is not a multiple of :math:`k^2`.

    References:
        [Shi2016]_, whose shuffle is the inverse; [Jacobsen2018]_ and [Dinh2017]_, section 3.6, use it instead of
        pooling.

    Example:
        >>> PixelUnshuffle(2)(torch.rand(1, 3, 8, 6)).shape
        torch.Size([1, 12, 4, 3])
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        require_positive("PixelUnshuffle", factor=factor)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        k = self.factor
        require_tensors(f"PixelUnshuffle({k})", x)
        if x.ndim != 4 or x.shape[2] % k or x.shape[3] % k:
            needed = f"a (B, C, H, W) tensor with H and W multiples of {k}"
            raise ValueError(f"PixelUnshuffle({k}) needs {needed}, got {tuple(x.shape)}")
        if x.numel() == 0:  # torch would return an empty tensor unchanged
            return x.reshape(x.shape[0], k**2 * x.shape[1], x.shape[2] // k, x.shape[3] // k)
        return F.pixel_unshuffle(x, k)

    def inverse(self, x: Tensor) -> Tensor:
        k = self.factor
        require_tensors(f"PixelUnshuffle({k}).inverse", x)
        if x.ndim != 4 or x.shape[1] % k**2:
            needed = f"a (B, C, H, W) tensor with C a multiple of {k**2}"
            raise ValueError(f"PixelUnshuffle({k}).inverse needs {needed}, got {tuple(x.shape)}")
        if x.numel() == 0:
            return x.reshape(x.shape[0], x.shape[1] // k**2, k * x.shape[2], k * x.shape[3])
        return F.pixel_shuffle(x, k)

    def extra_repr(self) -> str:
        return str(self.factor)
