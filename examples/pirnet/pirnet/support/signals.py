"""Signals that ask a script to end, and standard streams that are closed or whose reader has gone.

Temporary files are removed before a script ends, and worker processes do not receive its signals.
"""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
ENDING = (signal.SIGINT, signal.SIGTERM, HANGUP)

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Sets the handler of these signals; the previous handlers return at the end. `nohup` still ignores SIGHUP."""
    kept = [number for number in numbers if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in kept}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def end(number: int, _frame: FrameType | None) -> None:
    """Leaves the script by an exception, so that its `finally` clauses run, with the exit status of that signal."""
    sys.exit(128 + number)


@contextmanager
def repeated_if_ignored() -> Iterator[None]:
    """Raises a signal again if Python ignored the exception of its handler, as it does inside a weakref's callback."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    report = sys.unraisablehook

    def repeat(ignored: "sys.UnraisableHookArgs") -> None:
        error = ignored.exc_value
        if isinstance(error, KeyboardInterrupt):
            number = int(signal.SIGINT)
        elif isinstance(error, SystemExit) and error.code in [128 + ending for ending in ENDING]:
            number = int(error.code or 0) - 128
        else:
            report(ignored)
            return
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # after the callback has ended

    before, sys.unraisablehook = signal.getsignal(signal.SIGALRM), repeat
    try:
        yield
    finally:
        sys.unraisablehook = report
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def withheld() -> Iterator[None]:
    """Processes that are started inside never receive the signals; this process receives them afterwards.

    When Python ends, it sends SIGTERM to such processes and waits for them, so they are killed before that.
    """
    atexit.register(end_children)
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which has no groups of processes either
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_children() -> None:
    """Kills the processes of multiprocessing that an error has left."""
    children = multiprocessing.active_children()
    with handled(signal.SIG_DFL, *(number for number in signal.Signals if number.name == "SIGCHLD")):
        for child in children:
            child.kill()
            child.join()  # before torch's handler returns, which reports killed workers as an error


def replace_closed_streams() -> None:
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
