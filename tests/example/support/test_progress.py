"""Progress bars: immediate on a terminal, every half minute in a log, and none in a log for short work."""

import sys

import pytest
from pirnet.support import progress
from pirnet.support.progress import progress_bar


def test_short_work_leaves_a_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_bar(range(3), desc="reading")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_long_work_shows_in_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    assert list(progress_bar(range(3), desc="reading", unit="photo")) == [0, 1, 2]
    assert "reading: 100%" in capsys.readouterr().err


def test_a_terminal_shows_it_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(total=10, desc="training"):
        assert "training:   0%" in capsys.readouterr().err
