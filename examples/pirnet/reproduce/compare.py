"""Trains and measures the paper's systems side by side, each for the same minutes: its Tables 1, 2 and 3.

    python examples/pirnet/reproduce/compare.py                # Table 1, in twenty minutes
    python examples/pirnet/reproduce/compare.py --table 2 --minutes 5        # K = 1, 2, 3
    python examples/pirnet/reproduce/compare.py --budget day --data PHOTOS --device cuda

Writes results.json, results.md and comparison.png into a folder, after every row. A row that is there is not trained
again: Ctrl-C loses the row at hand, and the same command goes on. The minutes mean something on one machine alone, so
a folder of rows is refused to another one, as to other photos.
"""

import dataclasses
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))  # the folder of pirnet and reproduce

import torch
import tyro
from pirnet.config import PRESETS
from pirnet.data import Pair
from pirnet.evaluation import write_json
from pirnet.images import atomic_path
from pirnet.support import cli, runs
from pirnet.support.folder_pairs import FolderPairs
from pirnet.support.photo_cache import cache_folder
from pirnet.support.photos import Photos
from pirnet.support.precision import chosen_precision

import liftlayers
from reproduce.budget import BUDGETS, Budget
from reproduce.comparison import Entry, compare, entries, read_rows
from reproduce.comparison_report import markdown, progress, save_plots
from reproduce.photo_sources import photos_and_pairs


@dataclass(frozen=True)
class Options:
    """Which table, on what, and for how long."""

    allowed: Annotated[Budget, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Budget)
    table: Literal[1, 2, 3] = 1
    """Table of the paper: 1 all systems, 2 scales of LSR, 3 reversible or not."""
    rows: tuple[str, ...] = ()
    """Rows to take, such as denoise-pirnet; without one, all of the table."""
    data: tuple[Path, ...] = ()
    """Folders of photos to train on; without one, the colour photos inside scikit-image but two."""
    test: Path | None = None
    """Folder of photos to test on, none of which was trained on; without one, those two."""
    cache: Path = dataclasses.field(default_factory=cache_folder)
    """Folder for decoded photos, 3 bytes a pixel."""
    out: Path | None = None
    """Folder to write, or to go on in; without one, runs/table-1, -2 or -3."""
    device: str = "auto"
    """Where to train: cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""


def main() -> None:
    budget = BUDGETS[cli.peek("--budget", tuple(BUDGETS)) or "tiny"]
    options = cli.parse(Options, __doc__, default=Options(allowed=budget))
    device = cli.device(options.device)
    chosen = choose(entries(options.table), options.rows)
    allowed = options.allowed
    photos, pairs = photos_and_pairs(
        options.data, options.test, cache=options.cache, crop=allowed.crop, limit=allowed.pairs
    )
    settings = settings_of(options, photos, pairs, device)
    folder = options.out or runs.RUNS / f"table-{options.table}"
    rows = read_rows(folder / "rows", settings)
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    print(headline(options, settings), f"writing {folder}", sep="\n")
    waiting = [entry for entry in chosen if entry.name not in rows]
    for entry in waiting:
        row = compare(entry, options.allowed, photos=photos, pairs=pairs, device=device)
        write_json(folder / "rows" / f"{entry.name}.json", row | {"settings": settings})
        rows = read_rows(folder / "rows", settings)
        save(folder, options, settings, rows)
        print(f"\n{progress(chosen, rows)}", flush=True)
    if not waiting:
        save(folder, options, settings, rows)
    print(f"\n{len(rows)} of {len(entries(options.table))} rows; look at {folder / 'results.md'}")


def choose(table: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries of those names, in the table's order; all of them without a name."""
    if unknown := sorted(set(names) - {entry.name for entry in table}):
        known = ", ".join(entry.name for entry in table)
        raise ValueError(f"--rows needs names among {known}, got {', '.join(unknown)}")
    return [entry for entry in table if not names or entry.name in names]


def settings_of(
    options: Options, photos: Photos, pairs: Sequence[Pair] | FolderPairs, device: torch.device
) -> dict[str, object]:
    """What all rows of a folder have in common: what they are compared by."""
    names = (
        pairs.names
        if isinstance(pairs, FolderPairs)
        else [{"secret": p.secret_name, "cover": p.cover_name} for p in pairs]
    )
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "table": options.table,
        "budget": asdict(options.allowed),
        "photos": list(photos.names),
        "pairs": [[name["secret"], name["cover"]] for name in names],
        "machine": {
            "device": device.type,
            "kind": kind,
            "threads": torch.get_num_threads(),
            "precision": chosen_precision(PRESETS[options.allowed.preset]().train.precision, device),
            "torch": torch.__version__,
            "liftlayers": liftlayers.__version__,
        },
    }


def headline(options: Options, settings: Mapping) -> str:
    """The comparison in a line: what was spent on which machine."""
    machine, budget = settings["machine"], options.allowed
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    where = f"{machine['device']} ({machine['kind']}), {threads}, {machine['precision']}, torch {machine['torch']}"
    return f"Table {options.table}, budget {budget.budget}: {budget.minutes:g} minutes of training a row on {where}"


def notes(options: Options, settings: Mapping) -> list[str]:
    """What a reader of the figures must know."""
    budget, pairs = options.allowed, len(settings["pairs"])
    trained_on = ", ".join(map(str, options.data)) or "the colour photos inside scikit-image, but those tested on"
    tested_on = f"the photos of {options.test}" if options.test else "two photos inside scikit-image"
    lines = [
        f"{headline(options, settings)}. Time is equal, sizes are not; so short a training ranks who learns fast.",
        f"Trained on {len(settings['photos'])} photos ({trained_on}) with crops of {budget.crop} and batches of "
        f"{budget.batch_size}, the same for every row of a task. Every row, PIRNet's too, is trained on its task "
        "alone, at the degradation of the test, in three stages of 4, 3 and 3 tenths of the time.",
        f"Tested on {pairs} pairs of {tested_on}, centre crops of at most {budget.side}, stego images in 8 bit.",
    ]
    if options.table == 1:
        lines.append(f"PIRNet has the networks of preset {budget.preset}, the others those of their papers.")
        lines.append("In the clear: PIRNet's restorer, trained and tested on degraded photos themselves.")
    else:
        lines.append(f"The networks are PIRNet's of preset {budget.preset}.")
    if options.table == 3:
        lines.append(
            "Not reversible: every block is fed its chain's own input, and the last one's output counts, as in the "
            "released code."
        )
    return lines


def save(folder: Path, options: Options, settings: Mapping[str, object], rows: Mapping[str, dict]) -> None:
    """Writes what there is so far, in the table's order."""
    table = entries(options.table)
    results = {
        "table": options.table,
        "headline": headline(options, settings),
        "notes": notes(options, settings),
        "settings": settings,
        "rows": [{k: v for k, v in rows[e.name].items() if k != "settings"} for e in table if e.name in rows],
        "to_come": [entry.name for entry in table if entry.name not in rows],
    }
    write_json(folder / "results.json", results)
    with atomic_path(folder / "results.md") as temporary:
        temporary.write_text(markdown(results))
    save_plots(folder / "comparison.png", results)


if __name__ == "__main__":
    cli.run(main)
