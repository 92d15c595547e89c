"""The log of a training run: JSON lines always, TensorBoard on request."""

from pathlib import Path
from typing import Self

from pirnet.support.files import to_json


class Log:
    """Writes rows of figures to `log.jsonl`, flushed line by line, and to the folder of TensorBoard on request.

    Args:
        folder: The run's folder.
        step: The step at which the run continues; TensorBoard drops later steps, `runs.clean` those of the file.
        tensorboard: Whether to write for TensorBoard as well.

    Raises:
        ValueError: If TensorBoard is requested but not installed.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self._board = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError as error:
                raise ValueError("--tensorboard needs another package: pip install tensorboard") from error
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._lines = (folder / "log.jsonl").open("a")

    def write(self, row: dict[str, object]) -> None:
        """Writes the figures of one step."""
        print(to_json(row), file=self._lines, flush=True)
        if self._board is not None:
            for name in row.keys() - {"step"}:
                self._board.add_scalar(name, row[name], row["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        if self._board is not None:
            self._board.close()
