"""Ctrl-C in one line, from the import of this module on. A script imports it first: its other imports take seconds."""

import contextlib
import os
import signal
import sys
from types import FrameType


def _end(_number: int, _frame: FrameType | None) -> None:
    """Ends the process at once; an exception might be caught by a module that is being imported."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"{os.path.basename(sys.argv[0])}: interrupted\n".encode())  # noqa: PTH119 (needs no import)
    os._exit(130)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is another one if the shell ignores Ctrl-C
    signal.signal(signal.SIGINT, _end)
