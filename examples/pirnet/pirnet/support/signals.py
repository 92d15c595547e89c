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

# Windows has neither SIGHUP nor SIGALRM
ENDING = [number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP")]
ALARMS = [number for number in signal.Signals if number.name == "SIGALRM"]

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


_ends: list[SystemExit] = []
"""The exception of the last signal that asked the script to end."""


@contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Sets the handler of signals and restores the previous ones; what `nohup` or a shell ignores stays ignored."""
    kept = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in kept}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def end(number: int, _frame: FrameType | None) -> None:
    """Leaves the script by an exception, so that its `finally` clauses run, with the exit status of that signal.

    While these run, only Ctrl-C ends them: when a terminal closes, its programs receive several signals at once.
    """
    if number != signal.SIGINT and _is_ending():
        return
    _ends[:] = [SystemExit(128 + number)]
    if any(signal.getsignal(alarm) is _repeat for alarm in ALARMS):
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    raise _ends[0]


def _is_ending() -> bool:
    """True while the exception of `end` is being handled, as in a `finally` clause."""
    error = sys.exception()
    while error is not None and error not in _ends:
        error = error.__context__
    return error is not None


def _repeat(*_: object) -> None:
    """Raises the exception of `end` again if other code has caught or ignored it."""
    if _ends and not _is_ending():
        raise _ends[0]


@contextmanager
def deferred() -> Iterator[None]:
    """Signals that arrive inside take effect at the end, for steps that belong together; a second Ctrl-C does at once.

    (Blocked signals would not be enough: another thread may receive them.)
    """
    received: list[int] = []

    def defer(number: int, frame: FrameType | None) -> None:
        if number in received and number == signal.SIGINT:
            end(number, frame)
        received.append(number)

    try:
        with handled(defer, *ENDING):
            yield
    finally:
        for number in received:
            signal.raise_signal(number)


@contextmanager
def ending() -> Iterator[None]:
    """Signals end what runs inside, even where other code catches or ignores the exception of `end`.

    Some modules catch every exception while they import an optional package, Python ignores exceptions in callbacks of
    weak references, and it makes a RuntimeError of one in `__set_name__`.
    """
    report = sys.unraisablehook
    sys.unraisablehook = lambda ignored: None if ignored.exc_value in _ends else report(ignored)
    _ends.clear()
    try:
        with handled(_repeat, *ALARMS):
            try:
                with handled(end, *ENDING):
                    yield
                    _repeat()
            except Exception as error:
                if error.__cause__ is not None and error.__cause__ in _ends:
                    raise error.__cause__ from None
                raise
            finally:
                for _ in ALARMS:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        sys.unraisablehook = report


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
