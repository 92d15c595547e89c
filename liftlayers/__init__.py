"""liftlayers: invertible layers by the lifting scheme, for PyTorch."""

from liftlayers import functional, testing
from liftlayers.accuracy import InverseCheck, check_inverse
from liftlayers.invertible import Inverse, Invertible, VolumePreserving
from liftlayers.layers import (
    AdditiveCoupling,
    ConvPredictor,
    Haar,
    LayerNorm2d,
    LiftingBlock,
    NAFBlock,
    Predict,
    ResidualPredictor,
    SimpleGate,
    Update,
)
from liftlayers.networks import LiftingPyramid, MultiTaskNAFUNet, NAFUNet
from liftlayers.sequential import Sequential

__version__ = "0.1.0"

__all__ = [
    "AdditiveCoupling",
    "ConvPredictor",
    "Haar",
    "Inverse",
    "InverseCheck",
    "Invertible",
    "LayerNorm2d",
    "LiftingBlock",
    "LiftingPyramid",
    "MultiTaskNAFUNet",
    "NAFBlock",
    "NAFUNet",
    "Predict",
    "ResidualPredictor",
    "Sequential",
    "SimpleGate",
    "Update",
    "VolumePreserving",
    "check_inverse",
    "functional",
    "testing",
]
