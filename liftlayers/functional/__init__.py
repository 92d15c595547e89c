"""Mathematics without parameters: what the layers compute, as plain functions of tensors."""

__all__ = [
    "LiftingStep",
    "Scheme",
    "dwt",
    "dwt1d",
    "dwt2d",
    "garrote_threshold",
    "grid_limit",
    "haar_analysis",
    "haar_synthesis",
    "hard_threshold",
    "idwt",
    "idwt1d",
    "idwt2d",
    "iswt",
    "lossless_dwt1d",
    "lossless_dwt2d",
    "lossless_idwt1d",
    "lossless_idwt2d",
    "pack",
    "pad_to_multiple",
    "round_to_grid",
    "scheme",
    "scramble_blocks",
    "soft_threshold",
    "swt",
    "unpack",
    "unscramble_blocks",
    "wavedec",
    "wavedec2",
    "wavelets",
    "waverec",
    "waverec2",
]

from liftlayers.functional.dwt import dwt1d, dwt2d, idwt1d, idwt2d
from liftlayers.functional.grid import grid_limit, round_to_grid
from liftlayers.functional.haar import haar_analysis, haar_synthesis
from liftlayers.functional.lossless import lossless_dwt1d, lossless_dwt2d, lossless_idwt1d, lossless_idwt2d
from liftlayers.functional.packing import pack, unpack
from liftlayers.functional.padding import pad_to_multiple
from liftlayers.functional.schemes import LiftingStep, Scheme, scheme, wavelets
from liftlayers.functional.scrambling import scramble_blocks, unscramble_blocks
from liftlayers.functional.separable import dwt, idwt  # after the module that is named dwt
from liftlayers.functional.threshold import garrote_threshold, hard_threshold, soft_threshold
from liftlayers.functional.undecimated import iswt, swt
from liftlayers.functional.wavedec import wavedec, wavedec2, waverec, waverec2
