"""Whether a secret survives: what the client's scripts warn of.

The limits were chosen on CBSD68. Without keys, and with the first weights of the preset `base`: secrets with noise of
sigma 35 are revealed at 18.6 dB or more, before the cloud. On crops of 256 x 256, what a cover reveals differs from
what a plain picture reveals by at most 0.042, what a stego image resized to two thirds reveals by at most 0.047,
secrets by at least 0.063; JPEG of quality 80 or 95 leaves 0.02 to 0.11. Secrets are at least 33 dB from the range of
colours, on black and white pictures too; with other weights at most 18 dB. With keys, and with the weights that come
with the example, steps at borders of blocks exceed those inside blocks by at most 0.012 in intact secrets, including
flat, pale and high-contrast ones. In secrets that JPEG of quality 60 to 98 destroyed they are at least 0.015 larger,
and up to three times as large.
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
JUMPS = 0.08  # at borders of blocks, without a key
RATIO, EXCESS = 2.5, 0.013  # of steps at borders of blocks to steps elsewhere, and their difference, with a key
STRIP, FEWEST = 16, 12  # pixels along a border, over which a step is averaged; steps below which chance decides
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


def scrambled_still(secret: Tensor, block: int) -> list[str]:
    """A doubt if the blocks of a picture (3, H, W), unscrambled with its key, do not continue each other."""
    borders, inside = _steps(secret, block)
    at_borders, elsewhere = float(borders.mean()), float(inside.mean())
    if len(borders) < FEWEST or at_borders < max(RATIO * elsewhere, EXCESS + elsewhere):
        return []
    return [
        "what is revealed looks scrambled: the key is of another photo, this one was concealed without a key, or JPEG, "
        "resizing or editing destroyed it"
    ]


def _steps(image: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """How much an image (3, H, W) changes at the borders of blocks, and elsewhere, without the largest quarter.

    One value is the difference of two means of 2 x 16 pixels next to each other, so that noise hardly matters. Edges of
    the photo that lie on a border by chance are among the largest quarter.
    """
    at_borders, elsewhere = [], []
    for each in (image, image.mT):  # borders between columns, then between rows
        means = avg_pool2d(each, (STRIP, 2), stride=(STRIP, 1))
        steps = (means[..., 2:] - means[..., :-2]).abs().mean(dim=0)
        offset = (torch.arange(steps.shape[-1]) + 2) % block  # of the step's middle from the border before it
        at_borders.append(steps[:, offset == 0].flatten())
        elsewhere.append(steps[:, (offset >= 2) & (offset <= block - 2)].flatten())
    values = (torch.cat(each).sort().values for each in (at_borders, elsewhere))
    borders, inside = (each[: len(each) * 3 // 4] for each in values)
    return borders, inside


def without_key(secret: Tensor) -> list[str]:
    """A doubt if a picture (3, H, W), revealed without a key, has jumps at the borders of blocks of any size."""
    if max(_jumps(secret, side) for side in (16, 32, 64)) < JUMPS:
        return []
    return ["what is revealed looks scrambled: name the photo's key with --key instead of --no-key"]


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
