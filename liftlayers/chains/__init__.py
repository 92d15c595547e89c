"""Modules made of invertible steps: one after the other, one for each band, and level by level."""

from liftlayers.chains.parallel import Parallel
from liftlayers.chains.pyramid import LiftingPyramid
from liftlayers.chains.sequential import Sequential

__all__ = ["LiftingPyramid", "Parallel", "Sequential"]
