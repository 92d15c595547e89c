"""train.py as a user runs it: the files that it writes, resuming, and what it refuses."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from pirnet.config import quick
from pirnet.model import LSR
from pirnet.support.runs import STOPPED_EARLY
from pirnet.trainer import Trainer
from pirnet.weights import load_lsr, load_state

from tests.example.helpers import (
    EXAMPLE,
    TINY,
    Result,
    Script,
    assert_refused,
    lih_of,
    listing,
    log_of,
    same_weights,
    strict_json,
)

FILES = {
    *("checkpoint.pt", "config.json", "log.jsonl", "lih.safetensors", "lsr.safetensors", "summary.json"),
    *("denoise.png", "deblur.png", "sr.png", "result.webp"),
}


@pytest.mark.slow
def test_a_run_writes_what_it_promises(trained: tuple[Path, Result]) -> None:
    run, result = trained
    assert {path.name for path in run.iterdir()} == FILES
    config = strict_json((run / "config.json").read_text())
    assert config["config"]["train"]["steps"] == [1, 1, 1]
    assert config["config"]["train"]["batch_size"] == 4
    assert config["photos"]["held_out"] == ["astronaut", "chelsea"]
    assert not {*config["photos"]["held_out"]} & {*config["photos"]["train"]}
    assert len(config["photos"]["train"]) == 6
    assert config["versions"]["torch"] == torch.__version__
    assert [row["stage"] for row in log_of(run)] == [1, 2, 3]
    assert load_state(run / "checkpoint.pt")["step"] == 3
    assert isinstance(load_lsr(run / "lsr.safetensors"), LSR)
    for name in ("denoise.png", "deblur.png", "sr.png", "result.webp"):
        with Image.open(run / name) as image:
            image.load()
    assert "held-out photos (astronaut, chelsea; 2 pairs), everything in uint8:" in result.out
    assert re.search(r"denoise +ours +\d+\.\d\d", result.out)
    assert "look at" in result.out
    assert f"python {EXAMPLE}/restore.py stego.png -o restored.png --task denoise --weights run\n" in result.out


@pytest.mark.slow
def test_the_summary_of_a_run(trained: tuple[Path, Result]) -> None:
    summary = strict_json((trained[0] / "summary.json").read_text())
    assert summary["data"] == "scikit-image"
    assert summary["pairs"] == 2
    assert len(summary["rows"]) == 9
    nothing = {row["task"]: row["secret_psnr"] for row in summary["rows"] if row["row"] == "do nothing"}
    assert nothing["denoise"] == pytest.approx(20.5, abs=0.5)  # sigma 25, clipped by 8 bit
    for row in summary["rows"]:
        if row["row"] == "ours" and row["secret_psnr"] <= nothing[row["task"]]:
            assert f"{row['task']}: ours ({row['secret_psnr']:.2f} dB) does not beat doing nothing" in trained[1].out


@pytest.mark.slow
def test_the_log_is_json(trained: tuple[Path, Result]) -> None:
    """Every line of the log is valid JSON, also in the first steps, where an infinite PSNR is null."""
    rows = [strict_json(line) for line in (trained[0] / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row.keys() >= {"loss", "rate", "seconds", "skipped", "stego_psnr"} for row in rows)


def test_a_run_may_start_from_the_weights_of_another(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    options = ("--data", str(photo_folder), "--held-out", "0", *TINY)
    assert script("train.py", "--steps", 3, "--out", "first", *options).status == 0
    assert script("train.py", "--start", "first", "--minutes", 0, "--out", "second", *options).status == STOPPED_EARLY
    assert same_weights(lih_of(tmp_path / "second"), lih_of(tmp_path / "first"))
    assert same_weights(*(load_lsr(tmp_path / name / "lsr.safetensors") for name in ("first", "second")))
    assert load_state(tmp_path / "second" / "checkpoint.pt")["step"] == 0
    both = script("train.py", "--resume", "--out", "second", "--start", "first")
    assert_refused(both, "train.py", "--start begins a new run, so it cannot be combined with --resume")
    assert_refused(
        script("train.py", "--start", "first", *options, "--lih.headroom", 4),
        "train.py",
        "first: the weights are of other networks: config.lih.headroom is 8 there and 4 here",
    )


def test_without_an_option_the_preset_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any option, as in the README, the preset is quick."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE / "train.py")])
    specification = importlib.util.spec_from_file_location("train_script", EXAMPLE / "train.py")
    assert specification is not None
    assert specification.loader is not None
    train = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "train_script", train)
    specification.loader.exec_module(train)
    options = train.parse(None)
    assert options.config == quick()
    assert (options.data, options.out, options.resume) == ((), None, False)


@contextmanager
def signal_in_step(step: int, number: signal.Signals) -> Iterator[None]:
    """Within it, this process receives a signal in the given step of its training."""
    take_step = Trainer.take_step

    def take(trainer: Trainer) -> dict[str, object]:
        row = take_step(trainer)
        if trainer.step == step:
            signal.raise_signal(number)
        return row

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "take_step", take)
        yield


def test_a_signal_in_the_last_step_is_not_lost(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """The evaluation after that step may take minutes."""
    with signal_in_step(3, signal.SIGTERM):
        stopped = script("train.py", "--steps", 3, "--data", photo_folder, "--held-out", 2, "--out", "run", *TINY)
    assert stopped.status == STOPPED_EARLY
    assert "stopped after step 3 of 3; continue with --resume --out run" in stopped.out
    assert not (tmp_path / "run" / "summary.json").exists()
    assert script("train.py", "--resume", "--out", "run", "--device", "cpu").status == 0
    assert (tmp_path / "run" / "summary.json").exists()


def interrupted_process(*options: str, cwd: Path) -> Result:
    """Trains in a separate process, which is interrupted after its first step."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "train.py"), *options],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = cwd / "run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return Result(process.returncode, out, err)


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["here", "apart"])
def test_interrupted_and_resumed_is_as_not_interrupted(
    apart: bool, photo_folder: Path, script: Script, tmp_path: Path
) -> None:
    """A run in this process that is interrupted in its second step, or one of a process for itself."""
    total = 45 if apart else 5
    steps = ("--steps", str(total), "--data", str(photo_folder), *TINY)
    if apart:
        stopped = interrupted_process("--out", "run", *steps, cwd=tmp_path)
    else:
        with signal_in_step(2, signal.SIGINT):
            stopped = script("train.py", "--out", "run", *steps)
    assert stopped.status == STOPPED_EARLY, stopped.err
    message = re.search(rf"stopped after step (\d+) of {total}; continue with --resume --out run", stopped.out)
    assert message
    step = int(message[1])
    assert 1 <= step < total if apart else step == 2
    run = tmp_path / "run"
    assert load_state(run / "checkpoint.pt")["step"] == step
    assert {path.name for path in run.iterdir()} == FILES - {
        *("summary.json", "denoise.png", "deblur.png", "sr.png", "result.webp")
    }
    before = lih_of(run)
    assert len(load_lsr(run / "lsr.safetensors").restorers) == 1

    assert script("train.py", "--resume", "--out", "run", "--log-every", 1, "--device", "cpu").status == 0
    assert script("train.py", "--out", "whole", *steps).status == 0
    assert {path.name for path in run.iterdir()} == FILES
    assert log_of(run) == log_of(tmp_path / "whole")
    assert not same_weights(before, lih_of(run))
    assert same_weights(lih_of(run), lih_of(tmp_path / "whole"))
    assert same_weights(load_lsr(run / "lsr.safetensors"), load_lsr(tmp_path / "whole" / "lsr.safetensors"))
    assert (run / "summary.json").read_text() == (tmp_path / "whole" / "summary.json").read_text()


def test_runs_are_numbered_and_the_latest_is_resumed(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """Also if the name of the folder of photos cannot be printed. The same seed is the same run."""
    data = tmp_path / os.fsdecode(b"photos\xff")
    data.symlink_to(photo_folder)
    options = ("--steps", "3", "--data", data, *TINY)
    for expected in ("quick", "quick-2"):
        stopped = script("train.py", "--minutes", 0, *options)
        assert stopped.status == STOPPED_EARLY == 3
        assert f"stopped after step 0 of 3; continue with --resume --out runs/{expected}" in stopped.out
        assert load_state(tmp_path / "runs" / expected / "checkpoint.pt")["step"] == 0
    assert script("train.py", "--resume", *TINY).status == 0
    assert "summary.json" not in listing(tmp_path / "runs" / "quick")
    assert {*listing(tmp_path / "runs" / "quick-2")} == FILES
    assert script("train.py", "--out", "whole", *options).status == 0
    assert log_of(tmp_path / "runs" / "quick-2") == log_of(tmp_path / "whole")
    assert same_weights(lih_of(tmp_path / "runs" / "quick-2"), lih_of(tmp_path / "whole"))
    summaries = [(run / "summary.json").read_text() for run in (tmp_path / "runs" / "quick-2", tmp_path / "whole")]
    assert summaries[0] == summaries[1]
    finished = script("train.py", "--resume", "--out", "whole", "--device", "cpu")  # only the evaluation is left
    assert finished.status == 0
    assert len(log_of(tmp_path / "whole")) == 3


def test_a_preset_may_be_named(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    slim = ("--lih.predictor", "conv", "--lsr.predictor", "conv", "--train.precision", "float32")
    options = ("--data", photo_folder, "--minutes", 0, "--steps", 10, *TINY, *slim)
    assert script("train.py", "--preset", "paper", *options).status == STOPPED_EARLY
    config = json.loads((tmp_path / "runs" / "paper" / "config.json").read_text())["config"]
    assert config["preset"] == "paper"
    assert config["degradation"]["noise_sigma"] == [0, 55]
    assert config["train"]["steps"] == [5, 4, 1]
    assert config["loss"]["conceal"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "slow"), "--preset needs one of quick, base, paper, got 'slow'"),
        (("--preset=slow",), "--preset needs one of quick, base, paper, got 'slow'"),
        (("--data", "missing"), "missing: no such folder"),
        (("--data", "empty"), r"empty: at least two photos are needed \(.png, .*\), found none"),
        (("--data", "photos/0.png"), "photos/0.png: a folder of photos is needed, this is a file"),
        (("--data", "truncated"), "truncated/1.png: cannot be read, damaged or truncated"),
        (("--data", "several"), "2 photos cannot be used. several/1.png: cannot be read, .*; several/3.png: not a PNG"),
        (("--data", "above"), "at least two photos are needed .*, found none; sub-folders are not searched"),
        (("--data", "photos", "--train.crop", "50"), r"5 photos cannot be used. photos/0.png: needs .*; photos/1.png"),
        (("--data", "photos", "--train.crop", "33"), "33"),
        (("--train.crop", "1000"), r"at least 1000 x 1000 pixels .* got 400 x 600 for coffee"),
        (("--data", "photos", "--held-out", "1"), "--held-out needs 0, or 2 to 3 of the 5 photos in photos, got 1"),
        (("--data", "photos", "--held-out", "4"), "--held-out needs 0, or 2 to 3 of the 5 photos in photos, got 4"),
        (
            ("--data", "photos", "--out", "photos"),
            "photos is not empty: continue with --resume, or name",
        ),
        (("--data", "photos", "--out", "photos/0.png"), "photos/0.png is not empty"),
        (("--steps", "0"), "--steps needs at least 1, got 0"),
        (("--steps", "3", "--train.steps", "0", "0", "0"), "--steps divides the steps .* at least one, got 0, 0, 0"),
        (("--train.steps", "0", "0", "0"), "training needs at least one step in its three stages, got 0, 0, 0"),
        (("--minutes", "nan"), "--minutes needs at least 0, got nan"),
        (
            ("--seed", str(2**64)),
            "--seed needs at least -9223372036854775808 and at most 18446744073709551615, got",
        ),
        (("--lih.num-blocks", "0"), "--lih.num-blocks needs at least 1, got 0"),
        (("--train.save-every", "0"), "--train.save-every needs at least 1, got 0"),
        (("--log-every", "-1"), "--log-every needs at least 0, got -1"),
        (("--degradation.noise-sigma", "5", "1"), "Degradation needs 0 <= lowest <= highest noise_sigma, got 5.0, 1.0"),
        (("--held-out", "0"), "--held-out needs --data: without it, astronaut and chelsea are held out"),
        (("--device", "meta"), "--device meta is not available: "),
        (("--device", "cuda:99"), "--device cuda:99 is not available: "),
        (("--device", "toaster"), "--device toaster is not available: "),
        (("--start", "empty"), "no weights .*empty/lih.safetensors"),
        (("--start", "empty", "--hider", "hinet"), "--start needs --hider lih and --restorer lsr"),
        (("--resume",), "no checkpoint.pt in any folder of runs/: train with train.py first, or name a folder"),
        (("--resume", "--out", "photos"), "no run in photos: there is nothing to resume"),
        (("--resume", "--out", "damaged"), "damaged/config.json"),
        (("--resume", "--out", "incomplete"), "incomplete/config.json"),
    ],
)
def test_what_train_refuses(
    options: tuple[str, ...], message: str, photo_folder: Path, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(photo_folder, tmp_path / "photos")
    shutil.copytree(photo_folder, tmp_path / "truncated")
    content = (photo_folder / "1.png").read_bytes()
    (tmp_path / "truncated" / "1.png").write_bytes(content[: len(content) // 2])
    shutil.copytree(tmp_path / "truncated", tmp_path / "several")
    (tmp_path / "several" / "3.png").write_text("no picture")
    shutil.copytree(photo_folder, tmp_path / "above" / "photos")
    for name, config in (("damaged", '{"config": '), ("incomplete", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    before = listing(tmp_path)
    assert_refused(script("train.py", *TINY, *options), "train.py", message)
    assert listing(tmp_path) == before


@pytest.mark.slow
def test_going_on_with_other_options_is_refused(
    trained: tuple[Path, Result], photo_folder: Path, script: Script, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    before = listing(run)
    refused = script("train.py", "--resume", "--out", "run", "--seed", 7, "--loss.secret", 5)
    message = (
        r"the checkpoint is of another run: config.loss.secret is 3.0 there and 5.0 here; config.seed is 0 there and 7"
    )
    assert_refused(refused, "train.py", message)
    refused = script("train.py", "--resume", "--out", "run", "--data", photo_folder)
    message = r"another run: photos are missing here: coffee, .*, and 3 more; photos are new here: 0.png, 1.png, 2.png"
    assert_refused(refused, "train.py", message)
    (run / "checkpoint.pt").write_bytes(b"no checkpoint")
    before["checkpoint.pt"] = b"no checkpoint"
    assert_refused(
        script("train.py", "--resume", "--out", "run"), "train.py", "cannot read the checkpoint run/checkpoint.pt"
    )
    assert listing(run) == before
    (run / "checkpoint.pt").unlink()
    assert_refused(script("train.py", "--resume", "--out", "run"), "train.py", "no checkpoint at run/checkpoint.pt")


def test_a_refusal_is_one_line(script: Script, tmp_path: Path) -> None:
    assert script("train.py", "--data", "missing") == (2, "", "train.py: error: missing: no such folder\n")
    assert listing(tmp_path) == {}


def test_help_all_shows_every_option(script: Script) -> None:
    fields = ["--lih.num-blocks", "--lsr.width", "--loss.hiding", "--train.batch-size", "--degradation.noise-sigma"]
    fields += [
        "--cache",
        "--clear-cache",
        "--accumulate",
        "--workers",
        "--compile",
        "--log-every",
        "--sheets-every",
        "--tensorboard",
    ]
    brief, whole = (script("train.py", option).out for option in ("--help", "--help-all"))
    assert [field for field in fields if field in brief] == []
    assert [field for field in fields if field not in whole] == []
    assert "--help-all shows more options" in " ".join(brief.split())
    assert "exit status 3" in " ".join(brief.split())
