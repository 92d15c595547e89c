"""The U-Net of NAFBlocks with one encoder and one decoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from liftlayers._checks import require_at_least, require_image, require_positive
from liftlayers.functional.padding import pad_to_multiple
from liftlayers.nn._pointwise import PointwiseConv2d
from liftlayers.nn.naf import NAFBlock
from liftlayers.nn.predictors import zero_


class NAFEncoder(nn.Module):
    """The encoder: a 3x3 convolution, then at each level some blocks and a 2x2 convolution of stride 2.

    It pads images with zeros so that all levels have even sizes.

    Returns the coarsest features, and the features of each level before downsampling (the skips), finest first.
    """

    def __init__(self, in_channels: int, width: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(num_blocks))]
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.levels = nn.ModuleList(naf_blocks(num, w) for num, w in zip(num_blocks, widths, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.first(pad_to_multiple(x, 2 ** len(self.levels)))
        skips: list[Tensor] = []
        for level, down in zip(self.levels, self.downs, strict=True):
            x = level(x)
            skips.append(x)
            x = down(x)  # (B, 2w, h/2, w/2)
        return x, skips


class NAFDecoder(nn.Module):
    """The decoder: each level doubles the size, adds a skip and runs some blocks; a 3x3 convolution follows.

    The last convolution starts at zero. The inputs are what `NAFEncoder` returns; `num_blocks` lists the coarsest level
    first.
    """

    def __init__(self, out_channels: int, width: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        widths = [width * 2**level for level in reversed(range(len(num_blocks)))]
        ups = (nn.Sequential(PointwiseConv2d(2 * w, 4 * w, bias=False), nn.PixelShuffle(2)) for w in widths)
        self.ups = nn.ModuleList(ups)
        self.levels = nn.ModuleList(naf_blocks(num, w) for num, w in zip(num_blocks, widths, strict=True))
        self.last = zero_(nn.Conv2d(width, out_channels, 3, padding=1))

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for up, level, skip in zip(self.ups, self.levels, reversed(skips), strict=True):
            x = level(up(x) + skip)  # (B, w, 2h, 2w)
        return self.last(x)


class NAFUNet(nn.Module):
    r"""NAFNet: a U-Net of NAFBlocks that adds a correction to its input.

    .. math:: y = x + D(M(E(x)))

    with encoder :math:`E`, middle blocks :math:`M` at the coarsest level and decoder :math:`D`, joined by additive
    skips. The input is padded with zeros to a multiple of :math:`2^{levels}`, and the output is cropped. The last
    convolution starts at zero, so that the network starts as the identity.

    Args:
        in_channels: Channels of input and output.
        width: Channels at the finest level; they double with every level.
        encoder: Number of blocks at each level of the encoder, finest first.
        middle: Number of blocks at the coarsest level.
        decoder: Number of blocks at each level of the decoder, coarsest first.

    Shape:
        - Input and output :math:`(B, C, H, W)`, any size; for images, values in [0, 1].

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If encoder and decoder differ in their number of levels, a number is too small, or the input has
            another shape.

    References:
        [Chen2022]_. The example has the configuration of the published model for real noise, "SIDD width 32".

    Example:
        >>> with torch.device("meta"):
        ...     net = NAFUNet(3, 32, encoder=(2, 2, 4, 8), middle=12, decoder=(2, 2, 2, 2))
        >>> sum(p.numel() for p in net.parameters())
        29159715
    """

    def __init__(
        self, in_channels: int, width: int, *, encoder: Sequence[int], middle: int, decoder: Sequence[int]
    ) -> None:
        super().__init__()
        require_positive("NAFUNet", in_channels=in_channels, width=width)
        require_depths("NAFUNet", encoder, decoder, middle=middle)
        self.in_channels = in_channels
        self.encoder = NAFEncoder(in_channels, width, encoder)
        self.middle = naf_blocks(middle, width * 2 ** len(encoder))
        self.decoder = NAFDecoder(in_channels, width, decoder)

    def forward(self, x: Tensor) -> Tensor:
        require_image("NAFUNet", x, channels=self.in_channels)
        height, width = x.shape[-2:]
        features, skips = self.encoder(x)
        return x + self.decoder(self.middle(features), skips)[..., :height, :width]


def naf_blocks(num: int, channels: int) -> nn.Sequential:
    """Returns a sequence of `num` NAFBlocks."""
    return nn.Sequential(*(NAFBlock(channels) for _ in range(num)))


def require_depths(who: str, encoder: Sequence[int], decoder: Sequence[int], **others: int) -> None:
    """Raises unless encoder and decoder have the same, positive number of levels, and no number of blocks is negative.

    Others are numbers of blocks outside of the levels.
    """
    if not encoder or len(encoder) != len(decoder):
        found = f"{len(encoder)} and {len(decoder)}"
        raise ValueError(f"{who} needs as many encoder as decoder levels, at least one, got {found}")
    for name, depths in (("encoder", encoder), ("decoder", decoder)):
        others |= {f"{name}[{level}]": depth for level, depth in enumerate(depths)}
    require_at_least(0, who, **others)
