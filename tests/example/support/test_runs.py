"""Run folders, their logs, and runs that stop cleanly."""

import errno
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pirnet.support import runs
from pirnet.support.places import latest_run
from pirnet.support.runs import Stop, is_empty, locked, new_run, open_log, save, trim_log
from pirnet.trainer import Trainer
from pirnet.weights import CheckpointError, load_lih, load_lsr, load_state

from tests.example.helpers import locked_by_another, same_weights, smooth_photos, tiny


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_new_runs_have_new_names() -> None:
    for expected in ("quick", "quick-2", "quick-3"):
        folder = new_run("quick")
        assert folder == Path("runs") / expected
        folder.mkdir(parents=True)
    assert new_run("paper") == Path("runs/paper")


def test_the_latest_run_is_the_one_written_last() -> None:
    with pytest.raises(CheckpointError, match=r"no a.txt in any folder of runs/: train with train.py first, or name"):
        latest_run("a.txt")
    for age, name in enumerate(("z", "b", "m")):
        folder = Path("runs") / name
        folder.mkdir(parents=True)
        (folder / "a.txt").touch()
        os.utime(folder / "a.txt", (1e9 - age, 1e9 - age))
    (Path("runs") / "without").mkdir()
    assert latest_run("a.txt") == Path("runs/z")
    os.utime("runs/b/a.txt")
    assert latest_run("a.txt") == Path("runs/b")


def test_a_run_is_saved_in_three_files(tmp_path: Path) -> None:
    run = Trainer(tiny(), smooth_photos(), device=torch.device("cpu"))
    run.take_step()
    save(run, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "lih.safetensors", "lsr.safetensors"]
    assert load_state(tmp_path / "checkpoint.pt")["step"] == 1
    assert same_weights(load_lih(tmp_path / "lih.safetensors"), run.model.lih)
    assert same_weights(load_lsr(tmp_path / "lsr.safetensors"), run.model.lsr)


def test_the_log_forgets_steps_that_will_be_taken_again(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f'{{"step": {step}, "loss": 0.5}}\n' for step in (10, 20, 30)))
    trim_log(log, 20)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [10, 20]
    assert log.read_text().endswith("\n")
    trim_log(log, 0)
    assert log.read_text() == ""
    trim_log(tmp_path / "nothing.jsonl", 5)
    assert list(tmp_path.iterdir()) == [log]


def test_a_line_cut_short_is_no_obstacle(tmp_path: Path) -> None:
    """An incomplete last line of the log, as after a power failure, is dropped."""
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 10, "loss": 0.5}\n{"step": 20, "lo')
    trim_log(log, 30)
    assert log.read_text() == '{"step": 10, "loss": 0.5}\n'


@pytest.mark.parametrize("damage", [b"no JSON\n", b"[1]\n", b'{"loss": 1}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_log_is_named_and_kept(damage: bytes, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 10, "loss": 0.5}\n' + damage)
    with pytest.raises(CheckpointError, match=r"log.jsonl is damaged, rename or remove it: "):
        trim_log(log, 10)
    assert log.read_bytes().endswith(damage)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/log.jsonl'"),
        open_log(tmp_path, step=0, tensorboard=False) as log,
    ):
        log({"step": 1})


def test_a_full_disk_names_the_folder_of_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __init__(self, _folder: str, **_options: int) -> None: ...

        def add_scalar(self, *_figure: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=FullDisk))
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/tensorboard'"),
        open_log(tmp_path, step=0, tensorboard=True) as log,
    ):
        log({"step": 1, "loss": 0.5})


def test_a_run_has_one_process_at_a_time(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with locked_by_another(run):
        assert is_empty(run)  # so far
        with (
            pytest.raises(ValueError, match=r"another process is training in .*run: wait for"),
            locked(run),
        ):
            pass
    with locked(run):  # a killed process leaves the file, but no lock
        assert is_empty(run)
    assert list(run.iterdir()) == []


@pytest.mark.parametrize("problem", [errno.ENOLCK, errno.ENOTSUP])
def test_a_drive_without_locks_is_used_without(problem: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(*_arguments: object) -> None:
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(runs.fcntl, "lockf", no_lock)
    with locked(tmp_path / "run"):
        pass
    monkeypatch.setattr(runs, "fcntl", None)
    with locked(tmp_path / "run"):
        pass


def test_minutes_run_out() -> None:
    assert Stop(0)
    assert not Stop(1)
    assert not Stop()


@pytest.mark.usefixtures("_signals_by_default")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_asks_to_stop_and_a_second_one_stops(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stop.on_interrupt():
        assert not stop
        signal.raise_signal(number)
        assert stop
        if number == signal.SIGHUP:  # shell and system both send it when a terminal closes
            signal.raise_signal(number)
        else:
            with pytest.raises(SystemExit) as end:
                signal.raise_signal(number)
            assert end.value.code == 128 + number
    assert signal.getsignal(number) == before


@pytest.mark.usefixtures("_signals_by_default")
def test_torchrun_may_pass_an_interruption_on() -> None:
    """A SIGTERM after a Ctrl-C does not stop the run at once, since torchrun sends it to all processes."""
    stop = Stop()
    with stop.on_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stop


def test_handlers_come_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="inside"), Stop().on_interrupt():
        raise RuntimeError("inside")
    assert signal.getsignal(signal.SIGINT) == before
