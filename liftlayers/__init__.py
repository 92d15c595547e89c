"""liftlayers: invertible layers by the lifting scheme, for PyTorch."""

from liftlayers import functional, interop, testing
from liftlayers.accuracy import InverseCheck, check_inverse
from liftlayers.chains import LiftingPyramid, Parallel, Sequential
from liftlayers.couplings import AdditiveCoupling, AffineCoupling, Coupling, LiftingBlock, Predict, Update
from liftlayers.exact import Exact, OnGrid, ToGrid, exact
from liftlayers.invertible import Inverse, Invertible, VolumePreserving
from liftlayers.memory import set_memory
from liftlayers.mixing import ActNorm, InvertibleConv1x1, PixelUnshuffle, Split, Swap
from liftlayers.nn import (
    ConvPredictor,
    DensePredictor,
    LayerNorm2d,
    MultiTaskNAFUNet,
    NAFBlock,
    NAFUNet,
    ResidualPredictor,
    SimpleGate,
)
from liftlayers.wavelets import (
    BiasFreePredictor,
    Haar,
    LearnedWavelet,
    LosslessWavelet,
    NonseparableLearnedWavelet,
    Wavelet,
)

__version__ = "0.1.0"

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BiasFreePredictor",
    "ConvPredictor",
    "Coupling",
    "DensePredictor",
    "Exact",
    "Haar",
    "Inverse",
    "InverseCheck",
    "Invertible",
    "InvertibleConv1x1",
    "LayerNorm2d",
    "LearnedWavelet",
    "LiftingBlock",
    "LiftingPyramid",
    "LosslessWavelet",
    "MultiTaskNAFUNet",
    "NAFBlock",
    "NAFUNet",
    "NonseparableLearnedWavelet",
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
    "set_memory",
    "testing",
]
