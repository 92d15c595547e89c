"""The command line of train.py."""

import json
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from pirnet.config import PRESETS, Config, LIHConfig, LossConfig, LSRConfig, TrainConfig, from_dict, quick
from pirnet.degrade import Degradation
from pirnet.support import cli, runs
from pirnet.support.photo_cache import cache_folder
from pirnet.support.registry import OWN, with_baseline_rates
from pirnet.weights import CheckpointError

KEPT = ("accumulate", "workers", "compile", "log_every", "sheets_every", "tensorboard")  # by --resume


@dataclass(frozen=True)
class Options:
    """What to train, on which photos, and the folder to write."""

    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=quick)
    data: tuple[Path, ...] = ()
    """Folders of photos; by default the colour photos inside scikit-image."""
    held_out: int = 2
    """Number of photos, the last ones by name, that are kept for the evaluation; 0 trains on all and evaluates none."""
    cache: Path = field(default_factory=cache_folder)
    """Folder for decoded photos, 3 bytes a pixel, so that they are decoded once and need not fit into memory."""
    out: Path | None = None
    """Folder to write; by default a new one under runs/, named after the preset."""
    steps: int | None = None
    """Number of steps of all three stages together, divided as in the preset."""
    minutes: float | None = None
    """Stop cleanly after this time; --resume continues, also on another machine or device."""
    device: str = "auto"
    """Device to train on: cpu, cuda, cuda:1, ...; auto is a GPU if there is one."""
    accumulate: int = 1
    """Number of parts of a batch, computed one after the other: less memory, the same result up to rounding."""
    workers: int = 0
    """Number of processes that make batches ahead of time; the batches are the same."""
    compile: bool = False
    """Compile the step: minutes at the start of every stage, then faster."""
    resume: bool = False
    """Continue the run in --out, or the latest one."""
    log_every: int = 10
    """Number of steps between two lines of log.jsonl."""
    sheets_every: int = 0
    """Number of steps between comparison sheets of the first held-out photos, under sheets/; 0 for the last only."""
    tensorboard: bool = False
    """Write the log for TensorBoard as well."""


@dataclass(frozen=True)
class BriefConfig(Config):
    """The part of a config that `--help` shows."""

    lih: tyro.conf.Suppress[LIHConfig] = field(default_factory=LIHConfig)
    lsr: tyro.conf.Suppress[LSRConfig] = field(default_factory=LSRConfig)
    loss: tyro.conf.Suppress[LossConfig] = field(default_factory=LossConfig)
    train: tyro.conf.Suppress[TrainConfig] = field(default_factory=TrainConfig)
    degradation: tyro.conf.Suppress[Degradation] = field(default_factory=Degradation)


@dataclass(frozen=True)
class BriefOptions(Options):
    """The options that `--help` shows; `--help-all` also shows computation, logging and every field of the preset."""

    config: Annotated[BriefConfig, tyro.conf.arg(name="")] = field(default_factory=BriefConfig)
    cache: tyro.conf.Suppress[Path] = field(default_factory=cache_folder)
    accumulate: tyro.conf.Suppress[int] = 1
    workers: tyro.conf.Suppress[int] = 0
    compile: tyro.conf.Suppress[bool] = False
    log_every: tyro.conf.Suppress[int] = 10
    sheets_every: tyro.conf.Suppress[int] = 0
    tensorboard: tyro.conf.Suppress[bool] = False


def parse(description: str | None) -> Options:
    """Reads the command line; its defaults are those of the preset, or those of the run to resume."""
    words = set(sys.argv[1:])
    preset = PRESETS[cli.peek("--preset", tuple(PRESETS)) or "quick"]()
    networks = {option: name for option in OWN if (name := cli.peek(f"--{option}"))}
    default = Options(config=with_baseline_rates(replace(preset, **networks)))
    if "--resume" in words:
        default = _resumed(default, Path(out) if (out := cli.peek("--out")) else runs.latest_run(runs.CHECKPOINT))
    if "--help-all" in words:
        sys.argv[1:] = ["--help"]
    elif {"-h", "--help"} & words:
        values = {each.name: getattr(default.config, each.name) for each in fields(Config)}
        return cli.parse(BriefOptions, description, default=BriefOptions(config=BriefConfig(**values)))
    return cli.parse(Options, description, default=default)


def _resumed(default: Options, folder: Path) -> Options:
    """The options of the run in a folder."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"no run in {folder}: there is nothing to resume")
    try:
        run = json.loads(file.read_text())
        return replace(
            default,
            config=from_dict(Config, run["config"]),
            out=folder,
            data=tuple(map(Path, run["data"])),
            held_out=run["held_out"],
            **{name: run["options"][name] for name in KEPT},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged or of another version: {error}") from error
