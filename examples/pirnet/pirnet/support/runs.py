"""Run folders: where they are, what they contain, the log in them, and how a run stops cleanly."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from pirnet.support.files import to_json, write_text
from pirnet.support.places import CHECKPOINT, CLEAR_WEIGHTS, RUNS
from pirnet.trainer import Trainer
from pirnet.weights import save_state, save_weights


def new_run(preset: str) -> Path:
    """A folder that does not exist yet: `runs/PRESET`, else `runs/PRESET-2`, ..."""
    names = [preset, *(f"{preset}-{number}" for number in range(2, 10_000))]
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def is_empty(folder: Path) -> bool:
    """Whether a path is a folder that contains nothing but temporary files of a killed run."""
    return folder.is_dir() and all(path.match(".*.tmp") for path in folder.iterdir())


def save(trainer: Trainer, folder: Path) -> None:
    """Writes the checkpoint and the weights of the trained networks."""
    save_state(folder / CHECKPOINT, trainer.state_dict())
    config, lih, lsr = trainer.config, trainer.average.lih, trainer.average.lsr
    lsr_config = config.lsr if config.restorer == "lsr" else None
    if config.in_the_clear:
        save_weights(folder / CLEAR_WEIGHTS, lsr, lsr_config)
        return
    save_weights(folder / f"{config.hider}.safetensors", lih, config.lih if config.hider == "lih" else None)
    save_weights(folder / f"{config.restorer}.safetensors", lsr, lsr_config)


def clean(folder: Path, step: int) -> None:
    """Removes what a killed run leaves after its last checkpoint: temporary files, log lines of later steps."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    trim_log(folder / "log.jsonl", step)


def trim_log(path: Path, step: int) -> None:
    """Drops the lines of steps that a resumed run takes again."""
    if path.is_file():
        complete = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        write_text(path, "".join(line for line in complete if json.loads(line)["step"] <= step))


@contextmanager
def open_log(folder: Path, *, step: int, tensorboard: bool) -> Iterator[Callable[[dict[str, object]], None]]:
    """Opens `log.jsonl`, and the folder of TensorBoard on request; yields a function that writes the figures of a step.

    Args:
        folder: The run's folder.
        step: The step at which the run continues; TensorBoard drops later steps, `clean` those of the file.
        tensorboard: Whether to write for TensorBoard as well.

    Raises:
        ValueError: If TensorBoard is requested but not installed.
    """
    board = None
    if tensorboard:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ValueError("--tensorboard needs another package: pip install tensorboard") from error
        board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as lines, closing(board) if board else nullcontext():

        def write(row: dict[str, object]) -> None:
            print(to_json(row), file=lines, flush=True)
            if board is not None:
                for name in row.keys() - {"step"}:
                    board.add_scalar(name, row[name], row["step"])

        yield write


class Stop:
    """True when the run should stop: after Ctrl-C, or after a number of minutes. A second Ctrl-C stops at once.

    A second SIGTERM stops at once too, but not a SIGTERM after a Ctrl-C: torchrun sends it to processes that have
    already received the Ctrl-C.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.received: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.received) or (self.deadline is not None and time.monotonic() >= self.deadline)

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Lets the current step finish after Ctrl-C or a request to terminate."""

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
