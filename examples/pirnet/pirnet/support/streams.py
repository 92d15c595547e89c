"""Standard input, output and error that are closed, or whose reader has gone."""

import os
import sys
from pathlib import Path
from typing import TextIO


def replace_closed() -> None:
    """Puts the null device in the place of closed streams.

    Otherwise the next file that is opened, such as a picture, takes the number of standard output or standard error
    and receives their text. Python itself prints to standard output what is meant for a closed standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (stays open until the end)


def settle(stream: TextIO | None) -> None:
    """Writes what a stream still holds, or drops it if nobody can receive it: Python complains about it at its end."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
