"""Where comparisons take their photos from: folders that are named, or the photos inside scikit-image."""

__all__ = ["photos_and_pairs"]

from collections.abc import Sequence
from pathlib import Path

from pirnet.data import Pair, evaluation_pairs
from pirnet.support.folder_pairs import FolderPairs
from pirnet.support.photo_cache import cached_photos
from pirnet.support.photos import HELD_OUT, Photos, bundled_photos, hold_out, joined


def photos_and_pairs(
    data: Sequence[Path], test: Path | None, *, cache: Path, crop: int, limit: int | None
) -> tuple[Photos, Sequence[Pair] | FolderPairs]:
    """Photos to train on, and pairs of others to measure.

    Args:
        data: Folders to train on; without one, the bundled photos but those held out.
        test: Folder of the pairs; without one, the bundled photos that are held out.
        cache: Folder for decoded photos.
        crop: The height and width that each photo to train on must have at least, in pixels.
        limit: Pairs to take at most, the first ones; None takes all.

    Raises:
        ImageError: A folder is missing or holds fewer than two photos, or one of them cannot be read or is too small.
        ValueError: `limit` is less than 1, or two photos have no common crop.
    """
    pairs = None if test is None else FolderPairs(test, limit=limit)  # first, so that a bad name is told at once
    photos, kept = hold_out(bundled_photos(), HELD_OUT)
    if data:
        photos = joined(data, [cached_photos(folder, cache=cache, min_size=crop) for folder in data])
    return photos, evaluation_pairs(kept)[:limit] if pairs is None else pairs
