"""Layers that mix or rearrange channels and pixels without a network."""

from liftlayers.mixing.actnorm import ActNorm
from liftlayers.mixing.conv1x1 import InvertibleConv1x1
from liftlayers.mixing.rearrange import PixelUnshuffle, Split, Swap

__all__ = ["ActNorm", "InvertibleConv1x1", "PixelUnshuffle", "Split", "Swap"]
