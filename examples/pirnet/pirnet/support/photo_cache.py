"""A folder's decoded photos in one file on disk, mapped into memory: read once, and never all in RAM.

The file holds the pixels of one photo after the other, each (3, H, W) in 8 bit, then an index in JSON, then the index's
length as eight bytes.
"""

__all__ = ["cache_folder", "cached_photos"]

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from pirnet.images import atomic_path, read_picture, to_uint8
from pirnet.support.photos import Photos, photo_paths, require_size
from pirnet.support.progress import progress_bar

LENGTH = 8


def cache_folder() -> Path:
    """Where caches are by default: `liftlayers` in the user's cache folder, as XDG_CACHE_HOME names it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftlayers"


def cached_photos(folder: Path, *, cache: Path, min_size: int = 16) -> Photos:
    """The photos that `read_folder` gives, in memory only as far as they are looked at.

    The first call decodes the folder into a file in `cache`, with a bar on a terminal; the next ones map that file. It
    is made anew when a photo's name, size or date has changed. Stopped half-way, it leaves no file of that name.

    Args:
        folder: Where the photos lie.
        cache: The folder to keep the file in; made where it is missing.
        min_size: The height and width that each photo must have at least, in pixels.

    Raises:
        ImageError: As for `read_folder`.
        OSError: If the file cannot be written.
    """
    paths = photo_paths(folder)
    file = cache / f"{folder.resolve().name}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.photos"
    photos = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    try:
        sizes = _known_sizes(file, photos) or _build(file, paths, photos)
    except OSError as error:
        raise OSError(f"{cache}: cannot keep decoded photos there, {error}; --cache names another folder") from error
    pixels = torch.from_file(str(file), shared=False, size=sum(3 * h * w for h, w in sizes), dtype=torch.uint8)
    images, start = [], 0
    for path, (height, width) in zip(paths, sizes, strict=True):
        require_size(path, height, width, least=min_size)
        images.append(pixels[start : start + 3 * height * width].view(3, height, width))
        start += 3 * height * width
    return Photos(tuple(path.name for path in paths), tuple(images))


def _build(file: Path, paths: Sequence[Path], photos: list[list[object]]) -> list[list[int]]:
    file.parent.mkdir(parents=True, exist_ok=True)
    sizes = []
    with atomic_path(file) as temporary, temporary.open("wb") as out:
        for path in progress_bar(paths, desc=f"decoding {paths[0].parent.name}", unit="photo"):
            image = to_uint8(read_picture(path).pixels)  # (3, H, W)
            sizes.append(list(image.shape[1:]))
            out.write(image.contiguous().numpy().data)
        index = json.dumps({"photos": photos, "sizes": sizes}).encode()
        out.write(index + len(index).to_bytes(LENGTH, "little"))
    return sizes


def _known_sizes(file: Path, photos: list[list[object]]) -> list[list[int]] | None:
    """Heights and widths from the file's index; None if there is no file, it is not whole, or of other photos."""
    try:
        with file.open("rb") as source:
            end = source.seek(-LENGTH, os.SEEK_END)
            length = int.from_bytes(source.read(LENGTH), "little")
            source.seek(end - length)
            index = json.loads(source.read(length))
            whole = sum(3 * h * w for h, w in index["sizes"]) == end - length
            return index["sizes"] if whole and index["photos"] == photos else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
