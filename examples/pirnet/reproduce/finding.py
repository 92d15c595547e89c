"""Repeats the experiment of the paper's section 3.1: does denoising a stego image improve the secret inside it?

    python examples/pirnet/reproduce/finding.py                 # ten minutes on two cores
    python examples/pirnet/reproduce/finding.py --test PHOTOS --minutes 10
    python examples/pirnet/reproduce/finding.py --test PHOTOS --hiders LIH --denoisers DnCNN

HiNet and LIH hide noisy photos. The stego images are denoised by DnCNN, CBDNet and RIDNet (by DnCNN also in part), or
made noisier; then the secret is revealed and compared with the truth. Writes results.json, results.md, points.csv and
finding.png into a folder, with the networks that were trained for it; a second call uses them again.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import functools
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

sys.path.insert(0, str(Path(__file__).parents[1]))  # the folder of pirnet and reproduce

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, RUNS, SHIPPED
from pirnet.support.settings import Count, Positive

from reproduce.photo_sources import PhotoOptions


@dataclass(frozen=True)
class Options(PhotoOptions):
    """What to hide, and how long to train for it."""

    out: Path = RUNS / "finding"
    """Folder to write."""
    minutes: Positive = 2.0
    """Minutes of training for each network that the folder does not contain."""
    hiders: tuple[Literal["HiNet", "LIH"], ...] = ("HiNet", "LIH")
    """Networks that hide; HiNet is trained."""
    denoisers: tuple[Literal["DnCNN", "CBDNet", "RIDNet"], ...] = ("DnCNN", "CBDNet", "RIDNet")
    """Networks that denoise the stego images; they are trained unless there are weights."""
    lih: Path = SHIPPED / LIH_WEIGHTS
    """Weights of LIH."""
    dncnn: Path | None = None
    """Published weights of DnCNN for colour; without them it is trained like the others."""
    crop: Count = 48
    """Side of the training crops, in pixels."""
    limit: Count | None = None
    """Largest number of pairs to measure, the first by name."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

import torch
from pirnet.config import Config, quick
from pirnet.degrade import Degradation
from pirnet.model import LIH, PIRNet
from pirnet.support import files
from pirnet.support.photos import Photos
from pirnet.support.progress import progress_bar
from pirnet.support.registry import with_baseline_rates
from pirnet.support.taskless import Taskless
from pirnet.support.text import counted, file_name, filled_page, from_json
from pirnet.trainer import Trainer
from pirnet.weights import load_lih, load_other, save_weights
from torch import nn

from reproduce.baselines.published import load_dncnn
from reproduce.budget import check_side, train_for
from reproduce.finding_plots import draw, grouped, means, sentences, table
from reproduce.treatments import NOISES, UNTREATED, Point, Treatment, added_noise, as_hidden, correlations, partly
from reproduce.treatments import points as points_of

PAGE = Path(__file__).with_suffix(".md")
SHARES = (0.05, 0.1, 0.25)  # of the way from stego to denoised; with the first, images change as much as in the paper
BLIND = Degradation(noise_sigma=(0.0, 55.0))  # for training denoisers, since the noise of a stego image is unknown


def main() -> None:
    options = read_options()
    device = cli.device(options.device)
    check_side("--crop", options.crop)
    if not options.hiders:
        raise ValueError("--hiders needs HiNet, LIH or both, got none")
    photos, pairs = options.photos_and_pairs(crop=options.crop, limit=options.limit)
    lih = load_lih(options.lih).to(device) if "LIH" in options.hiders else None
    dncnn = load_dncnn(options.dncnn).to(device) if "DnCNN" in options.denoisers and options.dncnn else None
    (options.out / "networks").mkdir(parents=True, exist_ok=True)
    hiders: dict[str, LIH] = {}
    for title in options.hiders:
        hiders[title] = lih if lih and title == "LIH" else trained("hinet", options, photos, device).lih
    treatments: dict[str, Treatment] = {UNTREATED: as_hidden}
    for title in options.denoisers:
        if title == "DnCNN" and dncnn:
            network: nn.Module = dncnn
        else:
            network = cast(Taskless, trained(title.lower(), options, photos, device).lsr).network
        treatments[title] = denoised_by(network)
    if "DnCNN" in treatments:
        treatments |= {f"DnCNN, {share:.0%} of it": partly(treatments["DnCNN"], share) for share in SHARES}
    treatments |= {f"noise, sigma {sigma}": added_noise(sigma) for sigma in NOISES}
    points = []
    with progress_bar(total=len(hiders) * len(pairs), desc="measuring", unit="pair") as bar:
        for hider, network in hiders.items():
            for number, pair in enumerate(pairs):
                points += points_of(hider, network, treatments, pair, number=number)
                bar.update()
    save(options, photos, points, device=device)
    print(table(points))
    print("\n".join(sentences(points)))
    print(f"look at {options.out / 'results.md'}")


def config_of(name: str, options: Options) -> Config:
    """The config to train a network with: HiNet hides noisy photos, a denoiser gets them in the clear."""
    start = quick()
    train = replace(start.train, tasks=("denoise",), crop=options.crop, batch_size=4, blocks=(0,))
    if name == "hinet":
        train = replace(train, steps=(1, 0, 0))
        return with_baseline_rates(replace(start, hider=name, train=train, degradation=Degradation()))
    return with_baseline_rates(replace(start, restorer=name, train=train, degradation=BLIND, in_the_clear=True))


def trained(name: str, options: Options, photos: Photos, device: torch.device) -> PIRNet:
    """A PIRNet with the network of that name, from the folder or trained now; its other network is not used."""
    config, path = config_of(name, options), options.out / "networks" / f"{name}.safetensors"
    note = path.with_suffix(".json")
    settings = {"minutes": options.minutes, "crop": options.crop, "photos": list(photos.names)}
    if path.is_file():
        if not note.is_file() or from_json(note.read_text(encoding="utf-8")) != settings:
            raise ValueError(f"{path} was trained with other settings: remove it, or name another folder with --out")
        model = PIRNet(config)
        load_other(path, model.lih if name == "hinet" else cast(Taskless, model.lsr).network)
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # as it was trained
        return model.eval()
    new_trainer = functools.partial(Trainer, photos=photos, device=device)
    trainer, _ = train_for(config, new_trainer, minutes=options.minutes, name=name)
    model = trainer.average.eval()
    files.write_json(note, settings)
    save_weights(path, model.lih if name == "hinet" else model.lsr, None)
    return model


def denoised_by(network: nn.Module) -> Treatment:
    """Denoises a stego image; the last result is kept for the treatments that use only a part of it."""
    denoised = functools.lru_cache(maxsize=1)(network.__call__)
    return lambda stego, _generator: denoised(stego)


def save(options: Options, photos: Photos, points: Sequence[Point], *, device: torch.device) -> None:
    """Writes the points, their means and correlations, a page and a picture."""
    results = {
        "data": [file_name(path) for path in options.data] or "scikit-image",
        "test": file_name(options.test or "scikit-image"),
        "minutes": options.minutes,
        "published_dncnn": options.dncnn is not None,
        "photos": len(photos),
        "means": means(points),
        "correlations": {hider: correlations(of) for hider, of in grouped(points, "hider").items()},
        "device": device.type,
        "versions": files.versions(),
    }
    files.write_json(options.out / "results.json", results)
    files.write_csv(options.out / "points.csv", [asdict(point) for point in points])
    files.write_text(options.out / "results.md", page(options, photos, points))
    draw(options.out / "finding.png", points)


def page(options: Options, photos: Photos, points: Sequence[Point]) -> str:
    """The results as Markdown."""
    pairs = len({(point.secret, point.cover) for point in points})
    source = file_name(options.test) if options.test else "photos inside scikit-image"
    notes = [f"{counted(pairs, 'pair')} of {source}."]
    names = [name for name in (*options.hiders, *options.denoisers) if name != "LIH"]
    if options.dncnn and "DnCNN" in names:
        names.remove("DnCNN")
        notes.append("DnCNN: published weights.")
    if names:
        notes.append(
            f"Trained for {counted(options.minutes, 'minute')} each on {len(photos)} photos: {', '.join(names)}; "
            "denoisers for sigma 0 to 55."
        )
    if "LIH" in options.hiders:
        notes.append("LIH: the weights that come with the example, or those of `--lih`.")
    findings = "\n".join(f"- {line}" for line in sentences(points))
    return filled_page(PAGE, notes=" ".join(notes), figures=table(points, in_markdown=True), sentences=findings)


if __name__ == "__main__":
    cli.run(main)
