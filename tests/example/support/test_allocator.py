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
kept = sys.argv[2] == "keep" and keep_memory()
def pages():
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
found = [pages() for _ in range(30)]
print(kept, found[-1] - found[9])  # after ten rounds the free blocks are large enough
"""


def faults(word: str) -> tuple[bool, int]:
    """Whether memory was kept, and the number of page faults in twenty rounds of 64 MiB, measured in a separate
    process."""
    done = subprocess.run([sys.executable, "-c", CODE, str(EXAMPLE), word], capture_output=True, text=True, check=True)
    kept, count = done.stdout.split()
    return kept == "True", int(count)


def test_keeps_memory_where_the_c_library_can() -> None:
    kept, count = faults("keep")
    if not kept:
        pytest.skip("not the GNU C library")
    _, before = faults("no")
    assert count < before / 5
