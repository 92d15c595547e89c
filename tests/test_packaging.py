"""What is shipped: the wheel is the library and nothing else, the sdist holds all that a developer needs."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import liftlayers

ROOT = Path(__file__).parents[1]
pytest.importorskip("hatchling", reason="needs hatchling, from the extra `test`")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was built from that sdist, as pip would."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def headers(wheel: dict[str, bytes]) -> Message:
    (name,) = (name for name in wheel if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel[name].decode())


def test_wheel_holds_the_whole_library_with_its_type_marker(wheel: dict[str, bytes]) -> None:
    for path in [*(ROOT / "liftlayers").rglob("*.py"), ROOT / "liftlayers" / "py.typed"]:
        assert wheel[path.relative_to(ROOT).as_posix()] == path.read_bytes()


def test_wheel_holds_nothing_else_but_its_licence_and_metadata(wheel: dict[str, bytes]) -> None:
    rest = {name for name in wheel if not name.startswith("liftlayers/")}
    info = f"liftlayers-{liftlayers.__version__}.dist-info"
    assert rest == {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    assert {Path(name).suffix for name in wheel if name.startswith("liftlayers/")} == {".py", ".typed"}
    assert wheel[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_sdist_holds_what_a_developer_needs(sdist: set[str]) -> None:
    files = ("pyproject.toml", "LICENSE", "conftest.py", "constraints.txt", "PKG-INFO", ".ci/run", ".ci/minimum")
    for name in (*files, *(path.name for path in ROOT.glob("*.md")), "CITATION.cff", ".pre-commit-config.yaml"):
        assert name in sdist, name
    for folder in ("liftlayers", "tests", "examples", "docs"):
        assert any(name.startswith(f"{folder}/") for name in sdist), folder
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "liftlayers").rglob("*.py")]:
        assert path.relative_to(ROOT).as_posix() in sdist


def test_sdist_holds_nothing_that_was_made_on_the_way(sdist: set[str]) -> None:
    made = [
        name for name in sdist if re.search(r"__pycache__|\.pyc$|(^|/)(runs|build|dist|_build)/|\.hypothesis", name)
    ]
    assert made == []


def test_core_requirements_are_torch_einops_and_numpy(wheel: dict[str, bytes]) -> None:
    requirements = headers(wheel).get_all("Requires-Dist") or []
    core = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert sorted(re.split(r"[^\w-]", requirement)[0] for requirement in core) == ["einops", "numpy", "torch"]
    assert {"pirnet", "test", "docs", "dev"} <= set(headers(wheel).get_all("Provides-Extra") or [])
    assert not any(requirement.startswith("torchvision") for requirement in requirements)


def test_metadata_agrees_with_the_package(wheel: dict[str, bytes]) -> None:
    found = headers(wheel)
    assert (found["Name"], found["Version"]) == ("liftlayers", liftlayers.__version__)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.11"
    assert metadata.version("liftlayers") == liftlayers.__version__
