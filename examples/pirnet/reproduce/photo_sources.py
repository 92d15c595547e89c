"""The photos of a comparison: from given folders, or those inside scikit-image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pirnet.data import Pair
    from pirnet.support.photos import Photos


@dataclass(frozen=True)
class PhotoOptions:
    """The options of a script that trains on some photos and measures pairs of others."""

    data: tuple[Path, ...] = ()
    """Folders of photos to train on; by default the colour photos inside scikit-image without two."""
    test: Path | None = None
    """Folder of photos to measure, as secrets and covers, not used for training; by default those two."""
    cache: Path | None = None
    """Folder for decoded photos, 3 bytes a pixel; by default ~/.cache/liftlayers. It can be removed at any time."""
    device: str = "auto"
    """Device to run on: cpu, cuda, cuda:1, ...; auto is cuda if there is one, else cpu."""

    def photos_and_pairs(self, *, crop: int, limit: int | None) -> "tuple[Photos, Sequence[Pair]]":
        """Photos to train on, and pairs of other photos to measure.

        Args:
            crop: The smallest height and width of a photo to train on, in pixels.
            limit: The largest number of pairs, the first ones; None for all.

        Raises:
            ImageError: A folder is missing or holds fewer than two photos, or one of them cannot be read or is too
                small.
            ValueError: `limit` is less than 1, a bundled photo is too small, or two photos have no common crop.
        """
        from pirnet.data import FolderPairs, PairCrops, evaluation_pairs  # here, since they import torch
        from pirnet.support.photo_cache import cached_folders
        from pirnet.support.photos import HELD_OUT, bundled_photos, hold_out

        # before the training photos, so that a bad name is reported at once
        pairs = None if self.test is None else FolderPairs(self.test, limit=limit)
        if self.data:
            photos = cached_folders(self.data, cache=self.cache, min_size=crop)
        else:
            photos, _ = hold_out(bundled_photos(), HELD_OUT)
        PairCrops(photos, crop=crop, seed=0)  # refuses photos that are too small
        return photos, evaluation_pairs(hold_out(bundled_photos(), HELD_OUT)[1])[:limit] if pairs is None else pairs
