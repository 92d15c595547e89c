"""Whether a secret survives: what the client's scripts warn of.

The limits were chosen on CBSD68 with the weights that come with the example. Secrets with noise of sigma 35 are
revealed at 18.6 dB or more, before the cloud. Photos without a secret differ from the plain picture below by at most
0.06, photos with one by at least 0.11. Colours outside the range cost at most 44 dB, with a wrong key 18 dB or less.
"""

import torch
from torch import Tensor

from pirnet.metrics import psnr
from pirnet.model import LIH
from pirnet.pixels import centred

LOST = 18.0  # dB
EMPTY = 0.08  # of the range of colours, root mean square
OUTSIDE = 30.0  # dB
SIDE, MIDDLE = 160, 32  # of a plain picture, and of its part that the borders do not reach


def concealed_at(revealed: Tensor, secret: Tensor) -> tuple[float, list[str]]:
    """The PSNR in dB at which a secret (3, H, W) is revealed again from its stego image, and a warning if it is low."""
    quality = float(psnr(revealed[None], secret[None]))
    if quality >= LOST:
        return quality, []
    return quality, [
        f"the secret is lost, it is revealed at only {quality:.1f} dB: use a cover without large white or black areas, "
        "a secret without strong noise or fine patterns, or weights that were trained for longer"
    ]


@torch.inference_mode()
def doubts(lih: LIH, stego: Tensor, revealed: Tensor) -> list[str]:
    """Reasons to doubt that a picture (3, H, W) was concealed in the stego image with these weights."""
    plain = lih.reveal(stego.mean(dim=(1, 2), keepdim=True).expand(3, SIDE, SIDE)[None].contiguous())[0]
    nothing = centred(plain, MIDDLE, MIDDLE).mean(dim=(1, 2), keepdim=True)
    if float((revealed - nothing).square().mean().sqrt()) < EMPTY:
        return ["hardly anything is revealed: nothing was concealed here, or JPEG, resizing or editing destroyed it"]
    if float((revealed - revealed.clamp(0, 1)).square().mean()) > 10 ** (-OUTSIDE / 10):
        return [
            "what is revealed is far outside the range of colours: it was concealed with other weights, or not at all"
        ]
    return []
