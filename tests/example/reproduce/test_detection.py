"""The ensemble classifier on the colour rich model; skipped without sealwatch and conseal, which are optional."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pirnet.data import Pair
from pirnet.model import LIH
from pirnet.support.photos import Photos
from reproduce import detection

from liftlayers.testing import randomise_
from tests.example.helpers import smooth_image, tiny

needs_packages = pytest.mark.skipif(not detection.available(), reason="needs sealwatch and conseal")


def pair(number: int, side: int = 24) -> Pair:
    secret, cover = (0.2 + 0.6 * smooth_image(seed, side, side) for seed in (2 * number, 2 * number + 1))
    return Pair(f"{2 * number}", f"{2 * number + 1}", secret, cover)


def test_every_photo_is_a_cover_once() -> None:
    crops = detection.crops_of([pair(0), pair(1)], crop=16)
    assert [each.cover_name for each in crops] == ["1", "0", "3", "2"]
    assert all(each.cover.shape == each.secret.shape == (3, 16, 16) for each in crops)
    assert len(Photos(tuple(each.cover_name for each in crops), tuple(torch.zeros(3, 2, 2).byte() for _ in crops))) == 4


def test_hiding_differs_from_pair_to_pair_and_is_repeatable() -> None:
    """The stego image is in 8 bit and depends on the number of the pair, which sets noise and key."""
    hide = detection.hiding_with(randomise_(LIH(tiny().lih)), block=8, tasks=("denoise",))
    first, again, other = (hide(pair(0), number) for number in (0, 0, 1))
    assert first.shape == (24, 24, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@needs_packages
def test_controls_change_few_pixels_by_one_level() -> None:
    cover = detection.unchanged(pair(0), 0)
    for hide in detection.controls().values():
        change = np.abs(hide(pair(0), 0).astype(int) - cover)
        assert change.max() == 1
        assert 0.01 < change.mean() < 0.3


@needs_packages
def test_what_differs_is_detected() -> None:
    """The classifier separates distributions that differ, and guesses where they are equal."""
    draws = np.random.default_rng(0)
    cover, other = draws.normal(size=(8, 50)), draws.normal(size=(20, 50))
    assert detection.accuracy((cover, cover + 1), (other, other + 1)) == 1
    assert detection.accuracy((cover, cover + 1), (other, other)) == 0.5


@needs_packages
def test_detection_continues_with_kept_features(tmp_path: Path) -> None:
    """Features are measured once; the rows name what the classifier was trained on and what it judged."""
    pairs = [pair(number, 32) for number in range(4)]
    calls = []

    def noisy(each: Pair, number: int) -> np.ndarray:
        calls.append(number)
        noise = np.random.default_rng(number).integers(-9, 10, (32, 32, 3))
        return (detection.unchanged(each, number) + noise).clip(0, 255).astype(np.uint8)

    def measured() -> list[dict[str, object]]:
        kinds, transfers = {"noise": noisy, "the same": noisy}, [("noise", "the same")]
        return detection.detection(kinds, pairs[:2], pairs[2:], counts=(2,), transfers=transfers, folder=tmp_path)

    rows = measured()
    assert measured() == rows
    assert calls == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [(row["trained_on"], row["stego"], row["pairs"], row["judged"]) for row in rows] == [
        ("noise", "noise", 2, 2),
        ("the same", "the same", 2, 2),
        ("noise", "the same", 2, 2),
    ]
    assert all(row["accuracy"] == 1 for row in rows)
