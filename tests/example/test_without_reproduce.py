"""Without the folder `reproduce/`, everything works except the paper's comparisons."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from pirnet.model import LIH, LSR, PIRNet

from tests.example.helpers import EXAMPLE, TINY, Result, strict_json, tiny
from tests.example.processes import run_scripts

ROOT = EXAMPLE.parents[1]


def example_alone(folder: Path) -> Path:
    """Copies the example into a folder without `reproduce/` and the results."""
    copy = folder / "examples" / "pirnet"
    shutil.copytree(
        EXAMPLE, copy, ignore=shutil.ignore_patterns("reproduce", "results", "runs", "__pycache__", "node_modules")
    )
    return copy


REFUSED = {  # the option that needs the folder, and a command with it
    "--hider hinet": ("train.py", "--hider", "hinet", "--minutes", 0),
    "--restorer nafnet": ("train.py", "--restorer", "nafnet", "--minutes", 0),
}


QUICK = [f"tests/example/test_{name}.py" for name in ("model", "config", "losses", "evaluation", "trainer", "images")]


class Alone(NamedTuple):
    """The folder that the scripts ran in, and what each did, by its name or by the option that needs `reproduce/`."""

    folder: Path
    results: dict[str, Result]


@pytest.fixture(scope="module")
def alone(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    folder = tmp_path_factory.mktemp("alone")
    cover, secret = photo_folder / "0.png", photo_folder / "1.png"
    commands: dict[str, tuple[object, ...]] = {
        "train": ("train.py", "--steps", 3, "--out", "run", "--data", photo_folder, *TINY),
        "conceal": ("conceal.py", cover, secret, "-o", "stego.png", "--weights", "run"),
        "restore": ("restore.py", "stego.png", "-o", "restored.png", "--task", "deblur", "--weights", "run"),
        "reveal": ("reveal.py", "restored.png", "-o", "revealed.png", "--key", "stego.key", "--weights", "run"),
        "evaluate": ("evaluate.py", "--data", photo_folder, "--out", "report", "--weights", "run", "--limit", 1),
        **REFUSED,
    }
    results = run_scripts(example_alone(folder), *commands.values(), cwd=folder)
    return Alone(folder, dict(zip(commands, results, strict=True)))


@pytest.mark.slow
def test_scripts_run(alone: Alone) -> None:
    for name, result in alone.results.items():
        assert name in REFUSED or result.status == 0, result.err
    report = alone.folder / "report"
    results = strict_json((report / "results.json").read_text())
    assert results["pairs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("option", REFUSED)
def test_what_needs_the_folder_says_so(option: str, alone: Alone) -> None:
    name = REFUSED[option][0]
    message = f"{option} needs the folder examples/pirnet/reproduce, which is missing"
    assert alone.results[option] == (2, "", f"{name}: error: {message}\n")


@pytest.mark.slow
def test_the_other_tests_pass(tmp_path: Path) -> None:
    """In a copy without `reproduce/`, all other tests of the example can be imported, and those of networks pass."""
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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for chosen in (["--collect-only", "tests/example", "examples/pirnet/pirnet"], [*QUICK, "examples/pirnet/pirnet"]):
        done = subprocess.run(
            [*command, *chosen],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stdout[-5000:]


def test_lih_and_lsr_are_the_default() -> None:
    """Without other names in the config, PIRNet consists of LIH and LSR."""
    net = PIRNet(tiny())
    assert isinstance(net.lih, LIH)
    assert isinstance(net.lsr, LSR)
