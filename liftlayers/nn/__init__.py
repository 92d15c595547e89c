"""Networks that go inside invertible layers; they need no inverse."""

from liftlayers.nn.dense import DensePredictor
from liftlayers.nn.multitask import MultiTaskNAFUNet
from liftlayers.nn.naf import LayerNorm2d, NAFBlock, SimpleGate
from liftlayers.nn.predictors import ConvPredictor, ResidualPredictor
from liftlayers.nn.unet import NAFUNet

__all__ = [
    "ConvPredictor",
    "DensePredictor",
    "LayerNorm2d",
    "MultiTaskNAFUNet",
    "NAFBlock",
    "NAFUNet",
    "ResidualPredictor",
    "SimpleGate",
]
