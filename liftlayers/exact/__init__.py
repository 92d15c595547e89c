"""Chains whose inverse is exact: what they add is rounded to a grid on which sums have no rounding error."""

from liftlayers.exact.exact import Exact, exact
from liftlayers.exact.grid import OnGrid, ToGrid

__all__ = ["Exact", "OnGrid", "ToGrid", "exact"]
