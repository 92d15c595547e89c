"""The command line of train.py, read without importing torch."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from pirnet.config import PRESETS, Config, from_dict, quick
from pirnet.support import cli
from pirnet.support.places import CHECKPOINT, CheckpointError, latest_run
from pirnet.support.registry import OWN, with_baseline_rates
from pirnet.support.settings import Count, CountOrZero, PositiveOrZero
from pirnet.support.text import from_json

T = TypeVar("T")

KEPT = ("accumulate", "workers", "compile", "log_every", "sheets_every", "tensorboard")  # options that --resume keeps


@dataclass(frozen=True)
class Options:
    """What to train, on which photos, and the folder to write."""

    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=quick)
    data: tuple[Path, ...] = ()
    """Folders of photos, without their sub-folders; by default the colour photos inside scikit-image."""
    held_out: CountOrZero = 2
    """Number of photos, the last ones by name, that are kept for the evaluation; 0 trains on all and evaluates none."""
    cache: Path | None = None
    """Folder for decoded photos, 3 bytes a pixel; by default ~/.cache/liftlayers. It can be removed at any time."""
    clear_cache: bool = False
    """Remove the decoded photos of all folders from the cache, and do nothing else."""
    out: Path | None = None
    """Folder to write; by default a new one under runs/, named after the preset."""
    steps: Count | None = None
    """Number of steps of all three stages together, divided as in the preset."""
    minutes: PositiveOrZero | None = None
    """Stop cleanly after this time; --resume continues, also on another machine or device."""
    device: str = "auto"
    """Device to train on: cpu, cuda, cuda:1, ...; auto is cuda if there is one, else cpu."""
    accumulate: Count = 1
    """Number of parts of a batch, computed one after the other: less memory, the same result up to rounding."""
    workers: CountOrZero = 0
    """Number of processes that make batches ahead of time; the batches are the same."""
    compile: bool = False
    """Compile the step: minutes at the start of every stage, then faster."""
    start: Path | None = None
    """Folder with lih.safetensors and lsr.safetensors to start from, such as examples/pirnet/weights; by default the
    networks start as the identity."""
    resume: bool = False
    """Continue the run in --out, or the latest."""
    log_every: CountOrZero = 10
    """Number of steps between two lines of log.jsonl; 0 for the last step only."""
    sheets_every: CountOrZero = 0
    """Number of steps between comparison sheets of the first held-out photos, under sheets/; 0 for the last only."""
    tensorboard: bool = False
    """Write the log for TensorBoard as well."""


def parse(description: str | None) -> Options:
    """Reads the command line; its defaults are those of the preset, or those of the run to resume."""
    words = set(sys.argv[1:])
    preset = PRESETS[cli.peek("--preset", tuple(PRESETS)) or "quick"]()
    networks = {option: name for option in OWN if (name := cli.peek(f"--{option}"))}
    default = Options(config=with_baseline_rates(replace(preset, **networks)))
    if "--resume" in words:
        default = _resumed(default, Path(out) if (out := cli.peek("--out")) else latest_run(CHECKPOINT))
    if "--help-all" in words:
        sys.argv[1:] = ["--help"]
    elif {"-h", "--help"} & words:
        config = _brief(default.config, [each.name for each in fields(Config) if is_dataclass(each.type)])
        default = _brief(replace(default, config=config), ["cache", "clear_cache", "start", *KEPT])
    return cli.parse(Options, description, default=default)


def _brief(whole: T, hidden: Sequence[str]) -> T:
    """The same options without the hidden ones, for `--help`: computation, logging and the fields of the preset."""
    values = vars(whole)
    suppressed = [(name, tyro.conf.Suppress[type(values[name])], values[name]) for name in hidden]
    return make_dataclass(type(whole).__name__, suppressed, bases=(type(whole),), frozen=True)(**values)


def _resumed(default: Options, folder: Path) -> Options:
    """The options of the run in a folder."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"no run in {folder}: there is nothing to resume")
    try:
        run = from_json(file.read_text(encoding="utf-8"))
        config, data = from_dict(Config, run["config"]), tuple(map(Path, run["data"]))
        kept = {"held_out": run["held_out"]} | {name: run["options"][name] for name in KEPT}
        return replace(default, config=config, data=data, out=folder, **kept)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged or of another version: {error}") from error
