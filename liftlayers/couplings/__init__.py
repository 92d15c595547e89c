"""Couplings: one band changes by what a network computes from another band."""

from liftlayers.couplings.additive import AdditiveCoupling
from liftlayers.couplings.affine import AffineCoupling
from liftlayers.couplings.base import Coupling
from liftlayers.couplings.lifting import LiftingBlock, Predict, Update

__all__ = ["AdditiveCoupling", "AffineCoupling", "Coupling", "LiftingBlock", "Predict", "Update"]
