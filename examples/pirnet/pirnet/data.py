"""Photos and what is cut from them: training crops that depend on (seed, index) alone, and pairs for evaluation."""

__all__ = [
    "Photos",
    "Pair",
    "PairCrops",
    "bundled_photos",
    "read_folder",
    "hold_out",
    "evaluation_pairs",
    "seeded_generator",
]

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pirnet.images import ImageError, read_picture, to_uint8

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
BUNDLED = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "ihc.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
)
MAX_SIDE = 1024


@dataclass(frozen=True)
class Photos:
    """Photos in memory, each with a name of its own.

    Attributes:
        names: One name a photo, all different.
        images: One image a photo, uint8, of shape :math:`(3, H, W)`; sizes may differ.

    Raises:
        TypeError: An image is not uint8.
        ValueError: The counts differ, a name stands twice, or an image has another shape.
    """

    names: tuple[str, ...]
    images: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.images):
            raise ValueError(f"Photos needs one name an image, got {len(self.names)} names, {len(self.images)} images")
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"Photos needs names that differ, got {', '.join(twice)} more than once")
        for name, image in zip(self.names, self.images, strict=True):
            if image.dtype != torch.uint8:
                raise TypeError(f"Photos needs images of torch.uint8, got {image.dtype} for {name}")
            if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
                raise ValueError(f"Photos needs images of shape (3, H, W), got {tuple(image.shape)} for {name}")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Pair:
    """Two photos of one size for evaluation.

    Attributes:
        secret_name: The photo that is hidden.
        cover_name: The photo that hides it.
        secret: Of shape :math:`(3, H, W)`, float32, in :math:`[0, 1]`.
        cover: Of shape :math:`(3, H, W)`, float32, in :math:`[0, 1]`.
    """

    secret_name: str
    cover_name: str
    secret: Tensor
    cover: Tensor


def bundled_photos() -> Photos:
    """The colour photos inside the scikit-image wheel, without a download: enough for a first run, not for a result.

    In this order, sizes as height x width, origins and licences as scikit-image states them:

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
    images = []
    for name in BUNDLED:
        if not folder.joinpath(name).is_file():
            raise ImageError(f"{name}: this photo is missing from the installed scikit-image; name a folder of photos")
        with resources.as_file(folder.joinpath(name)) as path:
            images.append(to_uint8(read_picture(path).pixels))
    return Photos(tuple(Path(name).stem for name in BUNDLED), tuple(images))


def read_folder(folder: Path, *, min_size: int = 16, progress: bool = True) -> Photos:
    """Reads every photo of a folder, sorted by file name; the file name is the photo's name.

    Subfolders, hidden files and files of other kinds are passed over; an alpha channel is dropped.

    Args:
        folder: Where the photos lie.
        min_size: The height and width that each photo must have at least, in pixels.
        progress: Whether to show a bar on a terminal.

    Raises:
        ImageError: The folder is missing, is a file or holds fewer than two photos, or one of them cannot be read or
            is too small.
    """
    if not folder.exists():
        raise ImageError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise ImageError(f"{folder}: a folder of photos is needed, this is a file")
    paths = sorted(path for path in folder.iterdir() if _is_photo(path))
    if len(paths) < 2:
        found = f"only {paths[0].name}" if paths else "none"
        raise ImageError(f"{folder}: at least two photos are needed ({', '.join(EXTENSIONS)}), found {found}")
    images = []
    # disable=None shows the bar on a terminal only
    with tqdm(paths, desc=f"reading {folder.name}", unit="photo", disable=None if progress else True) as bar:
        for path in bar:
            image = to_uint8(read_picture(path).pixels)
            height, width = image.shape[1:]
            if min(height, width) < min_size:
                raise ImageError(
                    f"{path}: needs at least {min_size} x {min_size} pixels (height x width), got {height} x {width}"
                )
            images.append(image)
    return Photos(tuple(path.name for path in paths), tuple(images))


def hold_out(photos: Photos, names: Sequence[str]) -> tuple[Photos, Photos]:
    """Parts photos by name into those for training and those held out; both keep the order of `photos`.

    Args:
        photos: All photos.
        names: The photos to hold out.

    Returns:
        The photos for training, and the photos held out.

    Raises:
        ValueError: A name is unknown, or fewer than two photos remain for training.
    """
    unknown = [name for name in names if name not in photos.names]
    if unknown:
        raise ValueError(f"hold_out needs names among {', '.join(photos.names)}, got {', '.join(unknown)}")
    held = set(names)
    train = _select(photos, (index for index, name in enumerate(photos.names) if name not in held))
    if len(train) < 2:
        raise ValueError(f"hold_out must leave at least two photos for training, got {len(train)} of {len(photos)}")
    return train, _select(photos, (index for index, name in enumerate(photos.names) if name in held))


class PairCrops:
    """Draws training batches of (cover, secret): random photos, positions and horizontal flips.

    A batch depends on `(seed, index)` alone, neither on the batches asked for before nor on any global generator:
    a resumed run sees what the uninterrupted one would have seen, and ranks share the work by their indices. The two
    photos of a pair are never the same one.

    Args:
        photos: At least two photos, each of at least `crop` x `crop` pixels.
        crop: Height and width of a crop, in pixels.
        seed: Any integer.

    Raises:
        ValueError: `crop` is not positive, there are fewer than two photos, or one is smaller than the crop.

    Example:
        >>> photos = Photos(("a", "b"), (torch.zeros(3, 20, 30).byte(), torch.full((3, 16, 16), 255).byte()))
        >>> cover, secret = PairCrops(photos, crop=8, seed=0).batch(5, 4)
        >>> cover.shape, bool((cover != secret).all())
        (torch.Size([4, 3, 8, 8]), True)
    """

    def __init__(self, photos: Photos, *, crop: int, seed: int) -> None:
        if crop < 1:
            raise ValueError(f"PairCrops needs a crop of at least 1 pixel, got {crop}")
        if len(photos) < 2:
            raise ValueError(f"PairCrops needs at least two photos, got {len(photos)}")
        for name, image in zip(photos.names, photos.images, strict=True):
            height, width = image.shape[1:]
            if min(height, width) < crop:
                raise ValueError(
                    f"PairCrops needs photos of at least {crop} x {crop} pixels (height x width) for its crops, "
                    f"got {height} x {width} for {name}"
                )
        self.photos = photos
        self.crop = crop
        self.seed = seed

    def batch(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """One batch of pairs; a smaller batch of the same index is the beginning of a larger one.

        Args:
            index: The number of the batch.
            size: The number of pairs :math:`B`.

        Returns:
            The covers and the secrets, each of shape :math:`(B, 3, crop, crop)`, float32, in :math:`[0, 1]`.

        Raises:
            ValueError: `size` is not positive.
        """
        if size < 1:
            raise ValueError(f"PairCrops.batch needs a size of at least 1, got {size}")
        generator = seeded_generator(self.seed, index)
        covers, secrets = [], []
        for _ in range(size):
            cover = _below(len(self.photos), generator)
            step = 1 + _below(len(self.photos) - 1, generator)  # never 0 or all the way round: another photo
            secret = (cover + step) % len(self.photos)
            covers.append(self._crop(cover, generator))
            secrets.append(self._crop(secret, generator))
        return torch.stack(covers).float() / 255, torch.stack(secrets).float() / 255

    def _crop(self, photo: int, generator: torch.Generator) -> Tensor:
        image = self.photos.images[photo]
        top = _below(image.shape[1] - self.crop + 1, generator)
        left = _below(image.shape[2] - self.crop + 1, generator)
        crop = image[:, top : top + self.crop, left : left + self.crop]
        return crop.flip(-1) if _below(2, generator) else crop


def evaluation_pairs(photos: Photos, *, multiple: int = 16, swap: bool = True) -> list[Pair]:
    """Pairs consecutive photos: the first is the secret of the second, the third of the fourth, and so on.

    An odd one out at the end takes the first photo as its cover. Both photos are cropped about their centres to the
    largest size that both allow, a multiple of `multiple` and at most 1024 a side.

    Args:
        photos: At least two photos.
        multiple: What height and width are made a multiple of.
        swap: Whether the same pairs follow with the roles exchanged.

    Raises:
        ValueError: `multiple` is out of range, there are fewer than two photos, or two have no common crop.
    """
    if not 1 <= multiple <= MAX_SIDE:
        raise ValueError(f"evaluation_pairs needs a multiple from 1 to {MAX_SIDE}, got {multiple}")
    if len(photos) < 2:
        raise ValueError(f"evaluation_pairs needs at least two photos, got {len(photos)}")
    pairs = [_pair(photos, first, (first + 1) % len(photos), multiple) for first in range(0, len(photos), 2)]
    if swap:
        pairs += [Pair(pair.cover_name, pair.secret_name, pair.cover, pair.secret) for pair in pairs]
    return pairs


def seeded_generator(*keys: int) -> torch.Generator:
    """A CPU generator that depends on all keys: (0, 1) and (1, 0) give unrelated numbers, unlike a sum of seeds.

    Args:
        keys: Any integers, for instance a seed and the number of a step.
    """
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    # the CPU engine takes 32 bits of a seed; fold, so that both halves count
    number = int.from_bytes(digest, "big")
    return torch.Generator().manual_seed((number >> 32) ^ (number & 0xFFFFFFFF))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _select(photos: Photos, indices: Iterable[int]) -> Photos:
    chosen = list(indices)
    return Photos(tuple(photos.names[i] for i in chosen), tuple(photos.images[i] for i in chosen))


def _below(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))


def _pair(photos: Photos, secret: int, cover: int, multiple: int) -> Pair:
    sizes = [tuple(photos.images[index].shape[1:]) for index in (secret, cover)]
    height, width = (min(*sides, MAX_SIDE) // multiple * multiple for sides in zip(*sizes, strict=True))
    if height == 0 or width == 0:
        raise ValueError(
            f"evaluation_pairs needs photos of at least {multiple} x {multiple} pixels (height x width), "
            f"got {sizes[0][0]} x {sizes[0][1]} for {photos.names[secret]}, "
            f"{sizes[1][0]} x {sizes[1][1]} for {photos.names[cover]}"
        )
    images = [_centre(photos.images[index], height, width).float() / 255 for index in (secret, cover)]
    return Pair(photos.names[secret], photos.names[cover], images[0], images[1])


def _centre(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
