"""The tables in the documentation show the stored measurements, and the scripts still run."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example.browser import require_page

FOLDER = Path(__file__).parent.parent / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))
SCRIPTS = {report.stem: report.stem.removesuffix("-cpu") for report in RESULTS}
OURS = {  # a row with figures that a script measures of ours
    "scripts": r"^\| restore \| [\d.]+ \| [\d.]+ \| \d+ \|$",
    "service": r"^\| 32 x 32 \| serve.py, 2 workers \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$",
    "page": r"^\| 0.05 \|( [\d.]+ \|){4}$",
    "integers": r"^\| IntegerPredictor, frozen \| [\d.]+ \|  \|$",
    "lossless": r"^\| liftlayers \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$",
    "invertible": r"^\| liftlayers, reversible \| [\d.]+ \|",
    "pirnet": r"^\| training, .* GFLOP \| float32 \| [\d.]+ \| 1.00 \|",
    "wavelets": r"^\| liftlayers \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$",
}


@pytest.mark.parametrize("report", RESULTS, ids=lambda path: path.stem)
def test_tables_show_the_figures(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    script = FOLDER / f"{SCRIPTS[report.stem]}.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = json.loads(report.read_text())
    assert {"machine", "date", "versions", "rows"} <= content.keys()
    assert module.tables(content) == report.with_suffix(".md").read_text()


def test_sentences_about_pirnet_hold() -> None:
    rows = json.loads((FOLDER / "results" / "pirnet-cpu.json").read_text())["rows"]
    training = rows["paper-1x256"]["passes"]["training"]["variants"]
    stored, rebuilt = (training[name]["peak_mib"] / 1024 for name in ("bf16", "bf16, reversible"))
    page = " ".join((FOLDER.parent / "docs" / "benchmarks.md").read_text().split())
    assert f"needs {rebuilt:.1f} GiB instead of {stored:.1f}" in page
    gains: dict[str, list[float]] = {}
    slower = []
    for title, case in rows.items():
        for name, found in case["passes"].items():
            last, plain, compiled = (
                found["variants"][variant]["seconds"] for variant in ("channels_last", "bf16", "bf16, compiled")
            )
            if plain is not None and plain >= last:
                slower.append((title, name))
            if compiled is not None:
                kind = name if name in ("training", "restore") else "hiding"
                gains.setdefault(kind, []).append(plain / compiled)
    assert slower == [("paper-1x256", "restore")]
    assert "except for restoring in the case `paper-1x256`, which takes as long" in page
    hiding, restoring, training_gain = (
        f"{min(gains[kind]):.1f} to {max(gains[kind]):.1f} times" for kind in ("hiding", "restore", "training")
    )
    assert f"makes hiding and revealing {hiding} as fast as bfloat16 without it" in page
    assert f"restoring {restoring}, and a training step {training_gain}." in page
    large = rows["paper-1x1024"]["passes"]["training"]["variants"]
    rebuilt, again = (large[f"bf16, {name}"]["peak_mib"] / 1024 for name in ("reversible", "checkpoint"))
    assert f'{rebuilt:.1f} GiB with `memory="reversible"` or {again:.1f} with `"checkpoint"`' in page
    assert all(60 < large[f"bf16, {name}"]["seconds"] < 120 for name in ("reversible", "checkpoint"))


def test_the_sentence_about_the_page_holds() -> None:
    rows = json.loads((FOLDER / "results" / "page-cpu.json").read_text())["rows"]
    one, twelve = ([f"{rows[size][name]:.0f} s" for name in ("hide_cpu", "reveal_cpu")] for size in ("1", "12"))
    text = (FOLDER.parent / "examples" / "pirnet" / "README.md").read_text()
    sentence = f"1 megapixel takes {one[0]} of processor time to hide and {one[1]} to reveal; "
    assert sentence + f"12 megapixels take {twelve[0]} and {twelve[1]}:" in " ".join(text.split())


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted({*SCRIPTS.values()} - {"gpu"}))  # for that, see test_gpu_script.py
def test_a_quick_run_prints_a_table_and_writes_nothing(script: str) -> None:
    if script == "page":
        require_page()
    before = {path.name: path.read_bytes() for path in (FOLDER / "results").iterdir()}
    command = [sys.executable, str(FOLDER / f"{script}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| --- |" in done.stdout
    assert re.search(OURS[script], done.stdout, re.MULTILINE), done.stdout
    changed = [path.name for path in (FOLDER / "results").iterdir() if before.get(path.name) != path.read_bytes()]
    assert changed == []


def test_pages_and_help_name_no_other_script() -> None:
    pages = [FOLDER.parent / "README.md", *(FOLDER.parent / "docs").glob("*.md"), *FOLDER.glob("*.py")]
    named = {script for page in pages for script in re.findall(r"python benchmarks/(\w+)\.py", page.read_text())}
    assert named == {*OURS, "gpu"}
