"""liftlayers: invertible layers by the lifting scheme, for PyTorch."""

from liftlayers import functional, interop, testing
from liftlayers.accuracy import InverseCheck, check_inverse
from liftlayers.chains import LiftingPyramid, Parallel, Sequential
from liftlayers.couplings import AdditiveCoupling, AffineCoupling, Coupling, LiftingBlock, Predict, Update
from liftlayers.exact import Exact, OnGrid, ToGrid, exact
from liftlayers.invertible import Inverse, Invertible, VolumePreserving
from liftlayers.memory import set_memory
from liftlayers.mixing.actnorm import ActNorm
from liftlayers.mixing.colour import LosslessColour
from liftlayers.mixing.conv1x1 import InvertibleConv1x1
from liftlayers.mixing.rearrange import PixelUnshuffle, Split, Swap
from liftlayers.mixing.scrambling import BlockScrambling
from liftlayers.nn.dense import DensePredictor
from liftlayers.nn.integer import IntegerConv2d, IntegerNetwork, frozen
from liftlayers.nn.integer_predictor import IntegerPredictor
from liftlayers.nn.multitask import MultiTaskNAFUNet
from liftlayers.nn.naf import LayerNorm2d, NAFBlock, SimpleGate
from liftlayers.nn.predictors import BiasFreePredictor, ConvPredictor, ResidualPredictor
from liftlayers.nn.unet import NAFUNet
from liftlayers.wavelets.learned import LearnedWavelet, NonseparableLearnedWavelet
from liftlayers.wavelets.lossless import LosslessWavelet
from liftlayers.wavelets.named import Haar, Wavelet
from liftlayers.wavelets.packed import Packed
from liftlayers.wavelets.undecimated import UndecimatedWavelet

__version__ = "0.1.0"

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BiasFreePredictor",
    "BlockScrambling",
    "ConvPredictor",
    "Coupling",
    "DensePredictor",
    "Exact",
    "Haar",
    "IntegerConv2d",
    "IntegerNetwork",
    "IntegerPredictor",
    "Inverse",
    "InverseCheck",
    "Invertible",
    "InvertibleConv1x1",
    "LayerNorm2d",
    "LearnedWavelet",
    "LiftingBlock",
    "LiftingPyramid",
    "LosslessColour",
    "LosslessWavelet",
    "MultiTaskNAFUNet",
    "NAFBlock",
    "NAFUNet",
    "NonseparableLearnedWavelet",
    "OnGrid",
    "Packed",
    "Parallel",
    "PixelUnshuffle",
    "Predict",
    "ResidualPredictor",
    "Sequential",
    "SimpleGate",
    "Split",
    "Swap",
    "ToGrid",
    "UndecimatedWavelet",
    "Update",
    "VolumePreserving",
    "Wavelet",
    "check_inverse",
    "exact",
    "frozen",
    "functional",
    "interop",
    "set_memory",
    "testing",
]
