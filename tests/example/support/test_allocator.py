"""The memory of a freed large tensor is kept for the next one, so that its pages are new only once."""

import subprocess
import sys

import pytest

from tests.example.helpers import EXAMPLE

CODE = """
import resource, sys
import torch
sys.path.insert(0, sys.argv[1])
from pirnet.support.allocator import keep_memory
def pages():
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def faults():
    found = [pages() for _ in range(30)]
    return found[-1] - found[9]  # by then there are holes that are large enough
before = faults()
print(keep_memory(), before, faults())
"""


@pytest.mark.slow
def test_keeps_memory_where_the_c_library_can() -> None:
    """Counts first touches of pages in twenty rounds of 64 MiB, before and after, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CODE, str(EXAMPLE)], capture_output=True, text=True, check=True)
    kept, before, after = done.stdout.split()
    if kept != "True":
        pytest.skip("not the GNU C library")
    assert int(after) < int(before) / 5
