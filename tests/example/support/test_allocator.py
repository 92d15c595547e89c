"""The memory of large tensors is kept for the next one, so its pages are new only once."""

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
print(kept, found[-1] - found[9])  # by then there are holes that are large enough
"""


def faults(word: str) -> tuple[bool, int]:
    """Whether memory was kept, and first touches of pages in twenty rounds of 64 MiB, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CODE, str(EXAMPLE), word], capture_output=True, text=True, check=True)
    kept, count = done.stdout.split()
    return kept == "True", int(count)


def test_keeps_memory_where_the_c_library_can() -> None:
    kept, count = faults("keep")
    if not kept:
        pytest.skip("not the GNU C library")
    _, before = faults("no")
    assert count < before / 5
