"""Invertible layers, and the networks that go inside them."""

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BiasFreePredictor",
    "ConvPredictor",
    "DensePredictor",
    "Exact",
    "Haar",
    "InvertibleConv1x1",
    "LayerNorm2d",
    "LearnedWavelet",
    "LiftingBlock",
    "LosslessWavelet",
    "NAFBlock",
    "NonseparableLearnedWavelet",
    "OnGrid",
    "Parallel",
    "PixelUnshuffle",
    "Predict",
    "ResidualPredictor",
    "SimpleGate",
    "Split",
    "Swap",
    "ToGrid",
    "Update",
    "Wavelet",
    "exact",
]

from liftlayers.layers.actnorm import ActNorm
from liftlayers.layers.affine import AffineCoupling
from liftlayers.layers.conv1x1 import InvertibleConv1x1
from liftlayers.layers.coupling import AdditiveCoupling
from liftlayers.layers.dense import DensePredictor
from liftlayers.layers.fixed_point import Exact, OnGrid, ToGrid, exact
from liftlayers.layers.learned import BiasFreePredictor, LearnedWavelet, NonseparableLearnedWavelet
from liftlayers.layers.lifting import LiftingBlock, Predict, Update
from liftlayers.layers.lossless import LosslessWavelet
from liftlayers.layers.mixing import PixelUnshuffle, Split, Swap
from liftlayers.layers.naf import LayerNorm2d, NAFBlock, SimpleGate
from liftlayers.layers.parallel import Parallel
from liftlayers.layers.predictors import ConvPredictor, ResidualPredictor
from liftlayers.layers.wavelet import Haar, Wavelet
