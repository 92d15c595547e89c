"""Entry points of ``torch.hub``: PIRNet and its two networks, with the weights that come with the example.

``torch.hub.load(FOLDER, "pirnet", source="local")`` uses a clone of this repository, without a network connection.
"""

import sys
from pathlib import Path as _Path  # torch.hub.list takes every public name that can be called for an entry point

sys.path.insert(0, str(_Path(__file__).parent / "examples" / "pirnet"))

from pirnet import model, weights
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED

dependencies = ["torch", "einops", "numpy", "safetensors"]


def lih() -> model.LIH:
    """The client's network: ``conceal(cover, secret)`` and ``reveal(stego)``, images (B, 3, H, W) in [0, 1]."""
    return weights.load_lih(SHIPPED / LIH_WEIGHTS)


def lsr() -> model.LSR:
    """The cloud's network: ``lsr(stego, task)``, with the tasks "denoise", "deblur" and "sr"."""
    return weights.load_lsr(SHIPPED / LSR_WEIGHTS)


def pirnet() -> model.PIRNet:
    """Both: ``conceal(cover, secret)``, ``restore(stego, task)`` and ``reveal(stego)``."""
    return weights.load_pirnet(SHIPPED, model.PIRNet)
