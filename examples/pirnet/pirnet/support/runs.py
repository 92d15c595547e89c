"""Run folders: where they are, what they contain, the log in them, and how a run stops cleanly."""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from pirnet.support import signals
from pirnet.support.files import named, to_json, write_text
from pirnet.support.places import CHECKPOINT, CLEAR_WEIGHTS, RUNS, CheckpointError
from pirnet.support.text import from_json
from pirnet.trainer import Trainer
from pirnet.weights import run_id, save_state, save_weights

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
STOPPED_EARLY = 3  # the exit status of a run that can be resumed


def new_run(preset: str) -> Path:
    """A folder that does not exist yet: `runs/PRESET`, else `runs/PRESET-2`, ..."""
    names = [preset, *(f"{preset}-{number}" for number in range(2, 10_000))]
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def is_empty(folder: Path) -> bool:
    """Whether a path is a folder that contains nothing but the lock and temporary files of a killed run."""
    return folder.is_dir() and all(path.match(".*.tmp") or path.name == LOCK for path in folder.iterdir())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing a run's folder, which is created; a killed process leaves no lock.

    Without locks, on Windows and on some network drives, nothing is checked.

    Raises:
        ValueError: If another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone: its workers do not inherit it
            ours = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except OSError as error:
            ours = error.errno not in (errno.EACCES, errno.EAGAIN)
        if not ours:
            raise ValueError(f"another process is training in {folder}: wait for it, or name another folder with --out")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def save(trainer: Trainer, folder: Path) -> None:
    """Writes the checkpoint and the weights of the trained networks."""
    save_state(folder / CHECKPOINT, trainer.state_dict())
    config, lih, lsr = trainer.config, trainer.average.lih, trainer.average.lsr
    lsr_config = config.lsr if config.restorer == "lsr" else None
    if config.in_the_clear:
        save_weights(folder / CLEAR_WEIGHTS, lsr, lsr_config)
        return
    run, lih_config = run_id(lih), config.lih if config.hider == "lih" else None
    save_weights(folder / f"{config.hider}.safetensors", lih, lih_config, run=run)
    save_weights(folder / f"{config.restorer}.safetensors", lsr, lsr_config, run=run)


def clean(folder: Path, step: int) -> None:
    """Removes what a killed run leaves after its last checkpoint: temporary files, log lines of later steps."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    trim_log(folder / "log.jsonl", step)


def trim_log(path: Path, step: int) -> None:
    """Drops the lines of steps that a resumed run takes again.

    Raises:
        CheckpointError: If a line is not one that a run has written.
    """
    if not path.is_file():
        return
    try:
        complete = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in complete if from_json(line)["step"] <= step]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged, rename or remove it: {error}") from error
    write_text(path, "".join(kept))


@contextmanager
def open_log(folder: Path, *, step: int, tensorboard: bool) -> Iterator[Callable[[dict[str, object]], None]]:
    """Opens `log.jsonl`, and the folder of TensorBoard on request; yields a function that writes the figures of a step.

    Args:
        folder: The run's folder.
        step: The step at which the run continues; TensorBoard drops later steps, `clean` those of the file.
        tensorboard: Whether to write for TensorBoard as well.

    Raises:
        ValueError: If TensorBoard is requested but not installed.
        OSError: When the function is called, if the file cannot be written.
    """
    board = None
    if tensorboard:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ValueError("--tensorboard needs another package: pip install tensorboard") from error
        board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
    log = folder / "log.jsonl"
    log.touch()

    def write(row: dict[str, object]) -> None:
        with named(log), log.open("a", encoding="utf-8") as lines:
            print(to_json(row), file=lines)
        if board is not None:
            with named(folder / "tensorboard"):
                for name in row.keys() - {"step"}:
                    board.add_scalar(name, row[name], row["step"])

    with closing(board) if board else nullcontext():
        yield write


class Stop:
    """True when the run should stop: after Ctrl-C, or after a number of minutes. A second Ctrl-C stops at once.

    A second SIGTERM stops at once too, but not a SIGTERM after a Ctrl-C: torchrun sends it to processes that have
    already received the Ctrl-C. Nor does a second SIGHUP: when a terminal closes, both the shell and the system send
    one.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.received: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.received) or (self.deadline is not None and time.monotonic() >= self.deadline)

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Lets the current step finish after Ctrl-C, a request to terminate or a closed terminal."""

        def handle(number: int, frame: FrameType | None) -> None:
            if number in self.received and number in (signal.SIGINT, signal.SIGTERM):
                signals.end(number, frame)
            self.received.add(number)

        with signals.handled(handle, *signals.ENDING):
            yield
