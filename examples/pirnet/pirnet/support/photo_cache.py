"""The decoded photos of a folder in one file on disk, mapped into memory: decoded once, never all in RAM.

The file contains the pixels of one photo after the other, each (3, H, W) in 8 bit, then an index in JSON, then the
length of the index as eight bytes.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from pirnet.images import read_picture, require_size
from pirnet.pixels import to_uint8
from pirnet.support.files import atomic_path
from pirnet.support.photos import Photos, photo_paths
from pirnet.support.progress import progress_bar

LENGTH = 8


def cache_folder() -> Path:
    """The default folder of caches: `liftlayers` in the user's cache folder, which XDG_CACHE_HOME names."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftlayers"


def cached_folders(folders: Sequence[Path], *, cache: Path, min_size: int) -> Photos:
    """The photos of several folders; if there is more than one, each name begins with the name of the folder.

    Arguments and errors are those of `cached_photos`.
    """
    names, images = [], []
    for folder in folders:
        photos = cached_photos(folder, cache=cache, min_size=min_size)
        names += [f"{folder.resolve().name}/{name}" if len(folders) > 1 else name for name in photos.names]
        images += photos.images
    return Photos(tuple(names), tuple(images))


def cached_photos(folder: Path, *, cache: Path, min_size: int = 16) -> Photos:
    """The photos of a folder, sorted by file name, which becomes their name; only pixels in use are in memory.

    The first call decodes the folder into a file in `cache` and shows progress; later calls map that file. It is made
    again if the name, size or date of a photo has changed. An interrupted call leaves no file of that name.
    Subfolders, hidden files and other kinds of files are ignored; alpha channels are dropped.

    Args:
        folder: The folder of the photos.
        cache: The folder of the file; it is created if it is missing.
        min_size: The height and width that each photo must have at least, in pixels.

    Raises:
        ImageError: The folder is missing, is a file or holds fewer than two photos, or one of them cannot be read or
            is too small.
        OSError: If the file cannot be written.
    """
    paths = photo_paths(folder)
    file = cache / f"{folder.resolve().name}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.photos"
    photos = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    try:
        sizes = _known_sizes(file, photos) or _build(file, paths, photos)
    except OSError as error:
        raise OSError(f"{cache}: cannot write decoded photos there, {error}; --cache names another folder") from error
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
    """Heights and widths from the index of the file; None if the file is missing, incomplete or of other photos."""
    try:
        with file.open("rb") as source:
            end = source.seek(-LENGTH, os.SEEK_END)
            length = int.from_bytes(source.read(LENGTH), "little")
            source.seek(end - length)
            index = json.loads(source.read(length))
            complete = sum(3 * h * w for h, w in index["sizes"]) == end - length
            return index["sizes"] if complete and index["photos"] == photos else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
