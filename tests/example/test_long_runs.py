"""Long runs of train.py: killed while it saves, continued in pieces, shared by processes, on several folders."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pirnet.support.runs import STOPPED_EARLY
from pirnet.weights import load_lih, load_lsr, load_state

from tests.example.helpers import (
    EXAMPLE,
    TINY,
    Script,
    assert_refused,
    listing,
    locked_by_another,
    log_of,
    same_weights,
    strict_json,
)

FLOAT32 = ("--train.precision", "float32")

# A process that is killed while it writes: the file of the given number is left incomplete.
KILLED = """
import os, runpy, signal, sys
from pathlib import Path

number, replace = int(sys.argv.pop(1)), os.replace

def replace_or_die(source, target):
    global number
    number -= 1
    if number == 0:
        os.truncate(source, Path(source).stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_or_die
sys.argv[0] = sys.argv[1]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def same_networks(a: Path, b: Path) -> bool:
    return all(
        same_weights(load(a / name), load(b / name))
        for name, load in (("lih.safetensors", load_lih), ("lsr.safetensors", load_lsr))
    )


def assert_same_curve(run: Path, other: Path) -> None:
    """Asserts that two logs have the same figures up to rounding, which adds up from step to step."""
    for mine, theirs in zip(log_of(run), log_of(other), strict=True):
        for name in ("step", "stage", "loss", "gradient_norm", "skipped"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3)


SAVES = {3: 0, 2: None, 8: 2, 9: 4}  # the file that is half-written when the process dies -> the checkpoint's step
UNMEASURED = ("--held-out", "0")  # ends after the last step
EVERY_SECOND_STEP = ("--steps", "5", "--train.save-every", "2", "--train.ema", "0.9", *UNMEASURED, *TINY)


def step_of(run: Path) -> object:
    return load_state(run / "checkpoint.pt")["step"] if (run / "checkpoint.pt").exists() else None


def test_killed_in_the_middle_of_a_save_it_goes_on(
    photo_folder: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run is copied as a killed process would leave it: in a save, with the file half-written.

    Files are written in this order: config, then checkpoint and two networks at steps 0, 2, 4, ...
    """
    whole, number, replace = tmp_path / "whole", 0, os.replace

    def copy_and_replace(source: Path, target: Path) -> None:
        nonlocal number
        if target.parent.name == "whole":
            number += 1
            if number in SAVES:
                copy = shutil.copytree(whole, tmp_path / f"killed-{number}")
                os.truncate(copy / source.name, source.stat().st_size // 2)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", copy_and_replace)
        assert script("train.py", "--out", "whole", "--data", photo_folder, *EVERY_SECOND_STEP).status == 0
    for file, step in SAVES.items():
        run = tmp_path / f"killed-{file}"
        assert len(list(run.glob(".*.tmp"))) == 1
        assert step_of(run) == step
        resumed = script("train.py", "--resume", "--out", run.name, "--device", "cpu")
        assert resumed.status == 0, resumed.err
        assert not list(run.glob(".*.tmp"))
        assert log_of(run) == log_of(whole)
        assert same_networks(run, whole)


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_a_save_goes_on(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    steps = (*EVERY_SECOND_STEP, "--data", str(photo_folder))
    warmed = script("train.py", "--out", "whole", *steps)  # and the photos are in the cache
    assert warmed.status == 0
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "8", str(EXAMPLE / "train.py"), "--out", "run", *steps],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert len(list(run.glob(".*.tmp"))) == 1
    assert step_of(run) == SAVES[8]
    resumed = script("train.py", "--resume", "--out", "run", "--device", "cpu")
    assert resumed.status == 0, resumed.err
    assert not list(run.glob(".*.tmp"))
    assert log_of(run) == log_of(whole)
    assert same_networks(run, whole)


@pytest.mark.slow
def test_a_run_whose_terminal_closes_is_saved(photo_folder: Path, tmp_path: Path) -> None:
    log, run = tmp_path / "run" / "log.jsonl", ("--out", "run", "--steps", "3000", "--data", str(photo_folder), *TINY)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this test may run under nohup
        os.execv(sys.executable, [sys.executable, str(EXAMPLE / "train.py"), *run, "--workers", "1"])
    while not (log.is_file() and log.read_text().count("\n") > 3):
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == STOPPED_EARLY
    assert load_state(tmp_path / "run" / "checkpoint.pt")["step"] == log_of(tmp_path / "run")[-1]["step"]


def test_a_run_killed_before_its_config_starts_again(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".half-written.tmp").write_text('{"conf')
    options = ("--steps", "3", "--data", photo_folder, "--out", "run", *UNMEASURED, *TINY)
    assert "no run in run: there is nothing to resume" in script("train.py", "--resume", *options).err
    assert script("train.py", *options).status == 0


def test_a_folder_in_which_another_process_trains_is_refused(
    photo_folder: Path, script: Script, tmp_path: Path
) -> None:
    options = ("--steps", "3", "--data", photo_folder, "--out", "run", *UNMEASURED, *TINY)
    assert script("train.py", "--minutes", 0, *options).status == STOPPED_EARLY
    before = listing(tmp_path)
    with locked_by_another(tmp_path / "run"):
        message = "another process is training in run: wait for it, or name another folder with --out"
        assert_refused(script("train.py", "--resume", "--out", "run"), "train.py", message)
    assert listing(tmp_path) == before | {"run/.lock": b""}
    assert script("train.py", "--resume", "--out", "run").status == 0


def test_pieces_are_as_one_run_on_another_machine_too(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """A run that continues with moved photos, other workers and divided batches has the log of one run."""
    steps = ("--steps", "4", "--data", photo_folder, *UNMEASURED, *FLOAT32, *TINY)
    assert script("train.py", "--out", "whole", *steps).status == 0
    assert script("train.py", "--out", "first", "--minutes", 0, *steps).status == STOPPED_EARLY
    shutil.copytree(photo_folder, tmp_path / "moved")
    (tmp_path / "first").rename(tmp_path / "second")
    options = ("--data", "moved", "--workers", 1, "--accumulate", 2, "--device", "cpu")
    assert script("train.py", "--resume", "--out", "second", *options).status == 0
    assert_same_curve(tmp_path / "second", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [("denoise", "deblur", "sr"), ("sr", "sr", "denoise")], ids=["all", "some"])
def test_two_processes_are_as_one_with_the_doubled_batch(
    photo_folder: Path, script: Script, tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    """Two processes train as one process with the whole batch, in every stage, with divided batches, whether or not
    each process has every task."""
    steps = ("--steps", "6", "--data", str(photo_folder), *UNMEASURED, *TINY, "--train.batch-size", "12", *FLOAT32)
    steps += ("--train.memory", "reversible", "--train.ema", "0.9", "--train.tasks", *tasks)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    shared = subprocess.run(
        [*torchrun, str(EXAMPLE / "train.py"), "--out", "shared", "--accumulate", "2", *steps],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("writing shared") == 1
    assert "strides" not in shared.stderr  # no warning that gradients and weights differ in them
    assert script("train.py", "--out", "alone", *steps).status == 0
    assert_same_curve(tmp_path / "shared", tmp_path / "alone")


def test_several_folders_and_none_held_out(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "more")
    data = ("--data", photo_folder, "more", "--cache", "cache")
    result = script("train.py", "--steps", 3, "--held-out", 0, "--out", "run", *data, *TINY)
    assert result.status == 0, result.err
    assert "10 photos" in result.out
    assert "the weights are in run; evaluate.py measures their quality" in result.out
    names = strict_json((tmp_path / "run" / "config.json").read_text())["photos"]
    assert names["train"][4:6] == [f"{photo_folder.name}/4.png", "more/0.png"]
    assert names["held_out"] == []
    assert not (tmp_path / "run" / "summary.json").exists()
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert script("train.py", "--resume", "--out", "run").status == 0


def test_training_in_the_clear_writes_weights_of_its_own(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    result = script("train.py", "--in-the-clear", "--steps", 3, "--out", "run", "--data", photo_folder, *TINY)
    assert result.status == 0, result.err
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {"checkpoint.pt", "config.json", "log.jsonl", "clear.safetensors"}
    assert len(load_lsr(run / "clear.safetensors").restorers) == 1
    assert [row["stage"] for row in log_of(run)] == [2, 2, 2]
    resumed = script("train.py", "--resume", "--out", "run")
    assert resumed.status == 0, resumed.err


def test_sheets_on_the_way(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """--sheets-every writes the sheets of all tasks into a folder named after the step."""
    options = ("--sheets-every", 2, "--steps", 3, "--data", photo_folder)
    assert script("train.py", "--out", "run", *options, *TINY).status == 0
    sheets = tmp_path / "run" / "sheets"
    assert [path.name for path in sheets.iterdir()] == ["0000002"]
    assert {path.name for path in (sheets / "0000002").iterdir()} == {
        "denoise.png",
        "deblur.png",
        "sr.png",
        "result.webp",
    }
    with Image.open(sheets / "0000002" / "sr.png") as image:
        image.load()


def test_tensorboard_is_another_package(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """--tensorboard without the package is refused by one line that says how to install it."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = script("train.py", "--tensorboard", "--steps", 3, "--out", "run", *TINY)
    assert result.status == 2
    assert result.err == "train.py: error: --tensorboard needs another package: pip install tensorboard\n"


def test_tensorboard_gets_the_figures_of_the_log(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    options = ("--tensorboard", "--steps", 3, "--data", photo_folder)
    assert script("train.py", "--out", "run", *options, *TINY).status == 0
    events = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    losses = [row["loss"] for row in log_of(tmp_path / "run")]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses)
