"""Trains and measures the paper's systems, each for the same minutes: the paper's Tables 1, 2 and 3.

    python examples/pirnet/reproduce/compare.py                # Table 1, in twenty minutes
    python examples/pirnet/reproduce/compare.py --table 2 --minutes 5        # K = 1, 2, 3
    python examples/pirnet/reproduce/compare.py --budget day --data PHOTOS --device cuda

Writes results.json, results.md and comparison.png into a folder, after every row. A row that is already there is not
trained again: Ctrl-C loses only the current row, and the same command continues. Minutes can be compared on one
machine only, so a folder with rows is refused on another machine, and with other photos.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))  # the folder of pirnet and reproduce

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)
import tyro
from pirnet.support import cli, places

from reproduce.budget import BUDGETS, Budget
from reproduce.photo_sources import PhotoOptions


@dataclass(frozen=True)
class Options(PhotoOptions):
    """Which table, on which photos, and for how long."""

    allowed: Annotated[Budget, tyro.conf.arg(name="")] = field(default_factory=Budget)
    table: Literal[1, 2, 3] = 1
    """Table of the paper: 1 all systems, 2 scales of LSR, 3 reversible or not."""
    rows: tuple[str, ...] = ()
    """Rows to train, such as denoise-pirnet; all rows of the table if none is named."""
    out: Path | None = None
    """Folder to write, or to continue in; by default runs/table-1, -2 or -3."""


def parse() -> Options:
    """The options on the command line; their defaults are those of the budget."""
    budget = BUDGETS[cli.peek("--budget", tuple(BUDGETS)) or "tiny"]
    return cli.parse(Options, __doc__, default=Options(allowed=budget))


read_options = cli.read_early(__name__, parse)

import torch
from pirnet.config import PRESETS
from pirnet.data import Pair
from pirnet.support import files, precision
from pirnet.support.photos import Photos
from pirnet.support.text import counted, file_name

from reproduce.comparison import Entry, compare, entries, read_rows
from reproduce.comparison_report import markdown, progress, save_plots


def main() -> None:
    options = read_options()
    device, budget = cli.device(options.device), options.allowed
    chosen = choose(entries(options.table), options.rows)
    photos, pairs = options.photos_and_pairs(crop=budget.crop, limit=budget.pairs)
    settings = settings_of(options, photos, pairs, device)
    folder = options.out or places.RUNS / f"table-{options.table}"
    rows = read_rows(folder / "rows", settings)
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    print(headline(options, settings), f"writing {folder}", sep="\n")
    for entry in [entry for entry in chosen if entry.name not in rows]:
        row = compare(entry, budget, photos=photos, pairs=pairs, device=device)
        files.write_json(folder / "rows" / f"{entry.name}.json", row | {"settings": settings})
        rows = read_rows(folder / "rows", settings)
        save(folder, options, settings, rows)
        print(f"\n{progress(chosen, rows)}", flush=True)
    save(folder, options, settings, rows)
    print(f"\n{len(rows)} of {counted(len(entries(options.table)), 'row')}; look at {folder / 'results.md'}")


def choose(table: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries of those names, in the order of the table; all of them if no name is given."""
    if unknown := sorted(set(names) - {entry.name for entry in table}):
        known = ", ".join(entry.name for entry in table)
        raise ValueError(f"--rows needs names among {known}, got {', '.join(unknown)}")
    return [entry for entry in table if not names or entry.name in names]


def settings_of(options: Options, photos: Photos, pairs: Sequence[Pair], device: torch.device) -> dict[str, object]:
    """The settings that all rows of a folder share."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "table": options.table,
        "budget": asdict(options.allowed),
        "photos": list(photos.names),
        "pairs": [[pair.secret_name, pair.cover_name] for pair in pairs],
        "machine": {
            "device": device.type,
            "kind": kind,
            "threads": torch.get_num_threads(),
            "precision": precision.chosen_precision(PRESETS[options.allowed.preset]().train.precision, device),
            **{name: version for name, version in files.versions().items() if name != "python"},
        },
    }


def headline(options: Options, settings: Mapping) -> str:
    """The comparison in one line: how long, and on which machine."""
    machine, budget = settings["machine"], options.allowed
    threads = counted(machine["threads"], "thread")
    where = f"{machine['device']} ({machine['kind']}), {threads}, {machine['precision']}, torch {machine['torch']}"
    minutes = counted(budget.minutes, "minute")
    return f"Table {options.table}, budget {budget.budget}: {minutes} of training a row on {where}"


def notes(options: Options, settings: Mapping) -> list[str]:
    """What a reader needs to know about the figures."""
    budget = options.allowed
    bundled = "the colour photos inside scikit-image without those tested on"
    trained_on = ", ".join(map(file_name, options.data)) or bundled
    tested_on = f"the photos of {file_name(options.test)}" if options.test else "two photos inside scikit-image"
    lines = [
        f"{headline(options, settings)}. All rows train for the same time, with networks of different sizes. After so "
        "short a training, the ranking shows which network learns fastest, not which is best.",
        f"Trained on {len(settings['photos'])} photos ({trained_on}) with crops of {budget.crop} and batches of "
        f"{budget.batch_size}, the same for every row of a task. Every row, also PIRNet's, is trained on its task "
        "alone, at the degradation of the test, in three stages of 4, 3 and 3 tenths of the time.",
        f"Tested on {counted(len(settings['pairs']), 'pair')} of {tested_on}, centre crops of at most {budget.side}, "
        "stego images in 8 bit.",
    ]
    if options.table == 1:
        lines.append(f"PIRNet has the networks of preset {budget.preset}, the others those of their papers.")
        lines.append("In the clear: PIRNet's restorer, trained and tested on the degraded photos themselves.")
    else:
        lines.append(f"The networks are PIRNet's of preset {budget.preset}.")
    if options.table == 3:
        block = "every block gets the input of the chain, and only the output of the last block is used"
        lines.append(f"Not reversible: {block}, as in the released code.")
    return lines


def save(folder: Path, options: Options, settings: Mapping[str, object], rows: Mapping[str, dict]) -> None:
    """Writes the rows so far, in the order of the table."""
    table = entries(options.table)
    results = {
        "table": options.table,
        "headline": headline(options, settings),
        "notes": notes(options, settings),
        "settings": settings,
        "rows": [rows[entry.name] for entry in table if entry.name in rows],
        "to_come": [entry.name for entry in table if entry.name not in rows],
    }
    files.write_json(folder / "results.json", results)
    files.write_text(folder / "results.md", markdown(results))
    save_plots(folder / "comparison.png", results)


if __name__ == "__main__":
    cli.run(main)
