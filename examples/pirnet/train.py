"""Trains PIRNet: hiding (LIH), then restoring (LSR), then both together.

    python examples/pirnet/train.py                                 five minutes on two cores, no download
    python examples/pirnet/train.py --data PHOTOS --preset paper    the paper's networks on a folder of photos

Writes config.json, log.jsonl, the weights lih.safetensors (the client's key) and lsr.safetensors (the cloud's),
summary.json and a comparison sheet a task into a new folder under runs/. Ctrl-C stops after the step at hand and leaves
usable weights; --resume goes on as if nothing had happened.
"""

import dataclasses
import json
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from pirnet import doors, evaluation, runs
from pirnet.checkpoint import CheckpointError, load_state
from pirnet.config import PRESETS, Config, from_dict, quick, scaled
from pirnet.data import Pair, evaluation_pairs
from pirnet.engine import Trainer
from pirnet.photos import Photos, bundled_photos, hold_out, read_folder
from tqdm import tqdm

import liftlayers

HELD_OUT = ("astronaut", "chelsea")  # of the bundled photos


@dataclass(frozen=True)
class Options:
    """What to train, on what, and where to."""

    config: Annotated[Config, tyro.conf.arg(name="")] = dataclasses.field(default_factory=quick)
    data: Path | None = None
    """Folder of photos; without one, the colour photos inside scikit-image."""
    held_out: int = 2
    """Photos of the folder, the last by name, to keep for the evaluation."""
    out: Path | None = None
    """Folder to write; without one, a new one under runs/, named after the preset."""
    steps: int | None = None
    """Steps of all three stages together, shared out as in the preset."""
    minutes: float | None = None
    """Stop cleanly after so many minutes; --resume goes on."""
    device: str = "auto"
    """Where to train: cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""
    resume: bool = False
    """Go on with the run in --out, or with the latest one."""
    log_every: int = 10
    """Steps between two lines of log.jsonl."""


def main() -> None:
    started = time.monotonic()
    options = parse()
    config = options.config if options.steps is None else scaled(options.config, options.steps)
    device = doors.device(options.device)
    photos, pairs = read_photos(options, multiple=2**config.lsr.num_scales)
    trainer = Trainer(config, photos, device=device)
    folder = open_folder(options, trainer)
    names = sorted({name for pair in pairs for name in (pair.secret_name, pair.cover_name)})
    evaluation.write_json(
        folder / "config.json",
        {
            "config": dataclasses.asdict(config),
            "data": None if options.data is None else str(options.data),
            "held_out": options.held_out,
            "photos": {"train": photos.names, "held_out": names},
            "device": str(device),
            "versions": {
                "liftlayers": liftlayers.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        },
    )
    print(f"{config.preset}: {trainer.total} steps on {len(photos)} photos, {device}; writing {folder}")
    stop = runs.Stop(options.minutes)
    with stop.on_interrupt():
        train(trainer, folder, stop=stop, log_every=options.log_every)
    if trainer.step < trainer.total:
        print(f"stopped after step {trainer.step} of {trainer.total}; go on with --resume --out {folder}")
        return
    rows, first = evaluation.evaluate(trainer.model, pairs, device=device)
    data = "scikit-image" if options.data is None else str(options.data)
    evaluation.save_sheets(folder, first)
    evaluation.write_json(folder / "summary.json", evaluation.summary(rows, data=data, pairs=pairs))
    print(f"\nheld-out photos ({', '.join(names)}; {len(pairs)} pairs), everything in {config.stego}:\n")
    print(evaluation.table(rows))
    print(f"\n{time.monotonic() - started:.0f} s; look at {folder / 'result.webp'} and {folder}/*.png")


def train(trainer: Trainer, folder: Path, *, stop: runs.Stop, log_every: int) -> None:
    """Takes steps until all are done or it is time to stop, then saves; the log is flushed line by line."""
    with (
        (folder / "log.jsonl").open("a") as log,
        tqdm(total=trainer.total, initial=trainer.step, unit="step", dynamic_ncols=True) as bar,
    ):
        while trainer.step < trainer.total and not stop:
            begun = time.monotonic()
            row = trainer.take_step()
            bar.update()
            if trainer.step % log_every == 0 or trainer.step == trainer.total:
                bar.set_description(f"stage {row['stage']}", refresh=False)
                bar.set_postfix_str(headline(row))
                print(evaluation.to_json(row | {"seconds": round(time.monotonic() - begun, 4)}), file=log, flush=True)
            if trainer.step % trainer.config.train.save_every == 0:
                runs.save(trainer, folder)
        runs.save(trainer, folder)


def headline(row: dict[str, object]) -> str:
    """Loss and PSNRs of a step for the progress bar."""
    shown = {"loss": "loss", "stego_psnr": "stego", "revealed_psnr": "reveal", "restored_stego_psnr": "restored stego"}
    shown["restored_psnr"] = "restored"
    return ", ".join(
        f"{name} {row[key]:.4f}" if key == "loss" else f"{name} {row[key]:.1f}"
        for key, name in shown.items()
        if key in row
    )


def parse() -> Options:
    """Reads the command line on top of a preset, or on top of the run that is to go on."""
    default = Options(config=PRESETS[doors.peek("--preset", tuple(PRESETS)) or "quick"]())
    if "--resume" in sys.argv[1:]:
        folder = Path(out) if (out := doors.peek("--out")) else runs.latest_run(runs.CHECKPOINT)
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"no run in {folder}: there is nothing to resume")
        try:
            run = json.loads((folder / "config.json").read_text())
            default = dataclasses.replace(
                default,
                config=from_dict(Config, run["config"]),
                out=folder,
                data=None if run["data"] is None else Path(run["data"]),
                held_out=run["held_out"],
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / 'config.json'} is damaged or of another version: {error}") from error
    return doors.parse(Options, __doc__, default=default)


def read_photos(options: Options, *, multiple: int) -> tuple[Photos, list[Pair]]:
    """Photos to train on, and the pairs of those that are held out."""
    if options.data is None:
        photos, held_out = bundled_photos(), HELD_OUT
    else:
        photos = read_folder(options.data, min_size=options.config.train.crop)
        if not 2 <= options.held_out <= len(photos) - 2:
            raise ValueError(
                f"--held-out needs 2 to {len(photos) - 2} of the {len(photos)} photos in {options.data}, "
                f"got {options.held_out}"
            )
        held_out = photos.names[-options.held_out :]
    photos, kept = hold_out(photos, held_out)
    return photos, evaluation_pairs(kept, multiple=max(16, multiple))


def open_folder(options: Options, trainer: Trainer) -> Path:
    """Makes the run's folder, or takes up the run that is in it."""
    folder = options.out or runs.new_run(trainer.config.preset)
    if options.resume:
        trainer.load_state_dict(load_state(folder / runs.CHECKPOINT))
        runs.trim_log(folder / "log.jsonl", trainer.step)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty: go on with --resume, or name another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    doors.run(main)
