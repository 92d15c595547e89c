"""Files for people and tools around the code: they parse, agree with each other, and name what exists."""

import re
import tomllib
from pathlib import Path

import pytest

import liftlayers

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DATA = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def found(pattern: str, *path: str) -> list[str]:
    """All matches in a file; a pattern may use the start and the end of a line."""
    return re.findall(pattern, ROOT.joinpath(*path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.name)
def test_data_files_parse(path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which the extra `docs` installs")
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_exists(path: Path) -> None:
    called = found(r"(?<!\w)(?:\./)?(\.(?:ci|github/workflows)/[\w.]+)", str(path))
    assert called
    for name in called:
        assert (ROOT / name).is_file(), name


def test_workflows_run_all_checks_and_the_lowest_versions() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text()
    (lowest,) = re.findall(r'python: "([\d.]+)"\n\s+script: \.ci/minimum\n', text)
    assert PROJECT["requires-python"] == f">={lowest}"
    assert "bash .ci/run" in text


def test_lowest_versions_are_read_from_the_declared_ones() -> None:
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", requirement) for requirement in PROJECT["dependencies"])
    assert not found(r"[=<>]=\s*\d", ".ci", "minimum")


def test_hooks_are_steps_of_ci_with_pinned_tools() -> None:
    entries = found(r"^\s+entry: (.+)$", ".pre-commit-config.yaml")
    steps = found(r'^step "[^"]+" (.+)$', ".ci", "run")
    pinned = found(r"^([\w-]+)==", "constraints.txt")
    assert len(entries) == 3
    for entry in entries:
        assert entry in steps
        assert entry.split()[0] in pinned
    assert found(r"^\s+language: (.+)$", ".pre-commit-config.yaml") == ["system"] * len(entries)
    assert found(r"repo: (.+)$", ".pre-commit-config.yaml") == ["local"]


def test_changelog_and_citation_have_the_current_version() -> None:
    assert found(r"^## ([\d.]+)", "CHANGELOG.md")[0] == liftlayers.__version__
    assert found(r"^version: (.+)$", "CITATION.cff") == [liftlayers.__version__]


def test_citation_of_the_paper_is_that_of_the_references() -> None:
    reference = " ".join((ROOT / "docs" / "references.rst").read_text().partition("[Deng2023]")[2].split())
    (title,) = found(r'^\s+title: "(.+)"$', "CITATION.cff")
    start, end = found(r'^\s+(?:start|end): "(\d+)"$', "CITATION.cff")
    given, family = found(r"given-names: (.+)$", "CITATION.cff"), found(r"family-names: (.+)$", "CITATION.cff")
    names = ", ".join(f"{first} {last}" for first, last in zip(given, family, strict=True))
    assert reference.startswith(f"{names}. *{title}.*")
    assert f"2023, pages {start}–{end}." in reference
