"""Networks assembled from the layers."""

from liftlayers.networks.multitask import MultiTaskNAFUNet
from liftlayers.networks.pyramid import LiftingPyramid
from liftlayers.networks.unet import NAFUNet

__all__ = ["LiftingPyramid", "MultiTaskNAFUNet", "NAFUNet"]
