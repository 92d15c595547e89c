"""Training: photos, the code length as the loss, checkpoints, and the tables of distributions."""

import io
import json
import math
import pickle
import time
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from liftlayers import frozen
from photo_codec.coder import CENTRE, ESCAPE, YCOCG, activity, table_of
from photo_codec.model import BITS, SCALES, SYMBOLS, Model
from photo_codec.photos import opened, require_8_bits

BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")  # in scikit-image, without a download
SUFFIXES = (".png", ".webp", ".bmp", ".tif", ".tiff")  # photos without a history of JPEG
CROP, BATCH, LEVELS = 96, 6, 3  # deeper levels hold one value in 64
PART = 256  # of a photo, whose activity is measured
AGED = 0.5  # the part of the crops with a history, as most photos have one
HELD_OUT = 24  # one photo in so many is not trained on
RATE, WARM_UP = 4e-3, 30
SECONDS_PER_CHECK = 60.0
COUNTED = 2400  # crops whose values are counted for the tables of distributions
PRIOR = 200  # counts that a distribution starts with


def load_photos(folders: list[Path] | None) -> list[np.ndarray]:
    """Returns photos in RGB that are as large as a crop, or larger."""
    if folders is None:
        paths = [Path(str(resources.files("skimage").joinpath("data", name))) for name in BUNDLED]
    else:
        paths = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    photos = []
    for path in paths:
        with opened(path) as photo:
            require_8_bits(path, photo)
            pixels = np.asarray(photo.convert("RGB"))
        photos += [pixels] if min(pixels.shape[:2]) >= CROP else []
    if not photos:
        raise ValueError(f"--data needs {', '.join(SUFFIXES)} files of at least {CROP} x {CROP} pixels, got none")
    return photos


def draw(photos: list[np.ndarray], count: int, rng: np.random.Generator, *, aged: bool = True) -> tuple[Tensor, Tensor]:
    """Draws crops, turned and mirrored, as (B, 3, H, W) of luma and differences of colours, and the activity around.

    Each pixel has the same chance.
    """
    areas = np.array([photo.shape[0] * photo.shape[1] for photo in photos], float)
    crops, about = [], []
    for number in rng.choice(len(photos), count, p=areas / areas.sum()):
        photo = _part(np.rot90(photos[number], int(rng.integers(4)))[:: rng.choice((-1, 1))], PART, rng)
        photo = HISTORIES[rng.integers(len(HISTORIES))](photo, rng) if aged and rng.random() < AGED else photo
        about.append(activity(_image(photo)))
        crops.append(_image(_part(photo, CROP, rng)))
    return torch.cat(crops).float(), torch.cat(about)


def _part(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a square of pixels, or less if the photo is smaller; it starts at an even row and column."""
    top, left = (2 * int(rng.integers(max(side - size, 0) // 2 + 1)) for side in photo.shape[:2])
    return photo[top : top + size, left : left + size]


def _image(photo: np.ndarray) -> Tensor:
    return YCOCG(torch.from_numpy(photo.astype(np.int16)).permute(2, 0, 1)[None])


def as_jpeg(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a photo that was a JPEG file of high quality; its blocks start anywhere."""
    rows, columns = rng.integers(8, size=2)
    file = io.BytesIO()
    wide = np.pad(photo, ((rows, 0), (columns, 0), (0, 0)), mode="reflect")
    Image.fromarray(wide).save(file, "JPEG", quality=int(rng.integers(85, 99)), subsampling=int(rng.choice((0, 2, 2))))
    return np.asarray(Image.open(file))[rows:, columns:]


def with_coarse_colours(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a photo that was a video: two or four pixels have the same colour and differ in luma."""
    luma, *colours = Image.fromarray(photo).convert("YCbCr").split()
    size = photo.shape[1] // 2, photo.shape[0] // int(rng.integers(1, 3))
    coarse = [plane.resize(size, Image.Resampling.BOX).resize(luma.size, Image.Resampling.NEAREST) for plane in colours]
    return np.asarray(Image.merge("YCbCr", (luma, *coarse)).convert("RGB"))


def with_noise(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a photo with noise in each colour, as scans have."""
    noise = rng.standard_normal(photo.shape, np.float32) * 12 ** rng.random()
    return (photo + noise).round().clip(0, 255).astype(np.uint8)


HISTORIES = (as_jpeg, as_jpeg, with_coarse_colours, with_noise)


def predictions(model: Model, crops: Tensor, about: Tensor, *, levels: int = LEVELS) -> list[Tensor]:
    """Returns means, scales and values of all levels, each as one line."""
    found: list[tuple[Tensor, ...]] = []

    def record(mean: Tensor, scale: Tensor, values: Tensor) -> Tensor:
        found.append((mean.flatten(), scale.flatten(), values.flatten()))
        return values

    model(crops, record, about=about, levels=levels)
    return [torch.cat(part) for part in zip(*found, strict=True)]


def code_length(mean: Tensor, scale: Tensor, value: Tensor) -> Tensor:
    """Returns the bits of values under two logistic distributions, a narrow and a wide one."""
    half = scale / 2
    index = (half + (half.floor() - half).detach()).clamp(0, SCALES - 1)
    narrow = torch.exp2(3.5 - index / 4)  # the reciprocal of the width
    distance = (value - mean / 2**BITS).abs()  # both distributions are symmetric
    upper, lower = (0.5 - distance) * narrow, (-0.5 - distance) * narrow
    chance = 0.97 * (upper.sigmoid() - lower.sigmoid()) + 0.03 * ((upper / 6).sigmoid() - (lower / 6).sigmoid())
    return -torch.log2(chance + 2**-16)


class Run:
    """A training run: what it has to keep is in its checkpoint."""

    def __init__(self, folder: Path, minutes: float, model: Model) -> None:
        self.folder, self.minutes, self.model = folder, minutes, model
        self.step, self.seconds = 0, 0.0
        self.optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99), fused=True)

    def train(self, photos: list[np.ndarray]) -> None:
        """Trains until the minutes are over; writes a checkpoint and a line of the log every minute."""
        held = trained = photos
        if len(photos) > HELD_OUT:
            held, trained = photos[::HELD_OUT], [photo for i, photo in enumerate(photos) if i % HELD_OUT]
        last, checked, losses = time.monotonic(), self.seconds, []
        with tqdm(total=round(self.minutes * 60), initial=round(self.seconds), unit="s") as bar:
            while self.seconds < self.minutes * 60:
                losses.append(self.update(*draw(trained, BATCH, np.random.default_rng(self.step))))
                now = time.monotonic()
                self.seconds, last = self.seconds + now - last, now
                bar.n = min(round(self.seconds), bar.total)
                bar.set_postfix_str(f"{losses[-1]:.2f} bits a pixel")
                if self.seconds - checked >= SECONDS_PER_CHECK or self.seconds >= self.minutes * 60:
                    self.check(held, sum(losses) / len(losses))
                    checked, losses = self.seconds, []

    def update(self, crops: Tensor, about: Tensor) -> float:
        """Takes one step and returns the bits a pixel."""
        rest = 1 - min(self.seconds / (60 * self.minutes), 1)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1, (self.step + 1) / WARM_UP) * (0.505 - 0.495 * math.cos(math.pi * rest))
        loss = code_length(*predictions(self.model, crops, about)).sum() / crops[:, 0].numel()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    @torch.inference_mode()
    def check(self, held: list[np.ndarray], loss: float) -> None:
        """Measures the held-out photos, then writes the checkpoint and a line of the log."""
        crops, about = draw(held, 32, np.random.default_rng(0), aged=False)
        bits = float(code_length(*predictions(self.model, crops, about)).sum()) / crops[:, 0].numel()
        line = {"step": self.step, "seconds": round(self.seconds), "loss": loss, "held out": bits}
        with (self.folder / "log.jsonl").open("a") as log:
            print(json.dumps({name: round(number, 4) for name, number in line.items()}), file=log)
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        new = self.folder / "checkpoint.new"
        torch.save(state | {"step": self.step, "seconds": self.seconds}, new)
        new.replace(self.folder / "checkpoint.pt")

    def load(self) -> None:
        """Continues from the checkpoint.

        Raises:
            OSError: If there is none.
            ValueError: If it is damaged.
        """
        path = self.folder / "checkpoint.pt"
        try:
            with zipfile.ZipFile(path) as file:
                if file.testzip() is not None:  # torch does not compare checksums
                    raise zipfile.BadZipFile("a checksum is wrong")
            state = torch.load(path, weights_only=True)
        except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError) as error:
            raise ValueError(f"{path} needs to be a checkpoint of train.py, got a damaged file: {error}") from error
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def export(model: Model, photos: list[np.ndarray], *, counted: int) -> bytes:
    """Returns the weights file of a trained model."""
    model = frozen(model).eval()
    model.tables = torch.from_numpy(fit_tables(model, photos, counted=counted))
    state = {name: numbers.contiguous() for name, numbers in model.state_dict().items()}
    return save(state, {"width": str(model.width)})


@torch.inference_mode()
def fit_tables(model: Model, photos: list[np.ndarray], *, counted: int) -> np.ndarray:
    """Returns the tables of distributions: the counts of crops, and where they are few, the logistic distributions."""
    rng = np.random.default_rng(1)
    counts = np.zeros(model.tables.shape, np.int64)
    for _ in range(counted // BATCH):
        mean, scale, value = predictions(model, *draw(photos, BATCH, rng), levels=4)
        whole, row = table_of(mean, scale)
        distance = value.int() - whole + CENTRE
        symbol = torch.where((distance < 0) | (distance >= ESCAPE), ESCAPE, distance)
        cell = row.long() * SYMBOLS + symbol
        counts += np.bincount(cell.numpy(), minlength=counts.size).reshape(counts.shape)
    return integer_tables(counts + PRIOR * logistic_tables())


def integer_tables(chances: np.ndarray) -> np.ndarray:
    """Returns distributions, one in each row, as the integers that `distributions_of` expects."""
    total = 2**24 - 2 * SYMBOLS  # constriction adds one to each; the other half is for the rounding
    tables = np.floor(chances / chances.sum(1, keepdims=True) * total).astype(np.int64)
    tables[np.arange(len(tables)), tables.argmax(1)] += 2**24 - SYMBOLS - tables.sum(1)
    return tables.astype(np.int32)


def logistic_tables() -> np.ndarray:
    """Returns the distributions that `code_length` stands for, in float64."""
    scale, part, symbol = np.ogrid[:SCALES, : 1 << BITS, : SYMBOLS - 1]
    mean = torch.from_numpy(part + 0.0 * scale + 0.0 * symbol)
    lengths = code_length(mean, torch.from_numpy(2.0 * scale).expand_as(mean), torch.from_numpy(symbol - CENTRE))
    chances = (2.0**-lengths).numpy()
    escape = np.clip(1 - chances.sum(2, keepdims=True), 2**-16, None)
    return np.concatenate((chances, escape), 2).reshape(-1, SYMBOLS)
