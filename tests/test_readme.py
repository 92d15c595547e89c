"""The tables of the README hold the measured figures, however old; nothing is measured here."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
HAAR = "Haar, 1x3x1024x1024, {}"


def rows(report: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{report}-cpu.json").read_text())["rows"]


def training_line(label: str, name: str) -> str:
    """What a training step holds and takes, and how far off the inverse is, as a line of the first table."""
    found = rows("invertible")
    row = found[name]
    held = " / ".join(f"{row[f'memory, {pairs}']['held_mb']:.1f}" for pairs in (24, 96))
    errors = [row[f"round trip, 24, x1, {dtype}"] for dtype in ("float32", "bfloat16")]
    shown = "no inverse" if isinstance(errors[0], str) else " / ".join(f"{error:.2g}" for error in errors)
    return f"| {label} | {held} MB | {row['seconds'] / found['plain loop']['seconds']:.2f} | {shown} |"


def haar_line(label: str, name: str) -> str:
    """What each pass of the Haar transform takes, as a line of the second table."""
    row = rows("wavelets")[HAAR.format("contiguous")][name]
    passes = [row[which] for which in ("forward", "inverse", "forward + backward")]
    shown = ["no gradient" if isinstance(value, str) else f"{value:.1f}" for value in passes]
    return f"| {label} | {' | '.join(shown)} |"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ('liftlayers, `memory="reversible"`', "liftlayers, reversible"),
        ("liftlayers, `exact`", "liftlayers, exact"),
        ("MemCNN", "MemCNN"),
        ("revlib", "revlib"),
        ("FrEIA", "FrEIA"),
    ],
)
def test_training_table_shows_the_figures(label: str, name: str) -> None:
    assert training_line(label, name) in README.splitlines()


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("liftlayers", "liftlayers"),
        ("FrEIA", "FrEIA"),
        ("ptwt", "ptwt (periodic)"),
        ("pytorch_wavelets", "pytorch_wavelets (periodization)"),
        ("PyWavelets", "PyWavelets (periodization)"),
    ],
)
def test_haar_table_shows_the_figures(label: str, name: str) -> None:
    assert haar_line(label, name) in README.splitlines()


def test_what_is_said_of_the_faster_ones_holds() -> None:
    training, haar = rows("invertible"), rows("wavelets")[HAAR.format("channels last")]
    ours = training["liftlayers, reversible"]
    assert training["revlib"]["seconds"] < ours["seconds"]
    assert training["MemCNN"]["memory, 96"]["held_mb"] < ours["memory, 96"]["held_mb"]
    theirs, our_forward = haar["FrEIA"]["forward"], haar["liftlayers"]["forward"]
    assert theirs < our_forward
    assert f"{theirs:.1f} against our {our_forward:.1f}" in " ".join(README.split())
