"""Networks assembled from the layers."""

__all__ = ["LiftingPyramid", "MultiTaskNAFUNet", "NAFUNet"]

from liftlayers.networks.multitask import MultiTaskNAFUNet
from liftlayers.networks.pyramid import LiftingPyramid
from liftlayers.networks.unet import NAFUNet
