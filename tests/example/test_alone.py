"""PIRNet without the other systems: their folder may be deleted."""

import subprocess
import sys

from pirnet.model import LIH, LSR, PIRNet

from tests.example.helpers import EXAMPLE, tiny


def test_pirnet_needs_none_of_them() -> None:
    """What does not compare runs without the folder."""
    doors = ["train", "evaluate", "conceal", "restore", "reveal"]
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLE)!r}); sys.modules['reproduce.baselines'] = None\n"
        f"import {', '.join(doors)}\n"
        "from pirnet.config import quick\nfrom pirnet.model import PIRNet\nPIRNet(quick())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lih_and_lsr_are_the_default() -> None:
    net = PIRNet(tiny())
    assert isinstance(net.lih, LIH)
    assert isinstance(net.lsr, LSR)
