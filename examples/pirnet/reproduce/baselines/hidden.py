"""HiDDeN: an encoder and a decoder of plain convolutions, here with a photo as the message.

Jiren Zhu, Russell Kaplan, Justin Johnson, Li Fei-Fei, "HiDDeN: Hiding Data With Deep Networks", ECCV 2018.

Differences from the paper:

- It hides 30 bits in 128 x 128 pixels. How PIRNet's comparison hides a photo with it is not documented; here
  the three channels of the photo replace the bits repeated over all pixels, and the decoder ends in a 1x1 convolution
  to three channels; that of the paper pools over the image for its bits.
- There is no discriminator, and so no adversarial loss, whose weight in the paper is a thousandth of the message's.
- Training is that of this example: mean squared errors with PIRNet's weights and learning rates, and a stego image that
  is rounded to 8 bit before it is revealed.

Differences from the released code:

- There is no noise between encoder and decoder except that rounding, which the code approximates by ten sines.
- It trains with Adam at 1e-3.
"""

import torch
from pirnet.band_hider import Z
from pirnet.pixels import check_images
from torch import Tensor, nn

CHANNELS = 64


class HiDDeN(nn.Module):
    """Hides with convolutions, batch norms and ReLUs.

    In training mode both networks normalise by the batch, otherwise by running averages::

        cover ─┬─ 4 blocks ─┐
               ├────────────┼─ block ─ 1x1 ── stego ── 7 blocks ─ 1x1 ── secret
        secret ┴────────────┘

    Shape:
        - Images (B, 3, H, W) of any size, nominally in [0, 1], to an image of the same shape.

    Raises:
        ValueError: If an image is not RGB, or cover and secret differ in shape.

    Example:
        >>> with torch.device("meta"):
        ...     hidden = HiDDeN()
        >>> sum(parameter.numel() for parameter in hidden.parameters())  # 153795 of the encoder, 224451 of the decoder
        378246
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(3), *(_block(CHANNELS) for _ in range(3)))
        self.join = nn.Sequential(_block(3 + CHANNELS + 3), nn.Conv2d(CHANNELS, 3, 1))
        self.decoder = nn.Sequential(_block(3), *(_block(CHANNELS) for _ in range(6)), nn.Conv2d(CHANNELS, 3, 1))

    def conceal(self, cover: Tensor, secret: Tensor) -> Tensor:
        """Hides: cover and secret (B, 3, H, W) to the stego image, not yet clamped or rounded."""
        check_images("HiDDeN", cover, secret)
        cover, secret = _signed(cover), _signed(secret)
        stego = self.join(torch.cat([secret, self.features(cover), cover], dim=1))
        return _unsigned(stego.to(cover.dtype))  # under autocast only the network is rounded

    def reveal(self, stego: Tensor, z: Z = "zero") -> Tensor:  # noqa: ARG002
        """Reveals: stego (B, 3, H, W) to the secret; there is no lost part, so `z` is ignored."""
        check_images("HiDDeN", stego)
        return _unsigned(self.decoder(_signed(stego)).to(stego.dtype))


def _block(in_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU())


def _signed(image: Tensor) -> Tensor:
    """From [0, 1] to [-1, 1]."""
    return 2 * image - 1


def _unsigned(image: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return (image + 1) / 2
