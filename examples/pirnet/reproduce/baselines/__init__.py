"""The other systems of the paper's comparison, one self-contained file each, written from their papers.

Each can be trained in the place of LIH or LSR: `train.py --hider hinet --restorer nafnet`.
"""

from collections.abc import Callable
from typing import Protocol

from pirnet.band_hider import Z
from torch import Tensor, nn

from reproduce.baselines.baluja import Baluja
from reproduce.baselines.cbdnet import CBDNet
from reproduce.baselines.deepmih import DeepMIH
from reproduce.baselines.dncnn import DnCNN
from reproduce.baselines.fmen import FMEN
from reproduce.baselines.hidden import HiDDeN
from reproduce.baselines.hinet import HiNet
from reproduce.baselines.mirnetv2 import MIRNetV2
from reproduce.baselines.nafnet import nafnet, nafnet_gopro
from reproduce.baselines.ridnet import RIDNet
from reproduce.baselines.rlfn import RLFN
from reproduce.baselines.xydeblur import XYDeblur


class Hider(Protocol):
    """A network, always an `nn.Module`, that hides and reveals; sides are even."""

    def conceal(self, cover: Tensor, secret: Tensor) -> Tensor:
        """Cover and secret (B, 3, H, W) to the stego image, not yet clamped or rounded."""
        ...

    def reveal(self, stego: Tensor, z: Z = "zero") -> Tensor:
        """Stego (B, 3, H, W) to the secret; `z` is the substitute for the lost part, if there is one."""
        ...


HIDERS: dict[str, Callable[[], Hider]] = {"hidden": HiDDeN, "baluja": Baluja, "hinet": HiNet, "deepmih": DeepMIH}
"""Each in its paper's configuration."""

RESTORERS: dict[str, Callable[[], nn.Module]] = {"nafnet": nafnet, "nafnet_gopro": nafnet_gopro, "mirnetv2": MIRNetV2}
RESTORERS |= {"xydeblur": XYDeblur, "rlfn": RLFN, "fmen": FMEN, "dncnn": DnCNN, "cbdnet": CBDNet, "ridnet": RIDNet}
"""Each in its paper's configuration, those for super-resolution with scale 1: the hidden photo is full-sized.

A restorer maps a degraded image (B, 3, H, W) to the restored one of the same shape, both nominally in [0, 1]. Images
are at least 16 x 16; some restorers need sides divisible by 4 and say so.
"""
