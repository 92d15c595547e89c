"""Progress bars of long work, on a terminal and in a log."""

__all__ = ["progress_bar"]

import sys
from typing import Any

from tqdm import tqdm

SELDOM = 30.0  # seconds


def progress_bar(items: Any = None, **options: Any) -> tqdm:
    """A bar of tqdm, which takes the same options; off a terminal it is drawn every half minute, and not before.

    Example:
        >>> sum(progress_bar([1, 2, 3]))
        6
    """
    if not sys.stderr.isatty():
        options |= {"delay": SELDOM, "mininterval": SELDOM, "maxinterval": 2 * SELDOM}
    return tqdm(items, dynamic_ncols=True, **options)
