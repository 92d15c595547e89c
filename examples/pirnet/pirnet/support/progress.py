"""Progress bars of long work, on a terminal and in a log."""

import io
import sys
import threading
import time
from typing import Any

from tqdm import tqdm

LOG_INTERVAL = 30.0  # seconds
hidden = threading.Event()
"""Whether this process shows no bars, as those of a service, whose log has one line for each request."""


class Lines(io.TextIOBase):
    """Writes a bar to standard error as whole lines, the first after half a minute, then at most one every half minute.

    A bar is drawn over and over on a terminal; a pipe or a log would hold every drawing.
    """

    def __init__(self) -> None:
        self.written = time.monotonic()

    def write(self, text: str) -> int:
        """Prints a drawing of the bar if it is time for the next line."""
        line = text.strip()
        if line and time.monotonic() - self.written >= LOG_INTERVAL:
            print(line, file=sys.stderr, flush=True)
            self.written = time.monotonic()
        return len(text)


def progress_bar(items: Any = None, **options: Any) -> tqdm:
    """A bar of tqdm, with the same options; without a terminal it prints a line every half minute.

    Example:
        >>> sum(progress_bar([1, 2, 3]))
        6
    """
    if not sys.stderr.isatty():
        options |= {"file": Lines(), "mininterval": LOG_INTERVAL, "maxinterval": 2 * LOG_INTERVAL}
    if hidden.is_set():
        options["disable"] = True
    return tqdm(items, dynamic_ncols=True, **options)
