"""The photos of a comparison: from given folders, or those inside scikit-image."""

from collections.abc import Sequence
from pathlib import Path

from pirnet.data import Pair, evaluation_pairs
from pirnet.support.folder_pairs import FolderPairs
from pirnet.support.photo_cache import cached_folders
from pirnet.support.photos import HELD_OUT, Photos, bundled_photos, hold_out


def photos_and_pairs(
    data: Sequence[Path], test: Path | None, *, cache: Path, crop: int, limit: int | None
) -> tuple[Photos, Sequence[Pair] | FolderPairs]:
    """Photos to train on, and pairs of other photos to measure.

    Args:
        data: Folders to train on; if there is none, the bundled photos without those held out.
        test: Folder of the pairs; if there is none, the bundled photos that are held out.
        cache: Folder for decoded photos.
        crop: The smallest height and width of a photo to train on, in pixels.
        limit: The largest number of pairs, the first ones; None for all.

    Raises:
        ImageError: A folder is missing or holds fewer than two photos, or one of them cannot be read or is too small.
        ValueError: `limit` is less than 1, or two photos have no common crop.
    """
    pairs = None if test is None else FolderPairs(test, limit=limit)  # first, so that a bad name is reported at once
    photos, kept = hold_out(bundled_photos(), HELD_OUT)
    if data:
        photos = cached_folders(data, cache=cache, min_size=crop)
    return photos, evaluation_pairs(kept)[:limit] if pairs is None else pairs
