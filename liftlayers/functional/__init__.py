"""Mathematics without parameters: what the layers compute, as plain functions of tensors."""

__all__ = ["grid_limit", "haar_analysis", "haar_synthesis", "pad_to_multiple", "round_to_grid"]

from liftlayers.functional.grid import grid_limit, round_to_grid
from liftlayers.functional.haar import haar_analysis, haar_synthesis
from liftlayers.functional.padding import pad_to_multiple
