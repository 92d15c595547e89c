"""Pairs of photos of a folder for evaluation; they are read from disk when they are needed."""

from collections.abc import Sequence
from pathlib import Path

from pirnet.data import Pair, evaluation_pairs
from pirnet.images import read_picture
from pirnet.pixels import to_uint8
from pirnet.support.photos import Photos, photo_paths
from pirnet.support.progress import progress_bar


class FolderPairs(Sequence[Pair]):
    """The pairs that `evaluation_pairs` makes of a folder's photos, sorted by file name; one is in memory at a time.

    Every photo is opened once at the start, so that a bad one is reported at once and not after an hour.

    Args:
        folder: The folder of the photos; subfolders, hidden files and other kinds of files are ignored.
        multiple: Height and width become a multiple of this number.
        limit: The largest number of pairs, the first ones; None for all.
        swap: Whether the same pairs follow with the roles exchanged.

    Raises:
        ImageError: The folder is missing, is a file or holds fewer than two photos, or one of them cannot be read.
        ValueError: `limit` is less than 1, or two photos have no common crop.
    """

    def __init__(self, folder: Path, *, multiple: int = 16, limit: int | None = None, swap: bool = False) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"--limit needs at least 1 pair, got {limit}")
        paths = photo_paths(folder)
        pairs = [(paths[i], paths[(i + 1) % len(paths)]) for i in range(0, len(paths), 2)][:limit]
        self.multiple = multiple
        self.unswapped = len(pairs)
        self._paths = pairs + [(cover, secret) for secret, cover in pairs] * swap
        self.sizes = [self[i].secret.shape[1:] for i in progress_bar(range(len(pairs)), desc="checking", unit="pair")]
        self.sizes *= 1 + swap

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]  # no slices
        paths = self._paths[index]
        photos = Photos(tuple(path.name for path in paths), tuple(to_uint8(read_picture(p).pixels) for p in paths))
        return evaluation_pairs(photos, multiple=self.multiple, swap=False)[0]

    @property
    def names(self) -> list[dict[str, object]]:
        """The names of secret and cover of each pair, and the size of their crops, for the results."""
        pairs = zip(self._paths, self.sizes, strict=True)
        return [{"secret": s.name, "cover": c.name, "height": h, "width": w} for (s, c), (h, w) in pairs]
