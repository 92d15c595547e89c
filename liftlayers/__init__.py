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
    LosslessWavelet,
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
    Wavelet,
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
    "LosslessWavelet",
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
    "Wavelet",
    "check_inverse",
    "exact",
    "functional",
    "interop",
    "testing",
]
