"""The script that runs on a GPU in one call, `benchmarks/gpu.py`: what can be tested on a CPU."""

import importlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from liftlayers import Sequential, exact
from liftlayers.functional import haar_analysis, haar_synthesis
from tests.memory.helpers import MODES, leaves, loss, stack
from tests.tensors import tensor

FOLDER = Path(__file__).parent.parent / "benchmarks"
SECTIONS = ("tests", "bits", "haar", "stacks", "pirnet", "training", "compiled")
ROWS = (  # one row of each table
    r"^\| marked gpu \| yes \| 0 \| 0 \| 0 \| \d+ \| yes \|$",
    r"^\| exact, ConvPredictor, TF32: the inverse returns every bit \| yes \|  \|$",
    r"^\| integers, TF32 on, cudnn.benchmark on: lossless pyramid returns the numbers of the CPU \| yes \|  \|$",
    r"^\| 1x3x64x64, float32, channels last, compiled \| torch.compile \|( [\d.]+ \|){6}$",
    r"^\| depth 2, 1 x 8 x 8 \| bfloat16 \| liftlayers, reversible \| [\d.]+ \| [\d.]+ \|  \|$",
    r"^\| quick-1x16, restore \| bf16, one CUDA graph \| [\d.]+ \| [\d.]+ \|  \|$",
    r"^\| quick-3x16, training step \| bf16, checkpoint \| [\d.]+ \| [\d.]+ \|  \|$",
    r"^\| base \| 6 \| 3 \| 3 \|( [\d.]+ \|){3}$",
    r"^\| liftlayers, reversible \| float32 \| networks compiled \|( [\d.]+ \|){3}  \| \S+ \| yes \|$",
)

Import = Callable[[str], ModuleType]


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Import:
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def run_script(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(FOLDER / "gpu.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_dry_run_goes_through_all_sections(tmp_path: Path) -> None:
    done = run_script("--dry-run", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    sections = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert tuple(sections) == SECTIONS
    for name, found in sections.items():
        assert (found["status"], found["errors"], found["cut"]) == ("done", {}, []), name
        values = [str(value) for row in found["rows"] for value in row.values()]
        failures = [value for value in values if re.match(r"\w*(Error|Exception)", value)]
        assert [each for each in failures if not each.startswith("ModuleNotFoundError")] == []  # a peer may be missing
    for row in ROWS:
        assert re.search(row, (tmp_path / "gpu.md").read_text(), re.MULTILINE), row
    assert len(done.stderr.splitlines()) == len(SECTIONS) + 1


@pytest.mark.slow
def test_a_section_is_cut_off_and_others_are_kept(tmp_path: Path) -> None:
    for minutes, name in ((0.01, "stacks"), (8, "haar")):
        done = run_script("--dry-run", "--out", str(tmp_path), "--sections", name, "--minutes", str(minutes))
        assert done.returncode == 0, done.stderr
    sections = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {name: found["status"] for name, found in sections.items()} == {"stacks": "cut", "haar": "done"}


@pytest.mark.slow
def test_wheels_are_installed_for_the_run(benchmark_module: Import, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    (folder,) = benchmark_module("gpu").installed(tmp_path, tmp_path / "packages")
    assert (Path(folder) / "tiny.py").is_file()


def test_wheels_that_are_missing_or_too_large_are_refused(
    benchmark_module: Import, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu = benchmark_module("gpu")
    needs = "--wheels needs a folder with wheels of at most 60 MB together, got"
    with pytest.raises(SystemExit, match=f"{needs} 0 of 0 MB"):
        gpu.installed(tmp_path, tmp_path)
    (tmp_path / "large.whl").write_bytes(bytes(2**20 + 1))
    monkeypatch.setattr(gpu, "MOST", 2**20)
    with pytest.raises(SystemExit, match=f"{needs} 1 of 1 MB"):
        gpu.installed(tmp_path, tmp_path)


def test_a_machine_without_a_gpu_is_refused(
    benchmark_module: Import, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit):
        benchmark_module("gpu").parsed()
    assert "a GPU is needed, and torch finds none; --dry-run goes through all sections" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entries", "status", "word"),
    [
        ([{"cases": ["a"]}, {"rows": [{"law": "x", "holds": True}]}, {"case": "a"}], 0, "done"),
        ([{"cases": ["a"]}, {"rows": [{"law": "x", "holds": False}]}, {"case": "a"}], 0, "failed"),
        ([{"cases": ["a"]}, {"case": "a", "error": "ValueError: x"}], 0, "failed"),
        ([{"cases": ["a", "b"]}, {"case": "a"}], None, "cut"),
        ([{"cases": ["a"]}, {"case": "a"}], -11, "failed"),
        ([{"skipped": "no photos"}], 0, "skipped"),
        ([], 1, "failed"),
    ],
)
def test_how_a_section_ended(benchmark_module: Import, entries: list[dict[str, Any]], status: int, word: str) -> None:
    gpu = benchmark_module("gpu")
    found = gpu.outcome(entries, status, "ImportError: no module") | {"seconds": 1.0}
    assert found["status"] == word
    report = {"machine": "card", "driver": "1", "date": "today", "versions": {}, "rows": {"bits": found}}
    text = gpu.tables(report)
    assert f"## bits: {word} after 1.0 s" in text
    assert ("not reached:\n\n- b" in text) == (word == "cut")
    assert ("- process: exit status 1: ImportError: no module" in text) == (status == 1)


def test_the_law_of_bits_finds_a_wrong_transform(benchmark_module: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    module = benchmark_module("gpu_haar")

    def rows() -> list[dict[str, object]]:
        return list(module.bits([(1, 2, 4, 6)], "float32", "contiguous", "cpu"))

    assert [row["holds"] for row in rows()] == [True]
    monkeypatch.setattr(module, "haar_synthesis", lambda approx, detail: haar_synthesis(approx, detail.flip(1)))
    assert [(row["holds"], row["where not"]) for row in rows()] == [(False, "1x2x4x6")]


def test_the_convolution_computes_the_haar_transform(benchmark_module: Import) -> None:
    x = tensor(0, 2, 3, 6, 8)
    analysis, synthesis = benchmark_module("gpu_haar").convolution(x)
    bands = analysis(x)
    expected = torch.cat(haar_analysis(x), dim=1).unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(bands, expected)  # channel by channel
    torch.testing.assert_close(synthesis(bands), x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # inductor's
def test_chains_compiled_with_reduce_overhead_have_the_same_gradients() -> None:
    chains: dict[str, tuple[Any, Any]] = {memory: (stack(2), stack(2, memory=memory)) for memory in MODES}
    chains["exact"] = exact(stack(2), bits=12), exact(stack(2), bits=12)
    for name, (plain, chain) in chains.items():
        expected, found = (
            gradients_of(plain),
            gradients_of(torch.compile(chain, mode="reduce-overhead", fullgraph=True)),
        )
        assert len(found) == len(expected)
        for x, y in zip(found, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5, msg=name)


def gradients_of(chain: Callable[..., tuple[Tensor, ...]] | Sequential) -> list[Tensor]:
    bands = leaves(torch.float32, "cpu")
    loss(*chain(*bands)).backward()
    parameters = chain.parameters()  # type: ignore[union-attr]
    return [x.grad for x in (*bands, *parameters) if x.grad is not None]
