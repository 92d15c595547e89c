"""Progress bars of long work, on a terminal and in a log."""

import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL = 30.0  # seconds


def progress_bar(items: Any = None, **options: Any) -> tqdm:
    """A bar of tqdm, with the same options; without a terminal it prints every half minute, after the first one.

    Example:
        >>> sum(progress_bar([1, 2, 3]))
        6
    """
    if not sys.stderr.isatty():
        options |= {"delay": LOG_INTERVAL, "mininterval": LOG_INTERVAL, "maxinterval": 2 * LOG_INTERVAL}
    return tqdm(items, dynamic_ncols=True, **options)
