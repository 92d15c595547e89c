"""The example without the folder `reproduce/`: everything but the paper's comparisons works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pirnet.model import LIH, LSR, PIRNet

from tests.example.helpers import EXAMPLE, TINY, Result, run_script, strict_json, tiny

ROOT = EXAMPLE.parents[1]


def example_alone(folder: Path) -> Path:
    """A copy of the example in a folder, without `reproduce/` and the results."""
    copy = folder / "examples" / "pirnet"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("reproduce", "results", "runs", "__pycache__"))
    return copy


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_alone(tmp_path_factory.mktemp("alone"))


def run(alone: Path, name: str, *arguments: object, cwd: Path) -> Result:
    return run_script(alone / name, *arguments, cwd=cwd)


def test_scripts_run(alone: Path, photo_folder: Path, tmp_path: Path) -> None:
    cover, secret = photo_folder / "0.png", photo_folder / "1.png"
    for name, *arguments in (
        ("train.py", "--steps", 3, "--out", "run", "--data", photo_folder, *TINY),
        ("conceal.py", cover, secret, "-o", "stego.png", "--weights", "run"),
        ("restore.py", "stego.png", "-o", "restored.png", "--task", "deblur", "--weights", "run"),
        ("reveal.py", "restored.png", "-o", "revealed.png", "--weights", "run"),
        ("evaluate.py", "--data", photo_folder, "--out", "report", "--weights", "run", "--limit", 1),
    ):
        result = run(alone, name, *arguments, cwd=tmp_path)
        assert result.status == 0, result.err
    results = strict_json((tmp_path / "report" / "results.json").read_text())
    assert "security" not in results
    assert results["notes"][-1] == "No attacks: the folder examples/pirnet/reproduce is missing."
    assert "## Security" not in (tmp_path / "report" / "results.md").read_text()
    assert not list((tmp_path / "report").glob("*-attacks.png"))


@pytest.mark.parametrize(
    ("name", "arguments", "option"),
    [
        ("train.py", ("--hider", "hinet", "--minutes", 0), "--hider hinet"),
        ("train.py", ("--restorer", "nafnet", "--minutes", 0), "--restorer nafnet"),
        ("evaluate.py", ("--data", ".", "--out", "report", "--other-weights", "lih.safetensors"), "--other-weights"),
    ],
)
def test_what_needs_the_folder_says_so(
    name: str, arguments: tuple[object, ...], option: str, alone: Path, photo_folder: Path
) -> None:
    result = run(alone, name, *arguments, cwd=photo_folder)
    message = f"{option} needs the folder examples/pirnet/reproduce, which is missing"
    assert result == (2, "", f"{name}: error: {message}\n")


@pytest.mark.slow
def test_the_other_tests_pass(tmp_path: Path) -> None:
    example_alone(tmp_path)
    shutil.copytree(EXAMPLE / "results", tmp_path / "examples" / "pirnet" / "results")
    leave_out = shutil.ignore_patterns("reproduce", "__pycache__", Path(__file__).name)
    shutil.copytree(ROOT / "tests" / "example", tmp_path / "tests" / "example", ignore=leave_out)
    built = shutil.ignore_patterns("_build", "__pycache__", "*gallery")
    for name in ("docs", "benchmarks", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=built)
    files = ("conftest.py", "pyproject.toml", "constraints.txt", "tests/conftest.py")
    for name in (*files, *(page.name for page in ROOT.glob("*.md"))):
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/example", "examples/pirnet/pirnet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_lih_and_lsr_are_the_default() -> None:
    net = PIRNet(tiny())
    assert isinstance(net.lih, LIH)
    assert isinstance(net.lsr, LSR)


@pytest.mark.parametrize("name", ["conceal.py", "restore.py", "reveal.py"])
def test_use_does_not_import_training_or_evaluation(name: str, tmp_path: Path) -> None:
    arguments = {"conceal.py": "a.png b.png", "restore.py": "a.png --task sr", "reveal.py": "a.png"}[name].split()
    command = [sys.executable, "-X", "importtime", str(EXAMPLE / name), *arguments, "-o", "missing/c.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "the folder missing does not exist" in done.stderr  # after all imports
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {module for module in loaded if module.startswith(("pirnet", "reproduce"))}
    assert "pirnet.model" in ours
    assert not ours & {f"pirnet.{module}" for module in ("trainer", "losses", "evaluation", "data")}
    assert not ours & {f"pirnet.support.{module}" for module in ("distributed", "runs", "sheets", "report", "lpips")}
    assert not {module for module in ours if module.startswith("reproduce")}
    assert "torchmetrics" not in loaded
    assert "matplotlib" not in loaded
