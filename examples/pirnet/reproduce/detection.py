"""Is something hidden at all? An ensemble classifier on the colour rich model judges crops of covers and stego images.

Needs sealwatch (features and classifier) and conseal (other ways to hide, as positive controls).
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from pirnet.data import Pair
from pirnet.model import LIH
from pirnet.pixels import to_uint8
from pirnet.support.files import atomic_path
from pirnet.support.progress import progress_bar

from reproduce.security_pipeline import degraded, fresh_key, hidden

PACKAGES = ("sealwatch", "conseal")
COVER = "cover"
CROP = 192  # side of an image that is judged, in pixels
RATE = 0.4  # bits a pixel of the controls
SUBSPACE, LEARNERS = 200, 51  # features of each learner of the ensemble, and their number
Image = np.ndarray
Hide = Callable[[Pair, int], Image]
"""Hides in a pair's cover; the number sets noise and key. Returns the stego image (H, W, 3) in uint8."""


def available() -> bool:
    """Whether the packages are installed."""
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def package(name: str) -> ModuleType:
    """One of the packages. sealwatch imports torchvision for detectors that are not used here: it may be missing."""
    if name == "sealwatch" and not importlib.util.find_spec("torchvision"):
        transforms = ModuleType("torchvision.transforms")
        transforms.Grayscale = object  # type: ignore[attr-defined]  # sealwatch derives a class from it
        parent = ModuleType("torchvision")
        parent.transforms = transforms  # type: ignore[attr-defined]
        sys.modules.update({"torchvision": parent, "torchvision.transforms": transforms})
        try:
            return importlib.import_module(name)
        finally:
            for module in ("torchvision", "torchvision.transforms"):
                del sys.modules[module]
    return importlib.import_module(name)


def crops_of(pairs: Sequence[Pair], *, crop: int = CROP) -> list[Pair]:
    """The middle of every pair, and of the same pairs swapped: each photo is a cover once."""
    middles = [pair.cropped(crop) for pair in pairs]
    return [each for pair in middles for each in (pair, pair.swapped())]


def controls() -> dict[str, Hide]:
    """Known ways to hide random bits, 0.4 a pixel and channel."""
    conseal = package("conseal")

    def in_every_channel(embed: Callable[[Image, int], Image]) -> Hide:
        def hide(pair: Pair, number: int) -> Image:
            channels = [embed(channel, 3 * number + i) for i, channel in enumerate(to_uint8(pair.cover).numpy())]
            return np.stack(channels, axis=-1)

        return hide

    ways = {
        "LSB replacement": lambda x, seed: conseal.lsb.simulate(x, RATE, modify=conseal.LSB_REPLACEMENT, seed=seed),
        "LSB matching": lambda x, seed: conseal.lsb.simulate(x, RATE, modify=conseal.LSB_MATCHING, seed=seed),
        "HILL": lambda x, seed: conseal.hill.simulate_single_channel(x, RATE, seed=seed),
    }
    return {f"{name}, {RATE} bit": in_every_channel(embed) for name, embed in ways.items()}


def hiding_with(lih: LIH, *, block: int | None, tasks: Sequence[str]) -> Hide:
    """Hides as PIRNet's client does; the secrets have the damage of the tasks in turn."""

    @torch.no_grad()
    def hide(pair: Pair, number: int) -> Image:
        secret = degraded(pair.secret[None], tasks[number % len(tasks)], number)
        stego = hidden(lih, pair.cover[None], secret, key=fresh_key(-2, number), block=block)
        return to_uint8(stego[0]).permute(1, 2, 0).numpy()

    return hide


def unchanged(pair: Pair, _number: int) -> Image:
    """The cover itself."""
    return to_uint8(pair.cover).permute(1, 2, 0).numpy()


def features_of(hide: Hide, pairs: Sequence[Pair], *, file: Path, name: str) -> np.ndarray:
    """The colour rich model (pairs, 2073) of one kind of image, kept in a file, which a later call continues."""
    extract = package("sealwatch").crm.extract
    rows = list(np.load(file)) if file.is_file() else []
    with progress_bar(total=len(pairs), initial=len(rows), desc=f"features, {name}", unit="image") as bar:
        for number in range(len(rows), len(pairs)):
            found = extract(np.ascontiguousarray(hide(pairs[number], number)))
            rows.append(np.concatenate([np.ravel(found[key]) for key in sorted(found)]).astype(np.float32))
            if number % 16 == 15 or number == len(pairs) - 1:
                with atomic_path(file) as temporary, temporary.open("wb") as out:
                    np.save(out, np.stack(rows))
            bar.update()
    return np.stack(rows[: len(pairs)])


def accuracy(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """The share of images that an ensemble of Fisher discriminants judges rightly; guessing is right on half of them.

    Args:
        train: Features of covers and of stego images to train on, (pairs, features) each.
        test: The same of other photos.
    """
    ensemble = package("sealwatch").ensemble_classifier
    stacked = np.concatenate(train)
    useful = stacked.std(axis=0) > 0  # constant features make the scatter singular
    mean, std = stacked[:, useful].mean(axis=0), stacked[:, useful].std(axis=0)
    cover, stego, *tests = (np.ascontiguousarray((x[:, useful] - mean) / std) for x in (*train, *test))
    subspace = min(SUBSPACE, cover.shape[1])
    trainer = ensemble.FldEnsembleTrainer(cover, stego, seed=1, verbose=0, L=LEARNERS, d_sub=subspace)
    classifier, _ = trainer.train()
    return float(np.mean([np.mean(classifier.predict(x) == label) for x, label in zip(tests, (-1, 1), strict=True)]))


def detection(
    kinds: Mapping[str, Hide],
    train: Sequence[Pair],
    test: Sequence[Pair],
    *,
    counts: Sequence[int],
    transfers: Sequence[tuple[str, str]],
    folder: Path,
) -> list[dict[str, object]]:
    """The accuracy for each kind of stego image and each number of pairs of cover and stego to train on.

    Args:
        kinds: Ways to hide, by name.
        train: Crops to train on.
        test: Crops of other photos to judge.
        counts: Numbers of pairs, at most as many as there are in `train`.
        transfers: Kinds to train on, with the kind that is then judged.
        folder: The folder of the features, which are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every, features = [*train, *test], {}
    for number, (name, hide) in enumerate({COVER: unchanged, **kinds}.items()):
        features[name] = features_of(hide, every, file=folder / f"{number}.npy", name=name)
    rows = []
    for trained_on, judged in [*((name, name) for name in kinds), *transfers]:
        for count in counts:
            learn = tuple(features[name][:count] for name in (COVER, trained_on))
            judge = tuple(features[name][len(train) :] for name in (COVER, judged))
            figures = {"pairs": count, "judged": len(test), "accuracy": round(accuracy(learn, judge), 4)}  # type: ignore[arg-type]
            rows.append({"trained_on": trained_on, "stego": judged, **figures})
    return rows
