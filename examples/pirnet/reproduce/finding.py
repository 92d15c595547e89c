"""Repeats the paper's finding (section 3.1): does a secret mend when its stego image is denoised?

    python examples/pirnet/reproduce/finding.py                 # ten minutes on two cores
    python examples/pirnet/reproduce/finding.py --test PHOTOS --minutes 10
    python examples/pirnet/reproduce/finding.py --test PHOTOS --hiders LIH --denoisers DnCNN

HiNet and LIH hide noisy photos; the stego images are denoised by DnCNN, CBDNet and RIDNet (by DnCNN in part, too), or
made noisier; what is revealed then is compared with the truth. Writes results.json, results.md, points.csv and
finding.png into a folder, and beside them the networks that were trained for it, which a second call takes as they are.
"""

import csv
import dataclasses
import functools
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

sys.path.insert(0, str(Path(__file__).parents[1]))  # the folder of pirnet and reproduce

import torch
from pirnet.config import Config, quick
from pirnet.degrade import Degradation
from pirnet.evaluation import write_json
from pirnet.images import atomic_path
from pirnet.model import PIRNet
from pirnet.support import cli, runs
from pirnet.support.photo_cache import cache_folder
from pirnet.support.photos import Photos
from pirnet.support.progress import progress_bar
from pirnet.support.registry import Taskless, suited
from pirnet.trainer import Trainer
from pirnet.weights import load_lih, load_other, save_weights
from torch import Tensor, nn

import liftlayers
from reproduce.baselines.published import load_dncnn
from reproduce.budget import scheduled
from reproduce.finding_plots import READING, by_hider, draw, grouped, row, sentences, table
from reproduce.photo_sources import photos_and_pairs
from reproduce.treatments import (
    NOISES,
    UNTREATED,
    Point,
    Treatment,
    added_noise,
    as_hidden,
    correlations,
    partly,
    points,
)

SHARES = (0.05, 0.1, 0.25)  # of the way from stego to denoised; by the first, images change as in the paper
BLIND = Degradation(noise_sigma=(0.0, 55.0))  # what denoisers are trained on, as nobody knows a stego image's noise


@dataclass(frozen=True)
class Options:
    """What to hide, and how long to train for it."""

    data: tuple[Path, ...] = ()
    """Folders of photos to train on; without one, the colour photos inside scikit-image but two."""
    test: Path | None = None
    """Folder of photos to hide and to hide in, none of which was trained on; without one, those two."""
    cache: Path = dataclasses.field(default_factory=cache_folder)
    """Folder for decoded photos, 3 bytes a pixel."""
    out: Path = runs.RUNS / "finding"
    """Folder to write."""
    minutes: float = 2.0
    """Minutes to train each network for that is not there yet."""
    hiders: tuple[Literal["HiNet", "LIH"], ...] = ("HiNet", "LIH")
    """Networks that hide; HiNet is trained for it."""
    denoisers: tuple[Literal["DnCNN", "CBDNet", "RIDNet"], ...] = ("DnCNN", "CBDNet", "RIDNet")
    """Networks that denoise the stego images, trained for it unless there are weights."""
    lih: Path = cli.SHIPPED / runs.LIH_WEIGHTS
    """Weights of LIH."""
    dncnn: Path | None = None
    """Published weights of DnCNN for colour; without them, it is trained as the others are."""
    crop: int = 48
    """Side of the training crops, in pixels."""
    limit: int | None = None
    """Pairs to measure at most, the first by name."""
    device: str = "auto"
    """Where to run: cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""


def main() -> None:
    options = cli.parse(Options, __doc__)
    device = cli.device(options.device)
    if options.minutes <= 0:
        raise ValueError(f"--minutes needs more than 0, got {options.minutes}")
    if not options.hiders:
        raise ValueError("--hiders needs HiNet, LIH or both, got none")
    photos, pairs = photos_and_pairs(
        options.data, options.test, cache=options.cache, crop=options.crop, limit=options.limit
    )
    (options.out / "networks").mkdir(parents=True, exist_ok=True)
    hiders = {
        name: trained("hinet", options, photos, device).lih if name == "HiNet" else load_lih(options.lih).to(device)
        for name in options.hiders
    }
    treatments: dict[str, Treatment] = {UNTREATED: as_hidden}
    for title in options.denoisers:
        if title == "DnCNN" and options.dncnn:
            network: nn.Module = load_dncnn(options.dncnn).to(device)
        else:
            network = cast(Taskless, trained(title.lower(), options, photos, device).lsr).network
        treatments[title] = denoised_by(network)
    if "DnCNN" in treatments:
        treatments |= {f"DnCNN, {share:.0%} of it": partly(treatments["DnCNN"], share) for share in SHARES}
    treatments |= {f"noise, sigma {sigma}": added_noise(sigma) for sigma in NOISES}
    found = []
    with progress_bar(total=len(hiders) * len(pairs), desc="measuring", unit="pair") as bar:
        for hider, network in hiders.items():
            for number in range(len(pairs)):
                found += points(hider, network, treatments, pairs[number], number=number)
                bar.update()
    save(options, photos, found, device=device)
    print(table(found))
    print("\n".join(sentences(found)))
    print(f"look at {options.out / 'results.md'}")


def config_of(name: str, options: Options) -> Config:
    """What a network is trained with: HiNet hides noisy photos, a denoiser sees them in the clear."""
    start = quick()
    train = replace(start.train, tasks=("denoise",), crop=options.crop, batch_size=4)
    if name == "hinet":
        train = replace(train, steps=(1, 0, 0))
        return suited(replace(start, hider=name, train=train, degradation=Degradation()))
    return suited(replace(start, restorer=name, train=train, degradation=BLIND, in_the_clear=True))


def trained(name: str, options: Options, photos: Photos, device: torch.device) -> PIRNet:
    """A network of that name, from the folder or trained for it; the other one of the two is not used."""
    config, path = config_of(name, options), options.out / "networks" / f"{name}.safetensors"
    note, told = (
        path.with_suffix(".json"),
        {"minutes": options.minutes, "crop": options.crop, "photos": list(photos.names)},
    )
    if path.is_file():
        before = json.loads(note.read_text()) if note.is_file() else {}
        if before != told:
            raise ValueError(f"{path} was trained otherwise: remove it, or name another folder with --out")
        model = PIRNet(config)
        load_other(path, model.lih if name == "hinet" else cast(Taskless, model.lsr).network)
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # as it was trained
        return model.eval()
    new_trainer = functools.partial(Trainer, photos=photos, device=device)
    trainer = new_trainer(scheduled(config, new_trainer, minutes=options.minutes))
    with progress_bar(total=trainer.total, desc=name, unit="step") as bar:
        while trainer.step < trainer.total:
            trainer.take_step()
            bar.update()
    model = trainer.average.eval()
    write_json(note, told)
    save_weights(path, model.lih if name == "hinet" else model.lsr, None)
    return model


def denoised_by(network: nn.Module) -> Treatment:
    """Takes a stego image through a denoiser; the last result is kept, for what goes only part of the way."""
    last: list[tuple[Tensor, Tensor]] = []

    def treatment(stego: Tensor, _generator: torch.Generator) -> Tensor:
        if not last or last[0][0] is not stego:
            last[:] = [(stego, network(stego))]
        return last[0][1]

    return treatment


def save(options: Options, photos: Photos, found: Sequence[Point], *, device: torch.device) -> None:
    """Writes the points, their means and correlations, a page and a picture."""
    results = {
        "data": [str(path) for path in options.data] or "scikit-image",
        "test": str(options.test or "scikit-image"),
        "minutes": options.minutes,
        "published_dncnn": options.dncnn is not None,
        "photos": len(photos),
        "means": [row(hider, name, chosen) for (hider, name), chosen in grouped(found).items()],
        "correlations": {hider: correlations(of) for hider, of in by_hider(found).items()},
        "device": device.type,
        "versions": {
            "liftlayers": liftlayers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    write_json(options.out / "results.json", results)
    with atomic_path(options.out / "points.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Point)])
        writer.writeheader()
        writer.writerows(asdict(point) for point in found)
    with atomic_path(options.out / "results.md") as temporary:
        temporary.write_text(page(options, photos, found))
    draw(options.out / "finding.png", found)


def page(options: Options, photos: Photos, found: Sequence[Point]) -> str:
    """The results as Markdown."""
    pairs = len({(point.secret, point.cover) for point in found})
    told = [f"{pairs} pairs of {options.test or 'photos inside scikit-image'}."]
    names = [name for name in (*options.hiders, *options.denoisers) if name != "LIH"]
    if options.dncnn and "DnCNN" in names:
        names.remove("DnCNN")
        told.append("DnCNN: published weights.")
    if names:
        told.append(
            f"Trained for {options.minutes:g} minutes each on {len(photos)} photos: {', '.join(names)}; denoisers for "
            "sigma 0 to 55."
        )
    if "LIH" in options.hiders:
        told.append("LIH: the weights that come with the example, or those of `--lih`.")
    lines = ["# Treated stego images and what they reveal", " ".join(told), table(found, markdown=True), READING]
    return "\n\n".join([*lines, "\n".join(f"- {line}" for line in sentences(found))]) + "\n"


if __name__ == "__main__":
    cli.run(main)
