"""Puts the example's folder on the path, as running one of its scripts does, and trains once for all tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "pirnet")
if EXAMPLE not in sys.path:
    sys.path.insert(0, EXAMPLE)

from tests.example.helpers import TINY, Door, Result, run_door, save_image  # noqa: E402 (needs the path)


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps caches out of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a run of three steps on the bundled photos, a process of its own, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    result = run_door("train.py", "--steps", "3", "--out", "run", *TINY, cwd=folder)
    assert result.status == 0, result.err
    return folder / "run", result


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        save_image(folder / f"{seed}.png", seed, 48, 64)
    return folder


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    """Runs one of the example's scripts in `tmp_path`."""
    return Door(tmp_path, monkeypatch, capsys)
