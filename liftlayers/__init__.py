"""liftlayers: invertible layers by the lifting scheme, for PyTorch."""

from liftlayers import functional, interop, testing
from liftlayers.accuracy import InverseCheck, check_inverse
from liftlayers.invertible import Inverse, Invertible, VolumePreserving
from liftlayers.layers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    ConvPredictor,
    DensePredictor,
    Exact,
    Haar,
    InvertibleConv1x1,
    LayerNorm2d,
    LiftingBlock,
    NAFBlock,
    OnGrid,
    Parallel,
    PixelUnshuffle,
    Predict,
    ResidualPredictor,
    SimpleGate,
    Split,
    Swap,
    ToGrid,
    Update,
    exact,
)
from liftlayers.networks import LiftingPyramid, MultiTaskNAFUNet, NAFUNet
from liftlayers.sequential import Sequential

__version__ = "0.1.0"

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "ConvPredictor",
    "DensePredictor",
    "Exact",
    "Haar",
    "Inverse",
    "InverseCheck",
    "Invertible",
    "InvertibleConv1x1",
    "LayerNorm2d",
    "LiftingBlock",
    "LiftingPyramid",
    "MultiTaskNAFUNet",
    "NAFBlock",
    "NAFUNet",
    "OnGrid",
    "Parallel",
    "PixelUnshuffle",
    "Predict",
    "ResidualPredictor",
    "Sequential",
    "SimpleGate",
    "Split",
    "Swap",
    "ToGrid",
    "Update",
    "VolumePreserving",
    "check_inverse",
    "exact",
    "functional",
    "interop",
    "testing",
]
