"""Conversions for other libraries, none of which is imported: band layouts, FrEIA's modules, NAFNet's weights."""

from liftlayers.interop.bands import from_layout, from_pywavelets, to_layout, to_pywavelets
from liftlayers.interop.freia import AsFrEIA, FromFrEIA
from liftlayers.interop.nafnet import load_nafnet

__all__ = ["AsFrEIA", "FromFrEIA", "from_layout", "from_pywavelets", "load_nafnet", "to_layout", "to_pywavelets"]
