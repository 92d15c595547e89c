"""Batches for training, which depend on the seed and the step alone, and pairs of photos for evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_all_start_methods
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from liftlayers.functional import scramble_blocks
from pirnet.degrade import Degradation
from pirnet.images import read_picture
from pirnet.pixels import centred, common_size, oriented, to_uint8
from pirnet.support.keys import random_key
from pirnet.support.photos import Photos, photo_paths, sizes_of
from pirnet.support.seeds import random_below, seeded_generator
from pirnet.support.signals import withheld
from pirnet.support.text import file_name
from pirnet.tasks import degrade

MAX_SIDE = 1024

Batch = tuple[Tensor, Tensor, Tensor]
"""Covers, true secrets and degraded secrets, each (B, 3, crop, crop)."""


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

    def swapped(self) -> "Pair":
        """The same photos with the roles exchanged."""
        return Pair(self.cover_name, self.secret_name, self.cover, self.secret)

    def cropped(self, side: int) -> "Pair":
        """The centres of both photos, of at most `side` x `side` pixels."""
        return replace(self, secret=centred(self.secret, side, side), cover=centred(self.cover, side, side))


@dataclass(frozen=True)
class PairCrops:
    """Draws training batches of (cover, secret): random photos and positions, each crop in one of eight orientations.

    A batch depends on `(seed, index)` alone, not on earlier batches or a global generator: a resumed run sees the same
    batches as an uninterrupted one, in whichever process they are made. The two photos of a pair always differ.

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

    photos: Photos
    crop: int = field(kw_only=True)
    seed: int = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.crop < 1:
            raise ValueError(f"PairCrops needs a crop of at least 1 pixel, got {self.crop}")
        if len(self.photos) < 2:
            raise ValueError(f"PairCrops needs at least two photos, got {len(self.photos)}")
        for name, image in zip(self.photos.names, self.photos.images, strict=True):
            height, width = image.shape[1:]
            if min(height, width) < self.crop:
                needs = f"at least {self.crop} x {self.crop} pixels (height x width) for its crops"
                raise ValueError(f"PairCrops needs photos of {needs}, got {height} x {width} for {name}")

    def batch(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """One batch of pairs; a smaller batch is the beginning of a larger batch with the same index.

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
            cover = random_below(len(self.photos), generator)
            step = 1 + random_below(len(self.photos) - 1, generator)  # at least 1 and less than all: another photo
            secret = (cover + step) % len(self.photos)
            covers.append(self._crop(cover, generator))
            secrets.append(self._crop(secret, generator))
        return torch.stack(covers).float() / 255, torch.stack(secrets).float() / 255

    def _crop(self, photo: int, generator: torch.Generator) -> Tensor:
        image = self.photos.images[photo]
        top = random_below(image.shape[1] - self.crop + 1, generator)
        left = random_below(image.shape[2] - self.crop + 1, generator)
        crop = image[:, top : top + self.crop, left : left + self.crop]
        return oriented(crop, random_below(8, generator))


@dataclass(eq=False)
class Batches(Dataset):
    """The batch of each step, which depends on the seed and the step alone.

    Args:
        crops: The source of the pairs.
        tasks: The task of each pair in a batch.
        degradation: The parameters of the degradations.
        blocks: Block sizes in pixels, of which each pair draws one and a key; 0 leaves its secret plain.
        part: The pairs to keep, if processes share each batch.
    """

    crops: PairCrops
    tasks: Sequence[str]
    degradation: Degradation = field(kw_only=True)
    blocks: Sequence[int] = field(default=(0,), kw_only=True)
    part: slice = field(default_factory=lambda: slice(None), kw_only=True)

    def __getitem__(self, step: int) -> Batch:
        generator = seeded_generator(self.crops.seed, step)
        cover, truth = self.crops.batch(step, len(self.tasks))
        secret = torch.empty_like(truth)
        for task in sorted(set(self.tasks)):
            chosen = [i for i, name in enumerate(self.tasks) if name == task]
            secret[chosen] = degrade(truth[chosen], task, self.degradation, generator=generator)
        pairs = torch.stack((truth, secret), dim=1)
        truth, secret = torch.stack([self._scrambled(pair, generator) for pair in pairs]).unbind(1)
        return cover[self.part], truth[self.part], secret[self.part]

    def _scrambled(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Scrambles (2, 3, crop, crop) with one new key, or not at all, as the draw of a block size says."""
        block = self.blocks[random_below(len(self.blocks), generator)]
        return scramble_blocks(images, random_key(generator), block=block) if block else images

    def from_step(self, first: int, end: int, *, workers: int, pinned: bool) -> Iterator[Batch]:
        """The batches of steps `first` to `end - 1`, made ahead of time by `workers` processes, or by none."""
        # fork where it exists, since pickling copies every photo into shared memory
        method = "fork" if "fork" in get_all_start_methods() else "spawn"
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=range(first, end),
            num_workers=workers,
            pin_memory=pinned,
            multiprocessing_context=method if workers else None,
            generator=torch.Generator(),  # the default would draw from the global one
        )
        with withheld():  # the run ends its workers itself, after the step that needs them
            return iter(loader)


def evaluation_pairs(photos: Photos, *, multiple: int = 16, swap: bool = True) -> list[Pair]:
    """Pairs consecutive photos: the first is hidden in the second, the third in the fourth, and so on.

    With an odd number of photos, the last one is hidden in the first. Both photos are cropped about their centres to
    the largest size that both allow, a multiple of `multiple` and at most 1024 a side.

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
        pairs += [pair.swapped() for pair in pairs]
    return pairs


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
        self._paths = pairs + [(cover, secret) for secret, cover in pairs] * swap
        sizes = sizes_of(list(dict.fromkeys(path for pair in pairs for path in pair)))
        named = [{file_name(path.name): sizes[path] for path in pair} for pair in self._paths]
        self.sizes = [common_size(each, multiple=multiple, most=MAX_SIDE) for each in named]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]  # no slices
        paths = self._paths[index]
        images = tuple(to_uint8(read_picture(path).pixels) for path in paths)
        photos = Photos(tuple(file_name(path.name) for path in paths), images)
        return _pair(photos, 0, 1, self.multiple)

    @property
    def names(self) -> list[dict[str, object]]:
        """The names of secret and cover of each pair, and the size of their crops, for the results."""
        named = ([file_name(path.name) for path in paths] for paths in self._paths)
        pairs = zip(named, self.sizes, strict=True)
        return [{"secret": s, "cover": c, "height": h, "width": w} for (s, c), (h, w) in pairs]


def _pair(photos: Photos, secret: int, cover: int, multiple: int) -> Pair:
    sizes = {photos.names[index]: photos.images[index].shape[1:] for index in (secret, cover)}
    height, width = common_size(sizes, multiple=multiple, most=MAX_SIDE)
    images = [centred(photos.images[index], height, width).float() / 255 for index in (secret, cover)]
    return Pair(photos.names[secret], photos.names[cover], images[0], images[1])
