"""Wavelet transforms as layers: named, learned, and lossless ones from integers to integers."""

from liftlayers.wavelets.learned import BiasFreePredictor, LearnedWavelet, NonseparableLearnedWavelet
from liftlayers.wavelets.lossless import LosslessWavelet
from liftlayers.wavelets.named import Haar, Wavelet

__all__ = ["BiasFreePredictor", "Haar", "LearnedWavelet", "LosslessWavelet", "NonseparableLearnedWavelet", "Wavelet"]
