"""The files and names that the page about deploying shows; test_nginx.py and test_cluster.py run what it describes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example.helpers import EXAMPLE, Script

UNIT = EXAMPLE / "deploy" / "pirnet.service"
PAGE = EXAMPLE.parents[1] / "docs" / "deploy.md"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """It warns about names and values that it does not know. The program must exist, so Python's path replaces it."""
    text, count = re.subn(r"/opt/liftlayers/\S*python", sys.executable, UNIT.read_text())
    assert count == 1
    (tmp_path / "pirnet.service").write_text(text.replace("/opt/liftlayers", str(tmp_path)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "pirnet.service")], capture_output=True, text=True
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "pirnet.service" in line]) == (0, [])


def test_the_service_has_the_options_of_the_unit(script: Script) -> None:
    shown = script("serve.py", "--help").out
    options = re.findall(r" (--[\w-]+)", UNIT.read_text())
    assert len(options) == 3
    assert [option for option in options if option not in shown] == []


def test_the_service_has_the_figures_of_the_page() -> None:
    service = pytest.importorskip("pirnet.support.service", reason="needs the extra serve")
    prometheus = pytest.importorskip("prometheus_client", reason="needs the extra serve")

    class Nothing:
        lost = 0

    found = service.Service(Nothing(), ["sr"], service.Limits(1, 1, 1.0, 1.0, 1.0))
    found.seconds.labels("sr").observe(1)
    text = prometheus.generate_latest(found.registry).decode()
    named = set(re.findall(r"\bpirnet_\w+", PAGE.read_text()))
    assert len(named) == 6
    for name in named:
        assert re.search(rf"^(# TYPE )?{name}\b", text, re.MULTILINE), name
