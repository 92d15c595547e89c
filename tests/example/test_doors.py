"""The scripts as a user runs them, on files: what they write, what they refuse, and what they leave behind.

The main ways through are processes of their own; tables of refusals call the same scripts in this process, where an
exception that a script lets through, a traceback to its user, fails the test.
"""

import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from pirnet.config import LIHConfig, quick
from pirnet.images import read_picture, to_uint8
from pirnet.model import LIH, LSR
from pirnet.support import cli
from pirnet.weights import load_lih, load_lsr, load_state, save_weights
from torch import Tensor, nn

from liftlayers.testing import randomise_
from tests.example.helpers import (
    EXAMPLE,
    TINY,
    TINY_LSR,
    Door,
    Result,
    log_of,
    run_door,
    same_weights,
    save_image,
    smooth_image,
    strict_json,
)
from tests.example.test_images import png_of_16_bits

ALL = ("train.py", "conceal.py", "restore.py", "reveal.py")
FILES = {
    *("checkpoint.pt", "config.json", "log.jsonl", "lih.safetensors", "lsr.safetensors", "summary.json"),
    *("denoise.png", "deblur.png", "sr.png", "result.webp"),
}


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_refused(result: Result, door: str, told: str) -> None:
    """One line on standard error, by the script's name, and exit status 2."""
    assert result.status == 2, result
    (line,) = result.err.splitlines()
    assert re.match(rf"{door}: error: .*{told}", line), line


def lih_of(run: Path) -> LIH:
    return load_lih(run / "lih.safetensors")


# Training


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


def test_the_log_is_json(trained: tuple[Path, Result]) -> None:
    """Also where a stego equals its cover in 8 bit, infinitely many decibels, as in the first steps."""
    rows = [strict_json(line) for line in (trained[0] / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row.keys() >= {"loss", "rate", "seconds", "skipped", "stego_psnr"} for row in rows)


def test_the_same_seed_is_the_same_run(trained: tuple[Path, Result], door: Door, tmp_path: Path) -> None:
    assert door("train.py", "--steps", 3, "--out", "again", *TINY).status == 0
    assert log_of(tmp_path / "again") == log_of(trained[0])
    assert same_weights(lih_of(tmp_path / "again"), lih_of(trained[0]))
    first, again = ((run / "summary.json").read_text() for run in (trained[0], tmp_path / "again"))
    assert first == again


def test_without_an_option_the_preset_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of the README: nothing after the script's name."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE / "train.py")])
    specification = importlib.util.spec_from_file_location("train_door", EXAMPLE / "train.py")
    assert specification is not None
    assert specification.loader is not None
    train = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "train_door", train)
    specification.loader.exec_module(train)
    options = train.parse()
    assert options.config == quick()
    assert (options.data, options.out, options.resume) == ((), None, False)


def test_interrupted_and_resumed_is_as_not_interrupted(photo_folder: Path, door: Door, tmp_path: Path) -> None:
    steps = ("--steps", "90", "--data", str(photo_folder), *TINY)
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "train.py"), "--out", "run", *steps],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    told = re.search(r"stopped after step (\d+) of 90; go on with --resume --out run", out)
    assert told
    step = int(told[1])
    assert 1 <= step < 90
    run = tmp_path / "run"
    assert load_state(run / "checkpoint.pt")["step"] == step
    assert {path.name for path in run.iterdir()} == FILES - {
        *("summary.json", "denoise.png", "deblur.png", "sr.png", "result.webp")
    }
    stopped = lih_of(run)
    assert len(load_lsr(run / "lsr.safetensors").restorers) == 1

    assert door("train.py", "--resume", "--out", "run", "--log-every", 1, "--device", "cpu").status == 0
    assert door("train.py", "--out", "whole", *steps).status == 0
    assert {path.name for path in run.iterdir()} == FILES
    assert log_of(run) == log_of(tmp_path / "whole")
    assert not same_weights(stopped, lih_of(run))
    assert same_weights(lih_of(run), lih_of(tmp_path / "whole"))
    assert same_weights(load_lsr(run / "lsr.safetensors"), load_lsr(tmp_path / "whole" / "lsr.safetensors"))
    assert (run / "summary.json").read_text() == (tmp_path / "whole" / "summary.json").read_text()


def test_runs_are_numbered_and_the_latest_is_resumed(photo_folder: Path, door: Door, tmp_path: Path) -> None:
    options = ("--steps", "3", "--data", photo_folder, *TINY)
    for expected in ("quick", "quick-2"):
        stopped = door("train.py", "--minutes", 0, *options)
        assert stopped.status == 0
        assert f"stopped after step 0 of 3; go on with --resume --out runs/{expected}" in stopped.out
        assert load_state(tmp_path / "runs" / expected / "checkpoint.pt")["step"] == 0
    assert door("train.py", "--resume", *TINY).status == 0
    assert "summary.json" not in listing(tmp_path / "runs" / "quick")
    assert {*listing(tmp_path / "runs" / "quick-2")} == FILES
    assert door("train.py", "--out", "whole", *options).status == 0
    assert log_of(tmp_path / "runs" / "quick-2") == log_of(tmp_path / "whole")
    assert same_weights(lih_of(tmp_path / "runs" / "quick-2"), lih_of(tmp_path / "whole"))
    finished = door("train.py", "--resume", "--out", "whole", "--device", "cpu")  # nothing left to do but to evaluate
    assert finished.status == 0
    assert len(log_of(tmp_path / "whole")) == 3


def test_a_preset_may_be_named(photo_folder: Path, door: Door, tmp_path: Path) -> None:
    slim = ("--lih.predictor", "conv", "--lsr.predictor", "conv", "--train.precision", "float32")
    options = ("--data", photo_folder, "--minutes", 0, "--steps", 10, *TINY, *slim)
    assert door("train.py", "--preset", "paper", *options).status == 0
    config = json.loads((tmp_path / "runs" / "paper" / "config.json").read_text())["config"]
    assert config["preset"] == "paper"
    assert config["degradation"]["noise_sigma"] == [0, 55]
    assert config["train"]["steps"] == [5, 4, 1]
    assert config["loss"]["conceal"] == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--preset", "slow"), "--preset needs one of quick, base, paper, got 'slow'"),
        (("--preset=slow",), "--preset needs one of quick, base, paper, got 'slow'"),
        (("--data", "missing"), "missing: no such folder"),
        (("--data", "empty"), r"empty: at least two photos are needed \(.png, .*\), found none"),
        (("--data", "photos/0.png"), "photos/0.png: a folder of photos is needed, this is a file"),
        (("--data", "truncated"), "truncated/1.png: cannot be read, damaged or truncated"),
        (("--data", "photos", "--train.crop", "50"), r"0.png: needs at least 50 x 50 pixels .*, got 48 x 64"),
        (("--data", "photos", "--train.crop", "33"), "33"),
        (("--train.crop", "1000"), r"at least 1000 x 1000 pixels .* got 400 x 600 for coffee"),
        (("--data", "photos", "--held-out", "1"), "--held-out needs 0, or 2 to 3 of the 5 photos in photos, got 1"),
        (("--data", "photos", "--held-out", "4"), "--held-out needs 0, or 2 to 3 of the 5 photos in photos, got 4"),
        (("--data", "photos", "--out", "photos"), "photos is not empty: go on with --resume, or name another folder"),
        (("--data", "photos", "--out", "photos/0.png"), "photos/0.png is not empty"),
        (("--steps", "0"), "--steps needs at least 1, got 0"),
        (("--device", "cuda:99"), "--device cuda:99 is not to be had here: "),
        (("--device", "toaster"), "--device toaster is not to be had here: "),
        (("--resume",), "no checkpoint.pt in any folder of runs/: train with train.py first, or name a folder"),
        (("--resume", "--out", "photos"), "no run in photos: there is nothing to resume"),
        (("--resume", "--out", "damaged"), "damaged/config.json"),
        (("--resume", "--out", "incomplete"), "incomplete/config.json"),
    ],
)
def test_what_train_refuses(
    options: tuple[str, ...], told: str, photo_folder: Path, door: Door, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(photo_folder, tmp_path / "photos")
    shutil.copytree(photo_folder, tmp_path / "truncated")
    content = (photo_folder / "1.png").read_bytes()
    (tmp_path / "truncated" / "1.png").write_bytes(content[: len(content) // 2])
    for name, config in (("damaged", '{"config": '), ("incomplete", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    before = listing(tmp_path)
    assert_refused(door("train.py", *TINY, *options), "train.py", told)
    assert listing(tmp_path) == before


def test_going_on_with_other_options_is_refused(
    trained: tuple[Path, Result], photo_folder: Path, door: Door, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    before = listing(run)
    refused = door("train.py", "--resume", "--out", "run", "--seed", 7, "--loss.secret", 5)
    told = (
        r"the checkpoint is of another run: config.loss.secret is 3.0 there and 5.0 here; config.seed is 0 there and 7"
    )
    assert_refused(refused, "train.py", told)
    refused = door("train.py", "--resume", "--out", "run", "--data", photo_folder)
    assert_refused(refused, "train.py", r"another run: photos is \[.*'coffee'.*\] there and \['0.png', .*\] here")
    (run / "checkpoint.pt").write_bytes(b"no checkpoint")
    before["checkpoint.pt"] = b"no checkpoint"
    assert_refused(
        door("train.py", "--resume", "--out", "run"), "train.py", "cannot read the checkpoint run/checkpoint.pt"
    )
    assert listing(run) == before
    (run / "checkpoint.pt").unlink()
    assert_refused(door("train.py", "--resume", "--out", "run"), "train.py", "no checkpoint at run/checkpoint.pt")


def test_a_refusal_is_one_line_of_the_process(tmp_path: Path) -> None:
    result = run_door("train.py", "--data", "missing", cwd=tmp_path)
    assert result == (2, "", "train.py: error: missing: no such folder\n")
    assert listing(tmp_path) == {}


# Help


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "train.py",
            "--preset --data --out --steps --minutes --seed --device --resume --held-out --stego --z --in-the-clear",
        ),
        ("conceal.py", "COVER SECRET -o --weights --resize --force --verbose lih.safetensors"),
        ("restore.py", "STEGO -o --task denoise,deblur,sr --weights --force lsr.safetensors"),
        ("reveal.py", "STEGO -o --weights --force lih.safetensors"),
    ],
)
def test_help_names_every_option(name: str, options: str, door: Door) -> None:
    result = door(name, "--help")
    assert result.status == 0
    assert result.err == ""
    assert [option for option in options.split() if option not in result.out] == []


def test_what_few_need_is_an_option_too(door: Door) -> None:
    fields = ["--lih.num-blocks", "--lsr.width", "--loss.hiding", "--train.batch-size", "--degradation.noise-sigma"]
    fields += ["--cache", "--accumulate", "--workers", "--compile", "--log-every", "--sheets-every", "--tensorboard"]
    brief, whole = (door("train.py", option).out for option in ("--help", "--help-all"))
    assert [field for field in fields if field in brief] == []
    assert [field for field in fields if field not in whole] == []
    assert "--help-all shows more options" in " ".join(brief.split())


@pytest.mark.parametrize("name", sorted(script.name for script in EXAMPLE.glob("*.py")))
def test_help_fits_a_screen_with_an_example(name: str, door: Door) -> None:
    told = door(name, "--help").out
    assert len(told.splitlines()) <= 45
    assert f"python examples/pirnet/{name}" in told


def test_help_of_a_process_fits_a_screen(tmp_path: Path) -> None:
    """Of the client's door with the most options: 30 lines of 80 columns, with an example to copy."""
    command = [sys.executable, EXAMPLE / "conceal.py", "--help"]
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) <= 30
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80  # the first says how it is called, with its whole path
    assert "The client hides a photo" in done.stdout
    assert "python examples/pirnet/conceal.py cover.png secret.jpg -o stego.png" in done.stdout


@pytest.mark.parametrize("name", ALL)
def test_unknown_options_are_refused(name: str, door: Door, tmp_path: Path) -> None:
    complete = {
        "train.py": (),
        "conceal.py": ("a.png", "b.png", "-o", "c.png"),
        "restore.py": ("a.png", "-o", "c.png", "--task", "sr"),
        "reveal.py": ("a.png", "-o", "c.png"),
    }
    result = door(name, *complete[name], "--nonsense", "3")
    assert result.status == 2
    assert "--nonsense" in result.err
    assert "Traceback" not in result.err
    assert listing(tmp_path) == {}


# Hiding, restoring, revealing


@pytest.mark.parametrize(("height", "width", "mode"), [(64, 64, "RGB"), (65, 47, "RGBA"), (16, 16, "L")])
def test_files_go_all_the_way(
    height: int, width: int, mode: str, trained: tuple[Path, Result], door: Door, tmp_path: Path
) -> None:
    save_image(tmp_path / "cover.png", 0, height, width, mode)
    save_image(tmp_path / "secret.png", 1, height, width, "L" if mode == "L" else "RGB")
    weights = ("--weights", trained[0])
    assert door("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights) == (0, "", "")
    assert door("restore.py", "stego.png", "-o", "restored.png", "--task", "sr", *weights) == (0, "", "")
    assert door("reveal.py", "restored.png", "-o", "revealed.png", *weights) == (0, "", "")
    cover = read_picture(tmp_path / "cover.png")
    for name in ("stego.png", "restored.png", "revealed.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            assert image.size == (width, height)
            assert image.mode == ("RGBA" if mode == "RGBA" and name != "revealed.png" else "RGB")
        alpha = read_picture(tmp_path / name).alpha
        assert (alpha is None) == (mode != "RGBA" or name == "revealed.png")
        if alpha is not None:
            assert cover.alpha is not None
            assert torch.equal(alpha, cover.alpha)
    assert {*listing(tmp_path)} == {"cover.png", "secret.png", "stego.png", "restored.png", "revealed.png"}


def test_a_secret_loses_its_transparency_and_is_told_so(
    trained: tuple[Path, Result], door: Door, tmp_path: Path
) -> None:
    save_image(tmp_path / "cover.png", 0, 32, 32)
    save_image(tmp_path / "secret.png", 1, 32, 32, "RGBA")
    result = door("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--weights", trained[0])
    assert result == (0, "", "secret.png: its transparency is not hidden, so what it covers will be seen\n")
    assert read_picture(tmp_path / "stego.png").alpha is None


def test_processes_do_what_the_networks_do(trained: tuple[Path, Result], tmp_path: Path) -> None:
    save_image(tmp_path / "cover.png", 0, 32, 48)
    save_image(tmp_path / "secret.png", 1, 32, 48)
    weights = ("--weights", trained[0])
    for name, *arguments in (
        ("conceal.py", "cover.png", "secret.png", "-o", "stego.png"),
        ("restore.py", "stego.png", "-o", "restored.png", "--task", "denoise"),
        ("reveal.py", "restored.png", "-o", "revealed.png"),
    ):
        result = run_door(name, *arguments, *weights, cwd=tmp_path)
        assert (result.status, result.err) == (0, "")
    pixels = {name: read_picture(tmp_path / f"{name}.png").pixels for name in ("cover", "secret", "stego", "restored")}
    lih, lsr = lih_of(trained[0]), load_lsr(trained[0] / "lsr.safetensors")
    with torch.no_grad():
        expected = {
            "stego": lih(pixels["cover"][None], pixels["secret"][None])[0],
            "restored": lsr(pixels["stego"][None], "denoise"),
            "revealed": lih.reveal(pixels["restored"][None]),
        }
    for name, image in expected.items():
        levels = to_uint8(image[0]).int() - to_uint8(read_picture(tmp_path / f"{name}.png").pixels).int()
        assert levels.abs().max() <= 1  # another memory layout may round the other way


def identity(scale: float, convolutions: tuple[nn.Conv2d, nn.Conv2d]) -> None:
    """Makes 12 -> 24 -> 12 channels with a leaky rectifier between them a multiple of the identity."""
    first, last = convolutions
    for convolution in convolutions:
        nn.init.zeros_(convolution.weight)
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
    with torch.no_grad():
        for channel in range(12):
            for sign, hidden in ((1, channel), (-1, channel + 12)):  # max(x, x / 10) - max(-x, -x / 10) = 1.1 x
                first.weight[hidden, channel, 1, 1] = sign
                last.weight[channel, hidden, 1, 1] = sign * scale / 1.1


@pytest.fixture(scope="module")
def half_and_double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that hide half of the secret in the cover, and reveal twice the stego: right for black covers."""
    folder = tmp_path_factory.mktemp("weights")
    config = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=24)
    lih = LIH(config)
    convolutions = [module for module in lih.modules() if isinstance(module, nn.Conv2d)]
    identity(0.5, (convolutions[2], convolutions[3]))  # the first block's update: c' = c + d / 2
    identity(2.0, (convolutions[4], convolutions[5]))  # the second block's predict: d' = d - 2 c'
    save_weights(folder / "lih.safetensors", lih, config)
    save_weights(folder / "lsr.safetensors", LSR(TINY_LSR), TINY_LSR)
    return folder


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 47), (17, 16)])
def test_what_is_hidden_is_revealed(height: int, width: int, half_and_double: Path, door: Door, tmp_path: Path) -> None:
    Image.new("RGB", (width, height)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, height, width)
    weights = ("--weights", half_and_double)
    assert door("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights).status == 0
    assert door("restore.py", "stego.png", "-o", "restored.png", "--task", "deblur", *weights).status == 0
    assert door("reveal.py", "restored.png", "-o", "revealed.png", *weights).status == 0
    levels = {name: to_uint8(read_picture(tmp_path / f"{name}.png").pixels) for name in ("secret", "stego", "revealed")}
    half, whole = levels["stego"].int(), levels["secret"].int()
    assert (2 * half - whole).abs().max() <= 1
    assert (levels["revealed"].int() - whole).abs().max() <= 1
    assert (tmp_path / "restored.png").read_bytes() == (tmp_path / "stego.png").read_bytes()  # an untrained cloud


def test_photos_are_hidden_the_right_way_up(half_and_double: Path, door: Door, tmp_path: Path) -> None:
    Image.new("RGB", (20, 40)).save(tmp_path / "cover.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise sets it upright
    save_image(tmp_path / "secret.jpg", 1, 20, 40, exif=exif)
    weights = ("--weights", half_and_double)
    assert door("conceal.py", "cover.png", "secret.jpg", "-o", "stego.png", *weights).status == 0
    assert door("reveal.py", "stego.png", "-o", "revealed.png", *weights).status == 0
    secret, revealed = (to_uint8(read_picture(tmp_path / name).pixels).int() for name in ("secret.jpg", "revealed.png"))
    assert secret.shape == (3, 40, 20)
    assert (secret - revealed).abs().max() <= 1


def test_a_secret_of_another_size_is_resized_on_demand(half_and_double: Path, door: Door, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, 64, 64)
    arguments = ("cover.png", "secret.png", "-o", "stego.png", "--weights", half_and_double)
    told = "secret.png needs the size of its cover, 30 x 40, got 64 x 64; --resize makes it so"
    assert_refused(door("conceal.py", *arguments), "conceal.py", told)
    assert "stego.png" not in listing(tmp_path)
    assert door("conceal.py", *arguments, "--resize").status == 0
    assert door("reveal.py", "stego.png", "-o", "revealed.png", "--weights", half_and_double).status == 0
    small = nn.functional.interpolate(
        read_picture(tmp_path / "secret.png").pixels[None], (30, 40), mode="bicubic", antialias=True
    )[0]
    revealed = read_picture(tmp_path / "revealed.png").pixels
    assert (small.clamp(0, 1) - revealed).abs().max() < 2.1 / 255


def test_existing_files_need_force(half_and_double: Path, door: Door, tmp_path: Path) -> None:
    save_image(tmp_path / "cover.png", 0, 32, 32)
    save_image(tmp_path / "secret.png", 1, 32, 32)
    weights = ("--weights", half_and_double)
    for name, *arguments in (
        ("conceal.py", "cover.png", "secret.png", "-o", "stego.png"),
        ("restore.py", "stego.png", "-o", "restored.png", "--task", "sr"),
        ("reveal.py", "restored.png", "-o", "revealed.png"),
    ):
        assert door(name, *arguments, *weights).status == 0
        before = listing(tmp_path)
        assert_refused(door(name, *arguments, *weights), name, "exists already and is not overwritten without --force")
        assert door(name, *arguments, *weights, "--force").status == 0
        assert listing(tmp_path) == before


def test_existing_files_are_seen_first(door: Door, tmp_path: Path) -> None:
    """Before weights are loaded and photos read, and long before a large one is hidden."""
    (tmp_path / "good.png").touch()
    for name, *arguments in (
        ("conceal.py", "nothing.png", "nothing.png"),
        ("restore.py", "nothing.png", "--task", "sr"),
        ("reveal.py", "nothing.png"),
    ):
        refused = door(name, *arguments, "-o", "good.png", "--weights", "nowhere")
        assert_refused(refused, name, "good.png: exists already and is not overwritten without --force")


def test_the_examples_own_weights_are_the_default(
    half_and_double: Path, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.SHIPPED == EXAMPLE / "weights"
    save_image(tmp_path / "cover.png", 0, 32, 32)
    shutil.copytree(half_and_double, tmp_path / "shipped")
    (tmp_path / "runs" / "quick").mkdir(parents=True)
    (tmp_path / "runs" / "quick" / "lih.safetensors").write_text("not looked at")
    monkeypatch.setattr(cli, "SHIPPED", tmp_path / "shipped")
    assert door("conceal.py", "cover.png", "cover.png", "-o", "stego.png").status == 0
    assert door("restore.py", "stego.png", "-o", "restored.png", "--task", "sr").status == 0
    (tmp_path / "shipped" / "lsr.safetensors").unlink()  # the client needs its own file alone
    assert door("reveal.py", "stego.png", "-o", "revealed.png").status == 0
    told = r"no weights at .*/shipped/lsr.safetensors: train with train.py, or name another folder with --weights"
    assert_refused(door("restore.py", "stego.png", "-o", "again.png", "--task", "sr"), "restore.py", told)


def test_verbose_tells_how_well_it_is_hidden(half_and_double: Path, door: Door, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "cover.png")
    Image.new("RGB", (32, 24), (200, 200, 200)).save(tmp_path / "secret.png")  # half of it: 100 / 255, 8.13 dB
    result = door("conceal.py", "cover.png", "secret.png", "-o", "s.png", "--weights", half_and_double, "--verbose")
    assert result == (0, "", "s.png: 8.1 dB from the cover\n")


# Streams


def piped(door: Door, patch: pytest.MonkeyPatch, name: str, *arguments: object, content: bytes = b"") -> bytes:
    """What a script makes of standard input."""
    result = io.BytesIO()
    with patch.context() as streams:
        streams.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        streams.setattr(sys, "stdout", io.TextIOWrapper(result))
        assert door(name, *arguments).status == 0
        return result.getvalue()


def test_streams_carry_what_files_do(
    half_and_double: Path, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(tmp_path / "cover.png", 0, 33, 40, "RGBA")
    save_image(tmp_path / "secret.png", 1, 33, 40)
    weights = ("--weights", half_and_double)
    assert door("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights).status == 0
    assert door("reveal.py", "stego.png", "-o", "revealed.png", *weights).status == 0
    before = listing(tmp_path)
    secret = (tmp_path / "secret.png").read_bytes()
    stego = piped(door, monkeypatch, "conceal.py", "cover.png", "-", "-o", "-", *weights, content=secret)
    assert stego == before["stego.png"]
    restored = piped(door, monkeypatch, "restore.py", "-", "-o", "-", "--task", "sr", *weights, content=stego)
    assert restored == stego  # an untrained cloud
    revealed = piped(door, monkeypatch, "reveal.py", "-", "-o", "-", *weights, content=restored)
    assert revealed == before["revealed.png"]
    assert listing(tmp_path) == before


def test_two_pictures_do_not_fit_in_one_stream(half_and_double: Path, door: Door) -> None:
    refused = door("conceal.py", "-", "-", "-o", "out.png", "--weights", half_and_double)
    assert_refused(refused, "conceal.py", "cover and secret cannot both come from standard input")


def test_a_reader_that_goes_away_is_told_in_one_line(half_and_double: Path, tmp_path: Path) -> None:
    save_image(tmp_path / "stego.png", 0, 300, 300)
    command = [sys.executable, EXAMPLE / "reveal.py", "-", "-o", "-", "--weights", half_and_double]
    with (
        (tmp_path / "stego.png").open("rb") as stego,
        subprocess.Popen(command, stdin=stego, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert_refused(Result(process.returncode, "", told), "reveal.py", "-: cannot write, .*Broken pipe")


REFUSALS = [
    ("conceal.py", ("nothing.png", "good.png", "-o", "out.png"), "nothing.png: no such file"),
    ("conceal.py", ("good.png", "nothing.png", "-o", "out.png"), "nothing.png: no such file"),
    (
        "conceal.py",
        ("good.png", "truncated.png", "-o", "out.png"),
        "truncated.png: cannot be read, damaged or truncated",
    ),
    (
        "conceal.py",
        ("truncated.jpg", "good.png", "-o", "out.png"),
        "truncated.jpg: cannot be read, damaged or truncated",
    ),
    ("conceal.py", ("deep.png", "good.png", "-o", "out.png"), "deep.png: more than 8 bits a channel .* convert it"),
    ("conceal.py", ("good.png", "deep.png", "-o", "out.png"), "deep.png: more than 8 bits a channel .* convert it"),
    ("conceal.py", ("small.png", "small.png", "-o", "out.png"), "small.png: needs at least 16 x 16 .* got 16 x 15"),
    ("conceal.py", ("text.png", "good.png", "-o", "out.png"), "text.png: not a PNG, JPEG, WebP, BMP or TIFF picture"),
    (
        "conceal.py",
        ("good.png", "good.png", "-o", "out.jpg"),
        "out.jpg: the name must end in .png.* destroy what is hidden",
    ),
    (
        "conceal.py",
        ("good.png", "good.png", "-o", "no/out.png"),
        "no/out.png: cannot write, the folder no does not exist",
    ),
    ("conceal.py", ("good.png", ".", "-o", "out.png"), "this is a folder, a picture file is needed"),
    (
        "restore.py",
        ("photo.jpg", "-o", "out.png", "--task", "sr"),
        "photo.jpg: a JPEG file cannot carry a hidden picture",
    ),
    (
        "restore.py",
        ("jpeg.png", "-o", "out.png", "--task", "sr"),
        "jpeg.png: a JPEG file cannot carry a hidden picture",
    ),
    ("restore.py", ("nothing.png", "-o", "out.png", "--task", "sr"), "nothing.png: no such file"),
    ("restore.py", ("truncated.png", "-o", "out.png", "--task", "sr"), "truncated.png: cannot be read"),
    ("restore.py", ("good.png", "-o", "out.jpeg", "--task", "sr"), "out.jpeg: the name must end in .png"),
    ("restore.py", ("deep.png", "-o", "out.png", "--task", "sr"), "deep.png: more than 8 bits a channel"),
    (
        "reveal.py",
        ("photo.jpg", "-o", "out.png"),
        "photo.jpg: a JPEG file cannot carry a hidden picture, .* use the PNG",
    ),
    ("reveal.py", ("nothing.png", "-o", "out.png"), "nothing.png: no such file"),
    ("reveal.py", ("truncated.png", "-o", "out.png"), "truncated.png: cannot be read"),
    ("reveal.py", ("good.png", "-o", "out.webp"), "out.webp: the name must end in .png"),
    ("reveal.py", ("small.png", "-o", "out.png"), "small.png: needs at least 16 x 16"),
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of every kind that is refused."""
    save_image(tmp_path / "good.png", 0, 32, 40)
    save_image(tmp_path / "photo.jpg", 0, 32, 40)
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "jpeg.png")
    save_image(tmp_path / "small.png", 0, 16, 15)
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(40, 32))
    (tmp_path / "text.png").write_text("no picture")
    for name in ("good.png", "photo.jpg"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"truncated{Path(name).suffix}").write_bytes(content[: len(content) // 2])
    return tmp_path


@pytest.mark.parametrize(("name", "arguments", "told"), REFUSALS)
def test_what_the_other_doors_refuse(
    name: str, arguments: tuple[str, ...], told: str, pictures: Path, half_and_double: Path, door: Door
) -> None:
    before = listing(pictures)
    assert_refused(door(name, *arguments, "--weights", half_and_double), name, told)
    assert listing(pictures) == before


@pytest.mark.parametrize("name", ["conceal.py", "restore.py", "reveal.py"])
def test_wrong_weights_are_refused(name: str, pictures: Path, half_and_double: Path, door: Door) -> None:
    arguments = {
        "conceal.py": ("good.png", "good.png", "-o", "out.png"),
        "restore.py": ("good.png", "-o", "out.png", "--task", "sr"),
        "reveal.py": ("good.png", "-o", "out.png"),
    }[name]
    mine, other = ("lsr", "lih") if name == "restore.py" else ("lih", "lsr")
    refused = door(name, *arguments, "--weights", "nowhere")
    assert_refused(refused, name, f"no weights at nowhere/{mine}.safetensors: train with train.py, or name another")
    weights = pictures / "weights"
    weights.mkdir()
    shutil.copy(half_and_double / f"{other}.safetensors", weights / f"{mine}.safetensors")
    told = f"weights/{mine}.safetensors needs to hold the weights of {mine.upper()}, got {other.upper()}"
    assert_refused(door(name, *arguments, "--weights", "weights"), name, told)
    content = (half_and_double / f"{mine}.safetensors").read_bytes()
    (weights / f"{mine}.safetensors").write_bytes(content[:-50])
    told = f"cannot read the weights weights/{mine}.safetensors"
    assert_refused(door(name, *arguments, "--weights", "weights"), name, told)
    assert "out.png" not in listing(pictures)


def test_unknown_tasks_are_refused(pictures: Path, half_and_double: Path, door: Door) -> None:
    result = door("restore.py", "good.png", "-o", "out.png", "--task", "dehaze", "--weights", half_and_double)
    assert result.status == 2
    assert "--task" in result.err
    assert "denoise" in result.err
    assert "out.png" not in listing(pictures)


def test_refusals_of_processes(pictures: Path, half_and_double: Path) -> None:
    weights = ("--weights", half_and_double)
    result = run_door("conceal.py", "good.png", "small.png", "-o", "out.png", *weights, cwd=pictures)
    told = "small.png: needs at least 16 x 16 pixels (height x width), got 16 x 15"
    assert result == (2, "", f"conceal.py: error: {told}\n")
    assert_refused(
        run_door("reveal.py", "photo.jpg", "-o", "out.png", *weights, cwd=pictures), "reveal.py", "photo.jpg: "
    )
    assert "out.png" not in listing(pictures)


# What the doors share


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ((), None),
        (("--out", "a"), "a"),
        (("--out=a=b",), "a=b"),
        (("--out", "a", "--seed", "1", "--out", "b"), "b"),
        (("--outer", "a"), None),
        (("--out",), ""),
    ],
)
def test_peek_sees_one_option(words: tuple[str, ...], value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    assert cli.peek("--out") == value


def test_peek_knows_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--preset", "slow"])
    with pytest.raises(ValueError, match="--preset needs one of quick, paper, got 'slow'"):
        cli.peek("--preset", ("quick", "paper"))


def test_devices_are_found_or_refused() -> None:
    assert cli.device("cpu") == torch.device("cpu")
    assert cli.device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="--device cuda:99 is not to be had here: "):
        cli.device("cuda:99")


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (19, 18)])
@pytest.mark.parametrize("multiple", [2, 8])
def test_any_size_is_made_a_multiple(size: tuple[int, int], multiple: int) -> None:
    seen: list[Tensor] = []

    def keep(*batches: Tensor) -> Tensor:
        seen.extend(batches)
        return batches[0] + batches[1]

    a, b = torch.rand(3, *size), torch.rand(3, *size)
    assert torch.equal(cli.on_any_size(keep, a, b, network=nn.Identity(), multiple=multiple), a + b)
    for batch, image in zip(seen, (a, b), strict=True):
        height, width = batch.shape[-2:]
        assert (height % multiple, width % multiple) == (0, 0)
        assert max(height - size[0], width - size[1]) < multiple
        assert torch.equal(batch[0, :, : size[0], : size[1]], image)
        assert (batch[0, :, size[0] :, : size[1]] == image[:, -1:]).all()  # the border goes on
        assert (batch[0, :, : size[0], size[1] :] == image[:, :, -1:]).all()


def test_large_photos_are_taken_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    lih = randomise_(LIH(LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8)))
    sizes: list[int] = []

    def hide(cover: Tensor, secret: Tensor) -> Tensor:
        sizes.append(max(cover.shape[-2:]))
        return lih(cover, secret)[0]

    def hidden() -> Tensor:
        sizes.clear()
        return cli.on_any_size(hide, smooth_image(0, 61, 97), smooth_image(1, 61, 97), network=lih, multiple=2)

    whole = hidden()
    assert sizes == [98]
    monkeypatch.setattr(cli, "TILE", 16)
    monkeypatch.setattr(cli, "LARGEST", 61 * 97)
    assert torch.equal(hidden(), whole)
    monkeypatch.setattr(cli, "LARGEST", 61 * 97 - 1)
    assert (hidden() - whole).abs().max() <= 1e-5
    assert max(sizes[1:]) == 16 + 2 * 16  # the first call finds out how far the network reaches: 16 pixels
    assert len(sizes[1:]) == 4 * 7
    monkeypatch.setattr(cli, "MAX_OVERLAP", 8)
    hidden()
    assert max(sizes[1:]) == 16 + 2 * 8


@pytest.mark.slow
def test_the_door_leaves_no_seam(door: Door, tmp_path: Path) -> None:
    """Sizes as they are: 1030 x 2050 pixels are cut both ways."""
    config = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8)
    lih = randomise_(LIH(config))
    save_weights(tmp_path / "lih.safetensors", lih, config)
    save_image(tmp_path / "cover.png", 0, 1030, 2050)
    save_image(tmp_path / "secret.png", 1, 1030, 2050)
    assert door("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--weights", tmp_path).status == 0
    cover, secret, stego = (read_picture(tmp_path / f"{name}.png").pixels for name in ("cover", "secret", "stego"))
    with torch.inference_mode():
        whole = lih(cover[None], secret[None])[0]
    assert (to_uint8(stego).int() - to_uint8(whole[0]).int()).abs().max() <= 1


def failing(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize("error", [ValueError("two\n  lines"), OSError("two lines")])
def test_errors_are_told_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/a/b/door.py"])
    with pytest.raises(SystemExit) as stop:
        cli.run(failing(error))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "door.py: error: two lines\n"


def test_other_ends_are_left_to_python() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(failing(KeyboardInterrupt()))
    assert stop.value.code == 130
    with pytest.raises(ZeroDivisionError):  # a mistake of ours: its traceback is wanted
        cli.run(failing(ZeroDivisionError()))
