"""Layers and memory modes on a simulated device that is not the CPU: see `tests/second_device.py`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

ROOT = Path(__file__).parents[1]
FILES = ("second_device_laws.py", "memory", "exact/test_exact.py", "nn")


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this version of torch has no devices that are written in Python",
)
def test_laws_hold_on_a_second_device() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.second_device", "-p", "no:xdist", "-k", "second"]
    command += ["-p", "no:cacheprovider", *(f"tests/{file}" for file in FILES)]
    environment = os.environ | {"HYPOTHESIS_PROFILE": "short"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-5000:]
