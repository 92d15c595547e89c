"""Trains PIRNet: hiding (LIH), then restoring (LSR), then both together.

    python examples/pirnet/train.py                    # four to ten minutes on two cores
    python examples/pirnet/train.py --data PHOTOS --preset paper     # for a GPU

Writes config.json, log.jsonl, the weights lih.safetensors (the client's) and lsr.safetensors (the cloud's),
summary.json and a comparison sheet for each task into a new folder under runs/. Ctrl-C, SIGTERM and --minutes end the
run after the current step with exit status 3; --resume continues it. --help-all shows more options.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from pirnet.support import cli
from pirnet.support.train_options import KEPT, Options, parse

read_options = cli.read_early(__name__, lambda: parse(__doc__))

import torch
from pirnet.config import Config, LIHConfig, LSRConfig, cleared, scaled
from pirnet.data import Pair, evaluation_pairs
from pirnet.evaluation import evaluate
from pirnet.model import LIH, LSR
from pirnet.support import distributed, files, report, runs
from pirnet.support.photo_cache import cached_folders, clear
from pirnet.support.photos import HELD_OUT, Photos, bundled_photos, hold_out
from pirnet.support.places import cache_folder
from pirnet.support.progress import progress_bar
from pirnet.support.settings import differences
from pirnet.support.text import counted, file_name
from pirnet.trainer import Trainer
from pirnet.weights import load_network, load_state


def main() -> None:
    options = read_options()
    if options.clear_cache:
        print(clear(options.cache or cache_folder()))
        return
    with distributed.group(cli.device(options.device)) as device:
        run(options, device)


def run(options: Options, device: torch.device) -> None:
    """Trains a network and evaluates it."""
    started = time.monotonic()
    if options.resume and options.start is not None:
        raise ValueError("--start begins a new run, so it cannot be combined with --resume")
    config = cleared(options.config) if options.config.in_the_clear else options.config
    config = config if options.steps is None else scaled(config, options.steps)
    photos, pairs = read_photos(options)
    how = {"accumulate": options.accumulate, "workers": options.workers, "compiled": options.compile}
    trainer = Trainer(config, photos, device=device, **how)
    if options.start is not None:
        start(trainer, options.start)
    writes = distributed.rank() == 0
    with open_folder(options, trainer) as folder:
        if writes:
            describe(options, trainer, folder, held_out=names_of(pairs))
            where = f"{device} in {trainer.precision}"
            steps = counted(trainer.total, "step")
            print(f"{config.preset}: {steps} on {len(photos)} photos, {where}; writing {folder}")
        stop = runs.Stop(options.minutes)
        with stop.on_interrupt():
            train(trainer, folder, pairs, stop=stop, options=options)
        if trainer.step < trainer.total or distributed.any_of(bool(stop.received), device):
            if writes:
                done = f"stopped after step {trainer.step} of {trainer.total}"
                with suppress(OSError):  # the terminal may be closed
                    print(f"{done}; continue with --resume --out {folder}")
            sys.exit(runs.STOPPED_EARLY)
        if writes:
            finish(trainer, folder, pairs, options=options, started=started)


def start(trainer: Trainer, folder: Path) -> None:
    """Gives the networks the weights of another run.

    Raises:
        CheckpointError: If a file is missing or damaged.
        ValueError: If they are other networks.
    """
    if (trainer.config.hider, trainer.config.restorer) != ("lih", "lsr"):
        raise ValueError("--start needs --hider lih and --restorer lsr: it reads weights of these networks only")
    lih = load_network(folder / "lih.safetensors", LIH, LIHConfig)
    lsr = load_network(folder / "lsr.safetensors", LSR, LSRConfig)
    for name, (network, config) in (("lih", lih), ("lsr", lsr)):
        ours, theirs = dataclasses.asdict(getattr(trainer.config, name)), dataclasses.asdict(config)
        if found := differences(ours, theirs, f"config.{name}"):
            raise ValueError(f"{folder}: the weights are of other networks: {'; '.join(found)}")
        for whole in (trainer.model, trainer.average):
            getattr(whole, name).load_state_dict(network.state_dict())


def finish(trainer: Trainer, folder: Path, pairs: Sequence[Pair], *, options: Options, started: float) -> None:
    """Evaluates the trained network, writes the results and prints them."""
    config = trainer.config
    if skipped := trainer.guard.skipped:
        steps = f"{skipped} of {counted(trainer.total, 'step')} {'was' if skipped == 1 else 'were'}"
        print(f"{steps} skipped, since loss or gradient were too large: see log.jsonl")
    own = (config.hider, config.restorer) == ("lih", "lsr")
    if not pairs or config.in_the_clear:
        print(f"the weights are in {folder}" + "; evaluate.py measures their quality" * own)
        return
    rows, first = evaluate(trainer.average, pairs, block=block(config))
    data = ", ".join(map(file_name, options.data)) or "scikit-image"
    report.save_sheets(folder, first)
    files.write_json(folder / "summary.json", report.summary(rows, data=data, pairs=pairs))
    shown = f"{', '.join(names_of(pairs))}; {counted(len(pairs), 'pair')}"
    print(f"\nheld-out photos ({shown}), everything in {config.stego}:\n")
    print(report.table(rows))
    print(f"\n{time.monotonic() - started:.0f} s; look at {folder / 'result.webp'} and {folder}/*.png")
    if own:
        print(f"\nwith these weights, instead of the example's own:\n\n{commands(folder)}")


def block(config: Config) -> int:
    """The smallest size of blocks that a run scrambles, which the evaluation uses; 0 if it scrambles none."""
    return min((side for side in config.train.blocks if side), default=0)


def names_of(pairs: Sequence[Pair]) -> list[str]:
    """The names of all photos in pairs."""
    return sorted({name for pair in pairs for name in (pair.secret_name, pair.cover_name)})


def commands(folder: Path) -> str:
    """The commands that use the new weights, ready to copy."""
    here = shlex.quote(str(Path(sys.argv[0]).parent))
    scripts = (
        "conceal.py cover.png secret.png -o stego.png",
        "restore.py stego.png -o restored.png --task denoise",
        "reveal.py restored.png -o revealed.png --key stego.key",
    )
    return "\n".join(f"python {here}/{script} --weights {shlex.quote(str(folder))}" for script in scripts)


def train(trainer: Trainer, folder: Path, pairs: Sequence[Pair], *, stop: runs.Stop, options: Options) -> None:
    """Takes steps until all are done or the run is stopped, then saves; one process of a distributed run writes."""
    writes = distributed.rank() == 0
    with (
        runs.open_log(folder, step=trainer.step, tensorboard=options.tensorboard) if writes else nullcontext() as log,
        progress_bar(total=trainer.total, initial=trainer.step, unit="step", disable=not writes) as bar,
    ):
        if writes:
            runs.save(trainer, folder)  # also before the first step, so that --resume finds something
        while trainer.step < trainer.total and not distributed.any_of(bool(stop), trainer.device):
            begun = time.monotonic()
            row = trainer.take_step()
            bar.update()
            if log is None:
                continue
            logged = options.log_every and trainer.step % options.log_every == 0
            if logged or trainer.step == trainer.total:
                bar.set_description(f"stage {row['stage']}", refresh=False)
                bar.set_postfix_str(headline(row))
                log(row | {"seconds": round(time.monotonic() - begun, 4)})
            if trainer.step % trainer.config.train.save_every == 0:
                runs.save(trainer, folder)
            if options.sheets_every and trainer.step % options.sheets_every == 0 and pairs:
                _, first = evaluate(trainer.average, pairs[:1], block=block(trainer.config))
                sheets = folder / "sheets" / f"{trainer.step:07}"
                sheets.mkdir(parents=True, exist_ok=True)
                report.save_sheets(sheets, first)
        if writes:
            runs.save(trainer, folder)


def headline(row: dict[str, object]) -> str:
    """Loss and PSNRs of a step for the progress bar, and the number of skipped steps so far."""
    psnrs = [f"{name.replace('_psnr', '').replace('_', ' ')} {x:.1f}" for name, x in row.items() if "psnr" in name]
    skipped = [f"skipped {row['skipped']}"] if row["skipped"] else []
    return ", ".join([f"loss {row['loss']:.4f}", *psnrs, *skipped])


def read_photos(options: Options) -> tuple[Photos, list[Pair]]:
    """Photos to train on, and pairs of the photos that are held out."""
    names: Sequence[str] = HELD_OUT
    if options.data:
        if distributed.rank() > 0:
            distributed.wait()  # until the first process has filled the cache
        photos = cached_folders(options.data, cache=options.cache, min_size=options.config.train.crop)
        if distributed.rank() == 0:
            distributed.wait()
        if options.held_out == 0:
            return photos, []
        folders, held, most = ", ".join(map(file_name, options.data)), options.held_out, len(photos) - 2
        if most < 2:
            too_few = "are too few to hold out two and train on two; --held-out 0 uses all"
            raise ValueError(f"{len(photos)} photos in {folders} {too_few}")
        if not 2 <= held <= most:
            raise ValueError(f"--held-out needs 0, or 2 to {most} of the {len(photos)} photos in {folders}, got {held}")
        names = photos.names[-held:]
    elif options.held_out != len(HELD_OUT):
        raise ValueError(f"--held-out needs --data: without it, {' and '.join(HELD_OUT)} are held out")
    else:
        photos = bundled_photos()
    photos, kept = hold_out(photos, names)
    return photos, evaluation_pairs(kept, multiple=max(16, 2**options.config.lsr.num_scales))


@contextmanager
def open_folder(options: Options, trainer: Trainer) -> Iterator[Path]:
    """Creates the run's folder, or loads the run in it; no other process can write it meanwhile."""
    folder = options.out or runs.new_run(trainer.config.preset)
    if not options.resume and folder.exists() and not runs.is_empty(folder):
        raise ValueError(f"{folder} is not empty: continue with --resume, or name another folder with --out")
    distributed.wait()  # every process has checked before the first one writes
    with runs.locked(folder) if distributed.rank() == 0 else nullcontext():
        if options.resume:
            if {path.suffix for path in folder.iterdir()} & {".pt", ".safetensors"}:  # none if killed before a save
                trainer.load_state_dict(load_state(folder / runs.CHECKPOINT))
            if distributed.rank() == 0:
                runs.clean(folder, trainer.step)
        distributed.wait()
        yield folder


def describe(options: Options, trainer: Trainer, folder: Path, *, held_out: Sequence[str]) -> None:
    """Writes config.json, the description of the run."""
    content = {
        "config": dataclasses.asdict(trainer.config),
        "data": [os.fsdecode(path) for path in options.data],  # --resume reads them
        "held_out": options.held_out,
        "options": {name: getattr(options, name) for name in KEPT},
        "photos": {"train": trainer.crops.photos.names, "held_out": held_out},
        "device": str(trainer.device),
        "precision": trainer.precision,
        "versions": files.versions(),
    }
    files.write_json(folder / "config.json", content)


if __name__ == "__main__":
    cli.run(main)
