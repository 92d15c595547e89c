"""Signals that ask a script to end. Temporary files are removed first, and worker processes do not receive them."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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
    """Processes that are started inside never receive the signals; this process receives them afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which has no groups of processes either
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_children() -> None:
    """Ends the processes of multiprocessing that an error has left; `withheld` keeps Python from terminating them."""
    children = multiprocessing.active_children()
    with handled(signal.SIG_DFL, *(number for number in signal.Signals if number.name == "SIGCHLD")):
        for child in children:
            child.kill()
            child.join()  # before torch's handler returns, which reports killed workers as an error
