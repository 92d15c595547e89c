"""Large tensors on Linux: their memory is kept for the next tensor instead of being returned to the system.

The GNU C library returns a block of more than 32 MiB at once. The next tensor of that size gets new pages, and the
system clears each of them when it is first used: in the paper's networks on images of 1024 x 1024 that takes longer
than the convolutions.
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # from malloc.h
LIMIT = 2**31 - 1


def keep_memory() -> bool:
    """Lets this process keep up to 2 GiB that tensors on the CPU free; False if the C library cannot do that."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, LIMIT))
