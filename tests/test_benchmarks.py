"""The tables in the documentation are those of the measured figures, however old; and the scripts still run."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))


@pytest.mark.parametrize("report", RESULTS, ids=lambda path: path.stem)
def test_tables_show_the_figures(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    script = FOLDER / f"{report.stem.rpartition('-')[0]}.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = json.loads(report.read_text())
    assert {"machine", "date", "versions", "rows"} <= content.keys()
    assert module.tables(content) == report.with_suffix(".md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["invertible.py", "pirnet.py", "wavelets.py"])
def test_a_quick_run_prints_a_table_and_writes_nothing(script: str) -> None:
    before = {path: path.read_bytes() for path in (FOLDER / "results").iterdir()}
    done = subprocess.run([sys.executable, str(FOLDER / script), "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| --- |" in done.stdout
    assert "liftlayers" in done.stdout or "channels_last" in done.stdout
    assert {path: path.read_bytes() for path in (FOLDER / "results").iterdir()} == before
