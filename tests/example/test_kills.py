"""train.py with workers, ended by signals at any moment: resumed runs are as runs that were not stopped."""

import json
import random
import re
import signal
from pathlib import Path

import pytest
from pirnet.support.runs import STOPPED_EARLY
from pirnet.weights import load_state

from tests.example.fork_server import ForkServer
from tests.example.helpers import TINY, lih_of, log_of, same_weights

STEPS, SAVE_EVERY = 50, 5
SAVING = ("--train.save-every", str(SAVE_EVERY), "--workers", "2")


@pytest.fixture(scope="module")
def options(photo_folder: Path) -> tuple[str, ...]:
    return ("--steps", str(STEPS), "--data", str(photo_folder), "--held-out", "0", *SAVING, *TINY)


@pytest.fixture(scope="module")
def whole(options: tuple[str, ...], fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert fork_server("train.py", "--out", "run", *options, cwd=folder) == 0, (folder / "err").read_text()
    return folder / "run"


def assert_little_is_lost(run: Path, *, most: int) -> None:
    """The checkpoint, which is never damaged, lacks at most that many of the steps in the log."""
    if (run / "log.jsonl").is_file() and (run / "checkpoint.pt").is_file():
        complete = [line for line in (run / "log.jsonl").read_text().splitlines(keepends=True) if line.endswith("\n")]
        last = json.loads(complete[-1])["step"] if complete else 0
        assert load_state(run / "checkpoint.pt")["step"] in range(last - most, STEPS + 1)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "most"), [(signal.SIGKILL, SAVE_EVERY), (signal.SIGTERM, 0)])
def test_ended_at_any_moment_a_run_goes_on(
    number: int, most: int, options: tuple[str, ...], whole: Path, fork_server: ForkServer, tmp_path: Path
) -> None:
    draw, statuses, run = random.Random(20), [], tmp_path / "run0"

    def trained(run: Path, kill: tuple[int, float] | None = None, *, once: Path | None = None) -> int:
        how = ("--resume", "--device", "cpu", "--log-every", 1) if (run / "config.json").exists() else options
        group = number == signal.SIGTERM
        return fork_server("train.py", "--out", run, *how, cwd=tmp_path, kill=kill, once=once, group=group)

    while len(statuses) < 20:
        run = tmp_path / f"run{statuses.count(0)}"  # another run after one that was faster than its signal
        kill, once = (number, draw.uniform(0, 1)), None if statuses else run / "log.jsonl"
        statuses.append(trained(run, kill, once=once))
        allowed = {0, -signal.SIGKILL} if number == signal.SIGKILL else {0, -number, 128 + number, STOPPED_EARLY}
        assert statuses[-1] in allowed, (tmp_path / "err").read_text()
        assert_little_is_lost(run, most=most)
        if number == signal.SIGTERM:
            assert not list(run.glob(".*.tmp"))
        if statuses[-1] == STOPPED_EARLY:
            assert re.search(rf"stopped after step \d+ of {STEPS}; continue with", (tmp_path / "out").read_text())
    assert trained(run) == 0, (tmp_path / "err").read_text()
    for finished in tmp_path.glob("run*"):
        assert log_of(finished) == log_of(whole)
        assert same_weights(lih_of(finished), lih_of(whole))


@pytest.mark.slow
@pytest.mark.usefixtures("whole")  # has put the photos into the cache
def test_terminated_while_it_starts_a_run_says_nothing(
    options: tuple[str, ...], fork_server: ForkServer, tmp_path: Path
) -> None:
    """While options are read, modules are imported, photos are opened or workers are created."""
    draw = random.Random(0)
    longer = (*options, "--steps", "5000")  # so that no run ends before its signal
    for number in range(20):
        kill = (signal.SIGTERM, draw.uniform(0, 0.5))
        status = fork_server("train.py", "--out", f"run{number}", *longer, cwd=tmp_path, kill=kill, group=True)
        assert status in {-signal.SIGTERM, 128 + signal.SIGTERM, STOPPED_EARLY}
        said = (tmp_path / "err").read_text()
        assert said == "" or status == STOPPED_EARLY, said
    assert not list(tmp_path.glob("run*/.*.tmp"))
