"""The common structure of all networks that hide invertibly: couplings on the Haar bands of two images.

It maps (cover, secret) to (stego, lost) and discards what is lost; the inverse reveals with a substitute for it.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from liftlayers import Invertible, Sequential
from liftlayers.functional import haar_analysis, haar_synthesis
from pirnet.pixels import check_images, with_headroom

Z = Literal["zero", "gaussian"]


class Bands(Invertible):
    """The four Haar bands of an image in one tensor, band by band: (B, C, H, W) to (B, 4C, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(haar_analysis(x), dim=1)

    def inverse(self, x: Tensor) -> Tensor:
        channels = x.shape[1] // 4
        approx, detail = x.split((channels, 3 * channels), dim=1)
        return in_layout_of(x, haar_synthesis(approx, detail))


class BandHider(Invertible):
    r"""Hides with a chain of couplings on the Haar bands of cover and secret.

    .. math:: (\text{stego}, \text{lost}) = W^{-1} \circ f_M \circ \dots \circ f_1 \circ W (\text{cover}, \text{secret})

    with the Haar bands :math:`W` of each image and invertible steps :math:`f_i` on the pair of them::

        cover ── Haar ─┬─ block 1 ─ … ─ block M ─┬─ Haar⁻¹ ── stego   (looks like the cover)
        secret ─ Haar ─┘                         └─ Haar⁻¹ ── lost    (discarded)

    Args:
        blocks: The steps, each from two tensors of bands (B, 12, H/2, W/2) to two.
        headroom: Grey levels by which `conceal` moves the extremes of a cover inwards.

    Shape:
        - Forward and inverse: two images (B, 3, H, W) to two images of the same shape, H and W even; nominally in
          [0, 1], but a noisy secret may leave that range and so may the stego.

    Raises:
        TypeError: If an image is not floating point.
        ValueError: If the images are not RGB, their sides are odd, or their shapes differ; if `z` is neither "zero"
            nor "gaussian".
    """

    def __init__(self, *blocks: Invertible, headroom: int = 0) -> None:
        super().__init__()
        self.headroom = headroom
        self.bands = Bands()
        self.blocks = Sequential(*blocks)

    def forward(self, cover: Tensor, secret: Tensor) -> tuple[Tensor, Tensor]:
        check_images(type(self).__name__, cover, secret)
        stego, lost = self.blocks(self.bands(cover), self.bands(secret))
        return self.bands.inverse(stego), self.bands.inverse(lost)

    def inverse(self, stego: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
        check_images(type(self).__name__, stego, lost)
        cover, secret = self.blocks.inverse(self.bands(stego), self.bands(lost))
        return self.bands.inverse(cover), self.bands.inverse(secret)

    def conceal(self, cover: Tensor, secret: Tensor) -> Tensor:
        """Hides: cover and secret (B, 3, H, W) to the stego image, not yet clamped or rounded.

        Black and white of the cover are moved inwards first: what hiding adds beyond them would be lost in 8 bit.
        """
        check_images(type(self).__name__, cover, secret)
        cover = with_headroom(cover, self.headroom)
        return self.bands.inverse(self.blocks(self.bands(cover), self.bands(secret))[0])

    def reveal(self, stego: Tensor, z: Z = "zero") -> Tensor:
        """Reveals: stego (B, 3, H, W) to the secret; its mean or a standard normal draw replaces the lost part."""
        if z not in ("zero", "gaussian"):
            raise ValueError(f'reveal needs z="zero" or z="gaussian", got {z!r}')
        check_images(type(self).__name__, stego)
        bands = self.bands(stego)
        lost = torch.zeros_like(bands) if z == "zero" else self.bands(torch.randn_like(stego))
        return self.bands.inverse(self.blocks.inverse(bands, lost)[1])


def in_layout_of(like: Tensor, image: Tensor) -> Tensor:
    """The image (B, C, H, W) with channels last in memory if `like` has them last: sums of both layouts are slow."""
    last = like.stride(1) == 1
    return image.contiguous(memory_format=torch.channels_last) if last else image


class ScaleAndShift(nn.Module):
    """Joins two networks into the one that an `AffineCoupling` needs: the scale in front of the shift."""

    def __init__(self, scale: nn.Module, shift: nn.Module) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.scale(x), self.shift(x)], dim=1)
