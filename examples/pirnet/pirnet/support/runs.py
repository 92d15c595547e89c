"""Run folders: where they are, what is in them, and stopping cleanly."""

__all__ = ["RUNS", "Stop", "clean", "is_empty", "latest_run", "new_run", "save", "trim_log"]

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pirnet.images import atomic_path
from pirnet.trainer import Trainer
from pirnet.weights import CheckpointError, save_state, save_weights

RUNS = Path("runs")
CHECKPOINT = "checkpoint.pt"
LIH_WEIGHTS, LSR_WEIGHTS, CLEAR_WEIGHTS = "lih.safetensors", "lsr.safetensors", "clear.safetensors"


def new_run(preset: str) -> Path:
    """A folder that does not exist yet: `runs/PRESET`, else `runs/PRESET-2`, ..."""
    names = [preset, *(f"{preset}-{number}" for number in range(2, 10_000))]
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def latest_run(holding: str) -> Path:
    """The run under `runs/` whose file of that name is the newest.

    Raises:
        CheckpointError: If there is none.
    """
    files = sorted(RUNS.glob(f"*/{holding}"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise CheckpointError(f"no {holding} in any folder of {RUNS}/: train with train.py first, or name a folder")
    return files[-1].parent


def is_empty(folder: Path) -> bool:
    """Whether a path is a folder with nothing in it, or with nothing but what a killed run left half-written."""
    return folder.is_dir() and all(path.match(".*.tmp") for path in folder.iterdir())


def save(trainer: Trainer, folder: Path) -> None:
    """Writes the resume state and the weights of the networks that are trained, each file all or nothing."""
    save_state(folder / CHECKPOINT, trainer.state_dict())
    config, lih, lsr = trainer.config, trainer.average.lih, trainer.average.lsr
    if config.in_the_clear:
        save_weights(folder / CLEAR_WEIGHTS, lsr, config.lsr if config.restorer == "lsr" else None)
        return
    save_weights(folder / f"{config.hider}.safetensors", lih, config.lih if config.hider == "lih" else None)
    save_weights(folder / f"{config.restorer}.safetensors", lsr, config.lsr if config.restorer == "lsr" else None)


def clean(folder: Path, step: int) -> None:
    """Removes what a run leaves that was killed after its last checkpoint: half-written files, lines of later steps."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    trim_log(folder / "log.jsonl", step)


def trim_log(path: Path, step: int) -> None:
    """Drops the lines of steps that a resumed run will take again."""
    if path.is_file():
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        lines = [line for line in whole if json.loads(line)["step"] <= step]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(lines))


class Stop:
    """Whether it is time to stop: asked for by Ctrl-C, or after some minutes. A second Ctrl-C stops at once.

    So does a second SIGTERM, but not a SIGTERM after a Ctrl-C: torchrun sends one to processes that had the other.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.received: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.received) or (self.deadline is not None and time.monotonic() >= self.deadline)

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Lets a step finish that Ctrl-C or a request to terminate comes upon."""

        def handle(number: int, _frame: FrameType | None) -> None:
            if number in self.received:
                raise KeyboardInterrupt
            self.received.add(number)

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
