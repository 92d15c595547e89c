"""Photos: those inside scikit-image, the files of a folder, and those that cannot be used, all of them in one error."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import compress
from pathlib import Path

import torch
from torch import Tensor

from pirnet.images import ImageError, read_picture
from pirnet.pixels import to_uint8
from pirnet.support.progress import progress_bar
from pirnet.support.text import few

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
BUNDLED += ("motorcycle_left.png", "ihc.png", "hubble_deep_field.jpg", "retina.jpg")
HELD_OUT = ("astronaut", "chelsea")
"""The bundled photos that are held out if no folder is given."""


@dataclass(frozen=True)
class Photos:
    """Photos as tensors, each with a unique name.

    Attributes:
        names: One name for each photo, all different.
        images: One image for each photo, uint8, of shape :math:`(3, H, W)`; sizes may differ.
        hashes: A hash of each photo's file; empty if the photos are not from files.

    Raises:
        TypeError: An image is not uint8.
        ValueError: The counts differ, a name occurs twice, or an image has another shape.
    """

    names: tuple[str, ...]
    images: tuple[Tensor, ...]
    hashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.images):
            raise ValueError(f"Photos needs one name an image, got {len(self.names)} names, {len(self.images)} images")
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"Photos needs names that differ, got {few(twice)} more than once")
        for name, image in zip(self.names, self.images, strict=True):
            if image.dtype != torch.uint8:
                raise TypeError(f"Photos needs images of torch.uint8, got {image.dtype} for {name}")
            if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
                raise ValueError(f"Photos needs images of shape (3, H, W), got {tuple(image.shape)} for {name}")

    def __len__(self) -> int:
        return len(self.images)

    def chosen(self, which: Sequence[bool]) -> "Photos":
        """The photos at which `which` is true."""
        names, images, hashes = compress(self.names, which), compress(self.images, which), compress(self.hashes, which)
        return Photos(tuple(names), tuple(images), tuple(hashes))

    def fingerprints(self) -> dict[str, str]:
        """The size of each photo, and a hash of its file, or of its pixels if there is no file."""
        hashes = self.hashes or [hash_of(image.contiguous().numpy().tobytes()) for image in self.images]
        sizes = (f"{image.shape[1]} x {image.shape[2]}" for image in self.images)
        return {name: f"{size}, {own}" for name, size, own in zip(self.names, sizes, hashes, strict=True)}


def bundled_photos() -> Photos:
    """The colour photos inside the scikit-image wheel, without a download: enough for a first run, not for a result.

    They come in this order; sizes are height x width, origins and licences are those stated by scikit-image:

    ================= =========== ======================================== =========================================
    name              size        what                                     licence
    ================= =========== ======================================== =========================================
    astronaut         512 x 512   Eileen Collins, NASA                     public domain
    chelsea           300 x 451   a cat, Stefan van der Walt               CC0
    coffee            400 x 600   a cup, Rachel Michetti                   CC0
    rocket            427 x 640   launch of DSCOVR, SpaceX                 public domain
    motorcycle_left   500 x 741   a garage, Middlebury stereo set of 2014  none stated: do not republish
    ihc               512 x 512   stained tissue under a microscope, CMMI  no known copyright restrictions
    hubble_deep_field 872 x 1000  galaxies, NASA                           public domain
    retina            1411 x 1411 fundus of an eye, Mikael Haggstrom       CC0
    ================= =========== ======================================== =========================================

    The right view of the motorcycle is left out: it is nearly the same photo, and a secret must not resemble its cover.

    Raises:
        ImageError: scikit-image is not installed, or a photo is missing from it.
    """
    try:
        folder = resources.files("skimage").joinpath("data")
    except ModuleNotFoundError as error:
        raise ImageError("the bundled photos need scikit-image: pip install scikit-image, or name a folder") from error
    images, hashes = [], []
    for name in BUNDLED:
        if not folder.joinpath(name).is_file():
            raise ImageError(f"{name}: this photo is missing from the installed scikit-image; name a folder of photos")
        with resources.as_file(folder.joinpath(name)) as path:
            images.append(to_uint8(read_picture(path).pixels))
            hashes.append(hash_of(path.read_bytes()))
    return Photos(tuple(Path(name).stem for name in BUNDLED), tuple(images), tuple(hashes))


def photo_paths(folder: Path) -> list[Path]:
    """The photos of a folder, sorted by file name; subfolders, hidden files and other kinds of files are ignored.

    Raises:
        ImageError: The folder is missing, is a file or holds fewer than two photos.
    """
    if not folder.is_dir():
        problem = "a folder of photos is needed, this is a file" if folder.exists() else "no such folder"
        raise ImageError(f"{folder}: {problem}")
    photos = (path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    paths = sorted(path for path in photos if not path.name.startswith("."))
    if len(paths) < 2:
        found = f"only {paths[0].name}" if paths else "none"
        below = "; sub-folders are not searched" if any(path.is_dir() for path in folder.iterdir()) else ""
        raise ImageError(f"{folder}: at least two photos are needed ({', '.join(EXTENSIONS)}), found {found}{below}")
    return paths


def hold_out(photos: Photos, names: Sequence[str]) -> tuple[Photos, Photos]:
    """Divides photos by name into those for training and those held out; both keep the order of `photos`.

    Args:
        photos: All photos.
        names: The photos to hold out.

    Returns:
        The photos for training, and the photos held out.

    Raises:
        ValueError: A name is unknown, or fewer than two photos remain for training.
    """
    if unknown := [name for name in names if name not in photos.names]:
        raise ValueError(f"hold_out needs names among {few(photos.names)}, got {few(unknown)}")
    is_held = [name in names for name in photos.names]
    train, held = photos.chosen([not held for held in is_held]), photos.chosen(is_held)
    if len(train) < 2:
        raise ValueError(f"hold_out must leave at least two photos for training, got {len(train)} of {len(photos)}")
    return train, held


def hash_of(content: bytes) -> str:
    """Sixteen digits of a hash."""
    return hashlib.sha256(content).hexdigest()[:16]


class RefusedPhotos(ImageError):
    """Several photos that cannot be used: how many, and the first three."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__(f"{len(messages)} photos cannot be used. {few(messages, '; ')}")
        self.messages = messages


class Refusals:
    """Collects the errors about photos, which are all read, and raises them together.

    Example:
        >>> refusals = Refusals()
        >>> for name in ("a.png", "b.png"):
        ...     with refusals.collected():
        ...         raise ImageError(f"{name}: no such file")
        >>> refusals.raise_all()
        Traceback (most recent call last):
        pirnet.support.photos.RefusedPhotos: 2 photos cannot be used. a.png: no such file; b.png: no such file
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps an error about a photo that is raised inside, or several that come as one."""
        try:
            yield
        except RefusedPhotos as error:
            self.messages += error.messages
        except ImageError as error:
            self.messages.append(str(error))

    def raise_all(self) -> None:
        """Raises ImageError if there is an error; a single one keeps its message."""
        if len(self.messages) == 1:
            raise ImageError(self.messages[0])
        if self.messages:
            raise RefusedPhotos(self.messages)


def sizes_of(paths: Sequence[Path]) -> dict[Path, Sequence[int]]:
    """Height and width of each photo; shows progress.

    Raises:
        ImageError: If photos cannot be read.
    """
    sizes, refusals = {}, Refusals()
    for path in progress_bar(paths, desc="checking", unit="photo"):
        with refusals.collected():
            sizes[path] = read_picture(path).pixels.shape[1:]
    refusals.raise_all()
    return sizes
