"""Invertible layers, and the networks that go inside them."""

__all__ = [
    "AdditiveCoupling",
    "ConvPredictor",
    "Haar",
    "LayerNorm2d",
    "LiftingBlock",
    "NAFBlock",
    "Predict",
    "ResidualPredictor",
    "SimpleGate",
    "Update",
]

from liftlayers.layers.coupling import AdditiveCoupling
from liftlayers.layers.lifting import LiftingBlock, Predict, Update
from liftlayers.layers.naf import LayerNorm2d, NAFBlock, SimpleGate
from liftlayers.layers.predictors import ConvPredictor, ResidualPredictor
from liftlayers.layers.wavelet import Haar
