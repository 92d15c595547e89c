"""Bridges to other libraries: their band layouts, and FrEIA's modules both ways. None of them is imported."""

from liftlayers.interop.bands import from_layout, from_pywavelets, to_layout, to_pywavelets
from liftlayers.interop.freia import AsFrEIA, FromFrEIA

__all__ = ["AsFrEIA", "FromFrEIA", "from_layout", "from_pywavelets", "to_layout", "to_pywavelets"]
