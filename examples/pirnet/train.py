"""Trains PIRNet: hiding (LIH), then restoring (LSR), then both together.

    python examples/pirnet/train.py                    # four to ten minutes on two cores
    python examples/pirnet/train.py --data PHOTOS --preset paper     # for a GPU

Writes config.json, log.jsonl, the weights lih.safetensors (the client's key) and lsr.safetensors (the cloud's),
summary.json and a comparison sheet a task into a new folder under runs/. Ctrl-C stops after the step at hand; --resume
goes on as if nothing had happened. --help-all shows more options, such as every field of a preset.
"""

import dataclasses
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from pirnet import evaluation
from pirnet.config import (
    PRESETS,
    Config,
    LIHConfig,
    LossConfig,
    LSRConfig,
    TrainConfig,
    cleared,
    from_dict,
    quick,
    scaled,
)
from pirnet.data import Pair, evaluation_pairs
from pirnet.degrade import Degradation
from pirnet.support import cli, distributed, runs
from pirnet.support.photo_cache import cache_folder, cached_photos
from pirnet.support.photos import HELD_OUT, Photos, bundled_photos, hold_out, joined
from pirnet.support.progress import progress_bar
from pirnet.support.registry import suited
from pirnet.support.training_log import Log
from pirnet.trainer import Trainer
from pirnet.weights import CheckpointError, load_state

import liftlayers

KEPT = ("accumulate", "workers", "compile", "log_every", "sheets_every", "tensorboard")  # by --resume


@dataclass(frozen=True)
class Options:
    """What to train, on what, and where to."""

    config: Annotated[Config, tyro.conf.arg(name="")] = dataclasses.field(default_factory=quick)
    data: tuple[Path, ...] = ()
    """Folders of photos; without one, the colour photos inside scikit-image."""
    held_out: int = 2
    """Photos of the folders, the last ones by name, to keep for the evaluation; 0 trains on all and evaluates none."""
    cache: Path = dataclasses.field(default_factory=cache_folder)
    """Folder for decoded photos, 3 bytes a pixel, so that they are decoded once and need not fit into memory."""
    out: Path | None = None
    """Folder to write; without one, a new one under runs/, named after the preset."""
    steps: int | None = None
    """Steps of all three stages together, shared out as in the preset."""
    minutes: float | None = None
    """Stop cleanly after so many minutes; --resume goes on, also on another machine or device."""
    device: str = "auto"
    """Where to train: cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""
    accumulate: int = 1
    """Parts of a batch, one after the other: less memory, the same but for rounding."""
    workers: int = 0
    """Processes that make batches ahead of time: the same batches, sooner."""
    compile: bool = False
    """Compile the step: minutes at the start of every stage, then faster."""
    resume: bool = False
    """Go on with the run in --out, or with the latest one."""
    log_every: int = 10
    """Steps between two lines of log.jsonl."""
    sheets_every: int = 0
    """Steps between comparison sheets of the first held-out photos, under sheets/; 0 for none but the last."""
    tensorboard: bool = False
    """Write the log for TensorBoard as well."""


@dataclass(frozen=True)
class BriefConfig(Config):
    """What `--help` shows of a config."""

    lih: tyro.conf.Suppress[LIHConfig] = dataclasses.field(default_factory=LIHConfig)
    lsr: tyro.conf.Suppress[LSRConfig] = dataclasses.field(default_factory=LSRConfig)
    loss: tyro.conf.Suppress[LossConfig] = dataclasses.field(default_factory=LossConfig)
    train: tyro.conf.Suppress[TrainConfig] = dataclasses.field(default_factory=TrainConfig)
    degradation: tyro.conf.Suppress[Degradation] = dataclasses.field(default_factory=Degradation)


@dataclass(frozen=True)
class BriefOptions(Options):
    """What `--help` shows; `--help-all` shows how a step is computed and logged, and every field of the preset."""

    config: Annotated[BriefConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=BriefConfig)
    cache: tyro.conf.Suppress[Path] = dataclasses.field(default_factory=cache_folder)
    accumulate: tyro.conf.Suppress[int] = 1
    workers: tyro.conf.Suppress[int] = 0
    compile: tyro.conf.Suppress[bool] = False
    log_every: tyro.conf.Suppress[int] = 10
    sheets_every: tyro.conf.Suppress[int] = 0
    tensorboard: tyro.conf.Suppress[bool] = False


def main() -> None:
    options = parse()
    with distributed.group(cli.device(options.device)) as device:
        run(options, device)


def run(options: Options, device: torch.device) -> None:
    """Trains, and evaluates what has come of it."""
    started = time.monotonic()
    config = cleared(options.config) if options.config.in_the_clear else options.config
    config = config if options.steps is None else scaled(config, options.steps)
    photos, pairs = read_photos(options, multiple=2**config.lsr.num_scales)
    trainer = Trainer(
        config,
        photos,
        device=device,
        accumulate=options.accumulate,
        workers=options.workers,
        compiled=options.compile,
    )
    folder = open_folder(options, trainer)
    names = sorted({name for pair in pairs for name in (pair.secret_name, pair.cover_name)})
    if distributed.rank() == 0:
        describe(options, trainer, folder, held_out=names)
        where = f"{device} in {trainer.precision}"
        print(f"{config.preset}: {trainer.total} steps on {len(photos)} photos, {where}; writing {folder}")
    stop = runs.Stop(options.minutes)
    with stop.on_interrupt():
        train(trainer, folder, pairs, stop=stop, options=options)
    if distributed.rank() > 0:
        return
    if trainer.step < trainer.total:
        print(f"stopped after step {trainer.step} of {trainer.total}; go on with --resume --out {folder}")
        return
    if skipped := trainer.guard.skipped:
        print(f"{skipped} of {trainer.total} steps were skipped, as their loss or gradient ran away: see log.jsonl")
    if not pairs or config.in_the_clear:
        judged = "; evaluate.py says how good they are" if (config.hider, config.restorer) == ("lih", "lsr") else ""
        print(f"the weights are in {folder}{judged}")
        return
    rows, first = evaluation.evaluate(trainer.average, pairs, device=device)
    data = ", ".join(map(str, options.data)) or "scikit-image"
    evaluation.save_sheets(folder, first)
    evaluation.write_json(folder / "summary.json", evaluation.summary(rows, data=data, pairs=pairs))
    print(f"\nheld-out photos ({', '.join(names)}; {len(pairs)} pairs), everything in {config.stego}:\n")
    print(evaluation.table(rows))
    print(f"\n{time.monotonic() - started:.0f} s; look at {folder / 'result.webp'} and {folder}/*.png")
    if (config.hider, config.restorer) == ("lih", "lsr"):  # which the doors take
        print(f"\nwith these weights, instead of the example's own:\n\n{commands(folder)}")


def commands(folder: Path) -> str:
    """How to use what was trained, ready to copy."""
    here = shlex.quote(str(Path(sys.argv[0]).parent))
    doors_and_files = (
        "conceal.py cover.png secret.png -o stego.png",
        "restore.py stego.png -o restored.png --task denoise",
        "reveal.py restored.png -o mended.png",
    )
    return "\n".join(f"python {here}/{door} --weights {shlex.quote(str(folder))}" for door in doors_and_files)


def train(trainer: Trainer, folder: Path, pairs: Sequence[Pair], *, stop: runs.Stop, options: Options) -> None:
    """Takes steps until all are done or it is time to stop, then saves; one process of a distributed run writes."""
    writes = distributed.rank() == 0
    with (
        Log(folder, step=trainer.step, tensorboard=options.tensorboard) if writes else nullcontext() as log,
        progress_bar(total=trainer.total, initial=trainer.step, unit="step", disable=not writes) as bar,
    ):
        if writes:
            runs.save(trainer, folder)  # before the first step too, so that --resume has something to go on with
        while trainer.step < trainer.total and not distributed.any_of(bool(stop), trainer.device):
            begun = time.monotonic()
            row = trainer.take_step()
            bar.update()
            if log is None:
                continue
            if trainer.step % options.log_every == 0 or trainer.step == trainer.total:
                bar.set_description(f"stage {row['stage']}", refresh=False)
                bar.set_postfix_str(headline(row))
                log.write(row | {"seconds": round(time.monotonic() - begun, 4)})
            if trainer.step % trainer.config.train.save_every == 0:
                runs.save(trainer, folder)
            if options.sheets_every and trainer.step % options.sheets_every == 0 and pairs:
                _, first = evaluation.evaluate(trainer.average, pairs[:1], device=trainer.device)
                sheets = folder / "sheets" / f"{trainer.step:07}"
                sheets.mkdir(parents=True, exist_ok=True)
                evaluation.save_sheets(sheets, first)
        if writes:
            runs.save(trainer, folder)


def headline(row: dict[str, object]) -> str:
    """Loss and PSNRs of a step for the progress bar, and how many steps the guard has skipped so far."""
    shown = {"loss": "loss", "stego_psnr": "stego", "revealed_psnr": "reveal", "restored_stego_psnr": "restored stego"}
    shown["restored_psnr"] = "restored"
    figures = [
        f"{name} {row[key]:.4f}" if key == "loss" else f"{name} {row[key]:.1f}"
        for key, name in shown.items()
        if key in row
    ]
    return ", ".join(figures + ([f"skipped {row['skipped']}"] if row["skipped"] else []))


def parse() -> Options:
    """Reads the command line on top of a preset, or on top of the run that is to go on."""
    preset = PRESETS[cli.peek("--preset", tuple(PRESETS)) or "quick"]()
    others = {option: name for option in ("hider", "restorer") if (name := cli.peek(f"--{option}"))}
    default = Options(config=suited(dataclasses.replace(preset, **others)))
    if "--resume" in sys.argv[1:]:
        folder = Path(out) if (out := cli.peek("--out")) else runs.latest_run(runs.CHECKPOINT)
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"no run in {folder}: there is nothing to resume")
        try:
            run = json.loads((folder / "config.json").read_text())
            default = dataclasses.replace(
                default,
                config=from_dict(Config, run["config"]),
                out=folder,
                data=tuple(map(Path, run["data"])),
                held_out=run["held_out"],
                **{name: run["options"][name] for name in KEPT},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / 'config.json'} is damaged or of another version: {error}") from error
    if "--help-all" in sys.argv[1:]:
        sys.argv[1:] = ["--help"]
    elif {"-h", "--help"} & set(sys.argv[1:]):
        own = {field.name: getattr(default.config, field.name) for field in dataclasses.fields(Config)}
        return cli.parse(BriefOptions, __doc__, default=BriefOptions(config=BriefConfig(**own)))
    return cli.parse(Options, __doc__, default=default)


def read_photos(options: Options, *, multiple: int) -> tuple[Photos, list[Pair]]:
    """Photos to train on, and the pairs of those that are held out."""
    if not options.data:
        photos, kept = hold_out(bundled_photos(), HELD_OUT)
        return photos, evaluation_pairs(kept, multiple=max(16, multiple))
    if distributed.rank() > 0:
        distributed.wait()  # while the first process fills the cache
    crop = options.config.train.crop
    photos = joined(
        options.data, [cached_photos(folder, cache=options.cache, min_size=crop) for folder in options.data]
    )
    if distributed.rank() == 0:
        distributed.wait()
    if options.held_out == 0:
        return photos, []
    folders, most = ", ".join(map(str, options.data)), len(photos) - 2
    if most < 2:
        raise ValueError(
            f"{len(photos)} photos in {folders} are too few to hold out two and train on two; --held-out 0 takes all"
        )
    if not 2 <= options.held_out <= most:
        raise ValueError(
            f"--held-out needs 0, or 2 to {most} of the {len(photos)} photos in {folders}, got {options.held_out}"
        )
    photos, kept = hold_out(photos, photos.names[-options.held_out :])
    return photos, evaluation_pairs(kept, multiple=max(16, multiple))


def open_folder(options: Options, trainer: Trainer) -> Path:
    """Makes the run's folder, or takes up the run that is in it."""
    folder = options.out or runs.new_run(trainer.config.preset)
    if options.resume:
        if {path.suffix for path in folder.iterdir()} & {".pt", ".safetensors"}:  # else killed before its first save
            trainer.load_state_dict(load_state(folder / runs.CHECKPOINT))
        if distributed.rank() == 0:
            runs.clean(folder, trainer.step)
    elif folder.exists() and not runs.is_empty(folder):
        raise ValueError(f"{folder} is not empty: go on with --resume, or name another folder with --out")
    distributed.wait()  # every process has looked before the first one writes
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def describe(options: Options, trainer: Trainer, folder: Path, *, held_out: Sequence[str]) -> None:
    """Writes config.json: what a run is made of, as far as it is known beforehand."""
    evaluation.write_json(
        folder / "config.json",
        {
            "config": dataclasses.asdict(trainer.config),
            "data": [str(path) for path in options.data],
            "held_out": options.held_out,
            "options": {name: getattr(options, name) for name in KEPT},
            "photos": {"train": trainer.crops.photos.names, "held_out": held_out},
            "device": str(trainer.device),
            "precision": trainer.precision,
            "versions": {
                "liftlayers": liftlayers.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        },
    )


if __name__ == "__main__":
    cli.run(main)
