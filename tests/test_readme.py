"""The tables of the README hold the measured figures, however old; nothing is measured here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liftlayers.functional import wavelets

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMING_FROM = (ROOT / "docs" / "coming-from.md").read_text()
HAAR = "Haar, 1x3x1024x1024, {}"
PEERS = ("FrEIA", "MemCNN", "revlib", "ptwt", "pytorch_wavelets")
WAVELETS = {"ptwt": "ptwt (periodic)", "pytorch_wavelets": "pytorch_wavelets (periodization)"}


def rows(report: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{report}-cpu.json").read_text())["rows"]


def shown(value: object, digits: str) -> str:
    return "" if value is None else "no inverse" if isinstance(value, str) else f"{value:{digits}}"


def lines() -> Iterator[list[str]]:
    """The README's table, from the figures."""
    training, haar = rows("invertible"), rows("wavelets")[HAAR.format("contiguous")]
    ours, exact = training["liftlayers, reversible"], training["liftlayers, exact"]
    stacks = [ours, *(training.get(name) for name in PEERS)]
    wavelets = [haar["liftlayers"], *(haar.get(WAVELETS.get(name, name)) for name in PEERS)]
    yield ["", "liftlayers", *PEERS]
    yield ["---"] * (len(PEERS) + 2)
    held = [[shown(row and row[f"memory, {pairs}"]["held_mib"], ".1f") for pairs in (24, 96)] for row in stacks]
    yield ["memory held, 24 / 96 pairs, MiB", *(" / ".join(filter(None, both)) for both in held)]
    steps = [row and row["seconds"] / training["plain loop"]["seconds"] for row in stacks]
    yield ["training step, relative time", *(shown(value, ".2f") for value in steps)]
    for dtype in ("float32", "bfloat16"):
        key = f"round trip, 24, x1, {dtype}"
        first, *others = [shown(row and row[key], ".2g") for row in stacks]
        yield [f"inverse error, {dtype}", f"{first}, `exact` {shown(exact[key], '.2g')}", *others]
    for which in ("forward", "forward + backward"):
        yield [f"Haar {which}, relative time", *(shown(row and row[which], ".1f") for row in wavelets)]


def test_the_table_shows_the_figures() -> None:
    assert "\n".join(f"| {' | '.join(line)} |" for line in lines()) in README


def test_the_number_of_wavelets_is_that_of_the_list() -> None:
    count = len(wavelets())
    assert f"| wavelets | {count} |" in README
    assert f"{count} named wavelets" in README
    assert f"| 106 discrete wavelets | {count}: {count - 2} under the same names" in COMING_FROM


def test_what_is_said_of_the_faster_ones_holds() -> None:
    training, haar = rows("invertible"), rows("wavelets")[HAAR.format("channels last")]
    ours = training["liftlayers, reversible"]
    assert training["revlib"]["seconds"] > ours["seconds"]  # at 64 x 64; else the README has to say so
    more = {  # time of revlib, relative to ours
        size: [100 * (training["revlib"][key] / ours[key] - 1) for key in ours if key.startswith(f"seconds, {size},")]
        for size in (8, 64)
    }
    sentence = f"On images of 8 x 8, revlib's training step takes up to {-min(more[8]):.0f} % less time than ours; on "
    sentence += f"images of 64 x 64, between {-min(more[64]):.0f} % less and {max(more[64]):.0f} % more"
    assert sentence in " ".join(README.split())
    exact = training["liftlayers, exact"]["seconds"] / training["plain loop"]["seconds"]
    assert f"`exact` takes {exact:.2f}x the time of a plain loop" in README
    theirs, our_memory = training["MemCNN"]["memory, 96"], ours["memory, 96"]
    assert theirs["held_mib"] < our_memory["held_mib"]
    assert f"its peak is higher ({theirs['peak_mib']:.1f} against {our_memory['peak_mib']:.1f} MiB)" in README
    theirs, our_forward = haar["FrEIA"]["forward"], haar["liftlayers"]["forward"]
    assert theirs < our_forward
    assert f"{theirs:.1f} against our {our_forward:.1f}" in " ".join(README.split())
