"""Photos of folders, decoded once into a file on disk for each folder, which is mapped into memory.

The file contains the pixels of one photo after the other, each (3, H, W) in 8 bit, then an index in JSON, then the
length of the index as eight bytes.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from pirnet.images import read_picture, require_size
from pirnet.pixels import to_uint8
from pirnet.support.files import atomic_path
from pirnet.support.photos import Photos, Refusals, hash_of, photo_paths
from pirnet.support.places import cache_folder
from pirnet.support.progress import progress_bar
from pirnet.support.text import counted, file_name, from_json

ENDING = ".photos"
TITLE = 50  # characters of a folder's name: with four bytes each, the name of the file is not too long
LENGTH = 8  # bytes of the length of the index


def cached_folders(folders: Sequence[Path], *, cache: Path | None, min_size: int) -> Photos:
    """The photos of several folders; if there is more than one, each name begins with the name of the folder.

    Arguments and errors are those of `cached_photos`; an error is about the photos of all folders. Without a cache it
    is that of `cache_folder`.
    """
    cache = cache or cache_folder()
    for folder in folders:
        photo_paths(folder)  # a missing folder is reported before photos are decoded
    names, images, hashes, refusals = [], [], [], Refusals()
    for folder in folders:
        with refusals.collected():
            photos = cached_photos(folder, cache=cache, min_size=min_size)
            title = f"{file_name(folder.resolve().name)}/" if len(folders) > 1 else ""
            names += [title + name for name in photos.names]
            images += photos.images
            hashes += photos.hashes
    refusals.raise_all()
    return Photos(tuple(names), tuple(images), tuple(hashes))


def cached_photos(folder: Path, *, cache: Path, min_size: int = 16) -> Photos:
    """The photos of a folder, sorted by file name, which becomes their name; only pixels in use are in memory.

    The first call decodes the folder into a file in `cache` and shows progress; later calls map that file. It is made
    again if the name, size or date of a photo has changed. An interrupted call leaves no file of that name.
    Subfolders, hidden files and other kinds of files are ignored; alpha channels are dropped.

    Args:
        folder: The folder of the photos.
        cache: The folder of the file; it is created if it is missing. Others can read neither a new folder
            nor a new file.
        min_size: The height and width that each photo must have at least, in pixels.

    Raises:
        ImageError: The folder is missing, is a file or holds fewer than two photos, or one of them cannot be read or
            is too small.
        OSError: If the file cannot be written.
    """
    paths = photo_paths(folder)
    whole = folder.resolve()
    title = whole.name[:TITLE].encode("utf-8", "replace").decode()  # torch takes no other names
    file = cache / f"{title}-{hash_of(os.fsencode(whole))}{ENDING}"
    photos = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    try:
        index = _known_index(file, photos) or _build(file, paths, photos, min_size)
    except OSError as error:
        raise OSError(f"{cache}: cannot write decoded photos there, {error}; --cache names another folder") from error
    sizes = index["sizes"]
    _raise_all(Refusals(), zip(paths, sizes, strict=True), min_size)
    lengths = [3 * height * width for height, width in sizes]
    pixels = torch.from_file(str(file), shared=False, size=sum(lengths), dtype=torch.uint8)
    images = (part.view(3, *size) for part, size in zip(pixels.split(lengths), sizes, strict=True))
    return Photos(tuple(file_name(path.name) for path in paths), tuple(images), tuple(index["hashes"]))


def clear(cache: Path) -> str:
    """Removes the files of all folders from a cache, and says how many they were; runs in progress keep their photos.

    Raises:
        OSError: If a file cannot be removed.
    """
    files = [path for path in cache.glob(f"*{ENDING}") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    return f"removed the decoded photos of {counted(len(files), 'folder')}, {size / 1e6:.1f} MB, from {cache}"


def _build(file: Path, paths: Sequence[Path], photos: list[list[object]], min_size: int) -> dict:
    file.parent.mkdir(0o700, parents=True, exist_ok=True)
    read, sizes, hashes, refusals = [], [], [], Refusals()
    with atomic_path(file, private=True) as temporary, temporary.open("wb") as out:
        for path in progress_bar(paths, desc=f"decoding {file_name(paths[0].parent.name)}", unit="photo"):
            with refusals.collected():
                image = to_uint8(read_picture(path).pixels)  # (3, H, W)
                read.append(path)
                sizes.append(list(image.shape[1:]))
                hashes.append(hash_of(path.read_bytes()))
                out.write(image.contiguous().numpy().data)
        if refusals.messages:  # small photos alone are decoded and kept for a smaller crop
            _raise_all(refusals, zip(read, sizes, strict=True), min_size)
        index = {"photos": photos, "sizes": sizes, "hashes": hashes}
        text = json.dumps(index).encode()
        out.write(text + len(text).to_bytes(LENGTH, "little"))
    return index


def _raise_all(refusals: Refusals, sizes: Iterable[tuple[Path, Sequence[int]]], min_size: int) -> None:
    """Raises all refusals, together with those of photos that are too small."""
    for path, (height, width) in sizes:
        with refusals.collected():
            require_size(path, height, width, least=min_size)
    refusals.raise_all()


def _known_index(file: Path, photos: list[list[object]]) -> dict | None:
    """The index of the file; None if the file is missing, incomplete, of another version or of other photos."""
    try:
        with file.open("rb") as source:
            end = source.seek(-LENGTH, os.SEEK_END)
            length = int.from_bytes(source.read(LENGTH), "little")
            source.seek(end - length)
            index = from_json(source.read(length))
            complete = sum(3 * h * w for h, w in index["sizes"]) == end - length
            return index if complete and index["photos"] == photos and len(index["hashes"]) == len(photos) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
