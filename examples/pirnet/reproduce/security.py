"""Attacks the secrets of PIRNet, sent without a key and scrambled with one, and measures what the attackers learn.

    python examples/pirnet/reproduce/security.py --data CBSD68 --train-data BSDS500 --other-weights OTHER

Photos are paired as in evaluate.py. Writes results.json, results.md and one sheet of pictures for each block size into
a folder. Results that are already there are not measured again: after Ctrl-C the same command continues. Everything
runs on the CPU.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parents[1]))  # the folder of pirnet and reproduce

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, RUNS, SHIPPED
from pirnet.support.settings import Count


@dataclass(frozen=True)
class Options:
    """What to attack."""

    data: Path
    """Folder of photos to attack, not used for training."""
    train_data: tuple[Path, ...]
    """Folders of other photos: leaked pairs and the detector learn from them."""
    out: Path = RUNS / "security"
    """Folder to write."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors and lsr.safetensors."""
    other_weights: Path | None = None
    """Folder with lih.safetensors of another run."""
    tasks: tuple[Literal["denoise", "deblur", "sr"], ...] = ("denoise", "deblur", "sr")
    """Damage of the secrets."""
    limit: Count | None = None
    """Largest number of pairs to attack, the first by name."""
    few: Count = 6
    """Number of pairs for the slow parts: solved puzzles and repeated use."""
    leaks: tuple[Count, ...] = (1, 16, 256)
    """Numbers of leaked pairs to learn from, in ascending order."""
    steps: Count = 200
    """Steps of training of each U-Net."""
    detector_pairs: tuple[Count, ...] = (4, 16, 64)
    """Numbers of pairs that the detector learns from, in ascending order; none leaves the detector out."""
    cache: Path | None = None
    """Folder for decoded photos, 3 bytes a pixel; by default ~/.cache/liftlayers. It can be removed at any time."""
    publish: bool = False
    """At the end, write the figures into examples/pirnet/results and docs/pirnet-security.md too."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence

from pirnet.data import FolderPairs, Pair, evaluation_pairs
from pirnet.evaluation import Networks
from pirnet.model import LIH
from pirnet.support import files
from pirnet.support.photo_cache import cached_folders
from pirnet.support.photos import Photos
from pirnet.support.text import counted, file_name
from pirnet.weights import load_lih, load_lsr

from reproduce import detection
from reproduce.attacks import Estimator, shuffled
from reproduce.attacks_learned import CROP, leaked_pairs, learned
from reproduce.security_modes import draw, measured
from reproduce.security_pipeline import MODES, MULTIPLE
from reproduce.security_report import FIGURES, filled

RESULTS, SHEET = "results.json", "attacks-{}.webp"
PAGE = Path(__file__).parents[3] / "docs" / "pirnet-security.md"
PUBLISHED = SHIPPED.parent / "results"
OTHER_RUN = "another run's LIH"


def main() -> None:
    options = read_options()
    check_numbers("--leaks", options.leaks, least=1)
    check_numbers("--detector-pairs", options.detector_pairs, least=0)
    networks = Networks(load_lih(options.weights / LIH_WEIGHTS), load_lsr(options.weights / LSR_WEIGHTS))
    wrong = {"shuffled weights": shuffled(networks.lih)}
    if options.other_weights is not None:
        wrong |= {OTHER_RUN: load_lih(options.other_weights / LIH_WEIGHTS)}
    pairs = FolderPairs(options.data, multiple=MULTIPLE, limit=options.limit)
    photos = cached_folders(options.train_data, cache=options.cache, min_size=max(CROP, detection.CROP))
    results = opened(options, pairs)
    for name in MODES:
        if name not in results["modes"]:
            results["modes"][name] = attacked(name, options, networks, wrong, photos, pairs)
            files.write_json(options.out / RESULTS, results)
    if options.detector_pairs and results["detection"] is None and detection.available():
        results["detection"] = detected(options, networks, wrong, photos, pairs)
        files.write_json(options.out / RESULTS, results)
    save(options, json.loads((options.out / RESULTS).read_text(encoding="utf-8")))


def attacked(
    name: str, options: Options, networks: Networks, wrong: Mapping[str, LIH], photos: Photos, pairs: Sequence[Pair]
) -> dict[str, dict[str, object]]:
    """Runs all attacks on one mode and draws its sheet; returns the results."""
    block, tasks = MODES[name], options.tasks
    leaks = leaked_pairs(networks.lih, photos, options.leaks[-1], block=block, tasks=tasks)
    maps = learned(leaks, counts=options.leaks, steps=options.steps, keyed=block is not None)
    estimators: dict[str, Estimator] = {key: lih.reveal for key, lih in wrong.items()} | maps
    most = [f"{kind}, {counted(options.leaks[-1], 'leaked pair')}" for kind in ("least squares", "U-Net")]
    shown = {key: estimator for key, estimator in estimators.items() if key in (OTHER_RUN, *most)}
    draw(options.out / SHEET.format(block or "plain"), networks, name, task=tasks[0], estimators=shown)
    return measured(networks, pairs, name, tasks=tasks, estimators=estimators, few=options.few)


def check_numbers(option: str, numbers: Sequence[int], *, least: int) -> None:
    """Refuses numbers that do not ascend, and fewer than `least` of them."""
    if len(numbers) < least or list(numbers) != sorted(set(numbers)):
        raise ValueError(f"{option} needs numbers in ascending order, got {' '.join(map(str, numbers)) or 'none'}")


def opened(options: Options, pairs: FolderPairs) -> dict:
    """The results in the folder, or empty ones.

    Raises:
        ValueError: If the folder has results of other settings.
    """
    weights = [options.weights / LIH_WEIGHTS, options.weights / LSR_WEIGHTS]
    other = options.other_weights and options.other_weights / LIH_WEIGHTS
    settings = {name: getattr(options, name) for name in ("tasks", "few", "leaks", "steps", "detector_pairs")}
    fresh = {
        "data": file_name(options.data.absolute().name),
        "train_data": [file_name(folder.absolute().name) for folder in options.train_data],
        "pairs": len(pairs),
        "settings": settings,
        "weights": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in weights},
        "other_weights": other and hashlib.sha256(other.read_bytes()).hexdigest(),
        "names": pairs.names,
        "versions": files.versions(),
        "modes": {},
        "detection": None,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / RESULTS
    if not path.is_file():
        files.write_json(path, fresh)
        return fresh
    before, same = json.loads(path.read_text(encoding="utf-8")), json.loads(files.to_json(fresh))
    if changed := [name for name in same if name not in ("modes", "detection") and before.get(name) != same[name]]:
        raise ValueError(f"{path} has results of other {', '.join(changed)}: name another folder with --out")
    return before


def detected(
    options: Options, networks: Networks, wrong: Mapping[str, LIH], photos: Photos, pairs: Sequence[Pair]
) -> list[dict[str, object]]:
    """The accuracy of the detector: for known ways to hide, for PIRNet, and for PIRNet with other weights."""
    smallest = min(block for block in MODES.values() if block is not None)
    plain, keyed, other = "PIRNet, plain", f"PIRNet, keyed, t = {smallest}", f"another run, keyed, t = {smallest}"
    kinds = detection.controls()
    for name, block in ((plain, None), (keyed, smallest)):
        kinds[name] = detection.hiding_with(networks.lih, block=block, tasks=options.tasks)
    transfers = [(plain, keyed)]
    if OTHER_RUN in wrong:
        kinds[other] = detection.hiding_with(wrong[OTHER_RUN], block=smallest, tasks=options.tasks)
        transfers += [(keyed, other), (other, keyed)]
    count = min(options.detector_pairs[-1], len(photos) // 2 * 2)
    chosen = Photos(photos.names[:count], photos.images[:count])
    learn = detection.crops_of(evaluation_pairs(chosen, multiple=MULTIPLE, swap=False))
    return detection.detection(
        kinds,
        learn,
        detection.crops_of(pairs),
        counts=[each for each in options.detector_pairs if each <= len(learn)],
        transfers=transfers,
        folder=options.out / "features",
    )


def save(options: Options, results: dict) -> None:
    """Writes the page of the results, and with --publish the files of the repository."""
    marks = (f"## {name}\n\n<!-- figures: {name} -->\n<!-- end of figures -->\n" for name in FIGURES)
    page = filled("# Attacks\n\n" + "\n".join(marks), results)
    files.write_text(options.out / "results.md", page)
    print(page)
    if options.publish:
        files.write_json(PUBLISHED / "attacks.json", results)
        for path in options.out.glob(SHEET.format("*")):
            shutil.copy(path, PUBLISHED / path.name)
        files.write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), results))
    print(f"look at {options.out / 'results.md'}")


if __name__ == "__main__":
    cli.run(main)
