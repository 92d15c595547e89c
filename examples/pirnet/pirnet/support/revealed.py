"""Whether a secret survives: what the client's scripts warn of.

The limits were chosen on CBSD68. Without keys, and with the first weights of the preset `base`: secrets with noise of
sigma 35 are revealed at 18.6 dB or more, before the cloud. On crops of 256 x 256, what a cover reveals differs from
what a plain picture reveals by at most 0.042, what a stego image resized to two thirds reveals by at most 0.047,
secrets by at least 0.063; JPEG of quality 80 or 95 leaves 0.02 to 0.11. Secrets are at least 33 dB from the range of
colours, on black and white pictures too; with other weights at most 18 dB. With keys, and with the weights that come
with the example: the jumps at borders of blocks are at most 0.03 with the right key, and 0.15 or more with another or
none, except for photos of hardly any contrast.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pirnet.metrics import psnr
from pirnet.model import LIH
from pirnet.pixels import centred

LOST = 18.0  # dB
EMPTY = 0.055  # of the range of colours, root mean square
BLOCK = 8  # side of the blocks whose means are compared: fine detail of a cover looks like something revealed
OUTSIDE = 30.0  # dB
JUMPS = 0.08  # at borders of blocks
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
    if float(avg_pool2d(revealed - nothing, BLOCK).square().mean().sqrt()) < EMPTY:
        return ["hardly anything is revealed: nothing was concealed here, or resizing, JPEG or editing destroyed it"]
    if float((revealed - revealed.clamp(0, 1)).square().mean()) > 10 ** (-OUTSIDE / 10):
        return [
            "what is revealed is far outside the range of colours: it was concealed with other weights, or not at all"
        ]
    return []


def scrambled_still(secret: Tensor, block: int | None) -> list[str]:
    """A doubt if a picture (3, H, W) has jumps at the borders of its blocks; of any size of blocks if that is None."""
    jumps = max(_jumps(secret, side) for side in ((16, 32, 64) if block is None else (block,)))
    if jumps < JUMPS:
        return []
    if block is None:
        return ["what is revealed looks scrambled: name the photo's key with --key instead of --no-key"]
    return ["what is revealed looks scrambled: the key is of another photo, or this one was concealed without a key"]


def _jumps(image: Tensor, block: int) -> float:
    """The mean difference of neighbouring pixels (3, H, W) across borders of blocks, minus that inside blocks."""
    across, inside = [], []
    for each in (image, image.mT):  # columns, then rows
        steps = each.diff(dim=-1).abs().mean(dim=(0, 1))
        border = torch.arange(1, len(steps) + 1) % block == 0
        across.append(steps[border])
        inside.append(steps[~border])
    if not any(map(len, across)):
        return 0.0
    return float(torch.cat(across).mean() - torch.cat(inside).mean())
