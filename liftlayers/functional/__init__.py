"""Mathematics without parameters: what the layers compute, as plain functions of tensors."""

__all__ = ["haar_analysis", "haar_synthesis", "pad_to_multiple"]

from liftlayers.functional.haar import haar_analysis, haar_synthesis
from liftlayers.functional.padding import pad_to_multiple
