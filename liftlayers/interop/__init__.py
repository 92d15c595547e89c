"""Conversions for other libraries, none of which is imported: band layouts, FrEIA's modules, transforms, weights."""

from liftlayers.interop.bands import from_layout, from_pywavelets, to_layout, to_pywavelets
from liftlayers.interop.freia import AsFrEIA, FromFrEIA
from liftlayers.interop.nafnet import load_nafnet
from liftlayers.interop.transforms import as_transform, from_transform

__all__ = [
    "AsFrEIA",
    "FromFrEIA",
    "as_transform",
    "from_layout",
    "from_pywavelets",
    "from_transform",
    "load_nafnet",
    "to_layout",
    "to_pywavelets",
]
