"""Progress bars: immediate on a terminal, every half minute in a log, and none in a log for short work."""

import sys
import threading
from types import SimpleNamespace

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


def test_a_log_has_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with progress_bar(total=100, desc="training") as bar:
        for step in range(100):
            clock[0] += 1.0
            bar.update()
            bar.set_postfix_str(f"loss {step}")  # draws the bar each time
    lines = capsys.readouterr().err.splitlines(keepends=True)
    assert [line.split("%")[0] for line in lines] == ["training:  30", "training:  60", "training:  90"]
    assert all(line.endswith("]\n") and "\r" not in line for line in lines)


def test_a_process_of_a_service_shows_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "hidden", threading.Event())
    progress.hidden.set()
    assert list(progress_bar(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_it_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(total=10, desc="training"):
        assert "training:   0%" in capsys.readouterr().err
