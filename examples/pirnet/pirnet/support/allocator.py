"""Memory of large tensors on Linux: kept for the next one, instead of handed back to the system and asked for again.

The GNU C library returns a block of more than 32 MiB at once. The next tensor of that size gets new pages, each of
which the system clears when it is first touched: in the paper's networks on images of 1024 x 1024 that takes longer
than the convolutions themselves.
"""

__all__ = ["keep_memory"]

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # from malloc.h
MOST = 2**31 - 1


def keep_memory() -> bool:
    """Lets this process keep what tensors on the CPU give back, up to 2 GiB; whether the C library knows how to."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, MOST))
