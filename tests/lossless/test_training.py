"""Training lowers the code length, continues after a kill, and its weights return photos."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("constriction", reason="needs the extra `lossless`")

from photo_codec import training
from photo_codec.command import locked
from photo_codec.container import compress, decompress, load_weights
from photo_codec.model import Model
from photo_codec.photos import PhotoError
from photo_codec.training import Run, draw, export, load_photos

from tests.deep_photos import png_of_16_bits
from tests.lossless.conftest import EXAMPLE


@pytest.fixture
def photos(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    monkeypatch.setattr(training, "CROP", 32)
    monkeypatch.setattr(training, "BATCH", 2)
    monkeypatch.setattr(training, "RATE", 0.01)
    monkeypatch.setattr(training, "WARM_UP", 1)
    rng = np.random.default_rng(0)
    return [(np.add.outer(np.arange(40), np.arange(48))[..., None] + rng.integers(5, size=3)).astype(np.uint8)]


def test_steps_continue_and_the_weights_return_photos(photos: list[np.ndarray], tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = Run(tmp_path, 1.0, Model(12))
    losses = [run.update(*draw(photos, 2, np.random.default_rng(run.step))) for _ in range(4)]
    assert losses[-1] < losses[0]
    run.check(photos, losses[-1])
    assert json.loads((tmp_path / "log.jsonl").read_text())["step"] == 4
    again = Run(tmp_path, 1.0, Model(12))
    again.load()
    crops, about = draw(photos, 2, np.random.default_rng(9))
    assert again.step == 4
    assert again.update(crops, about) == run.update(crops, about)
    file = tmp_path / "weights"
    file.write_bytes(export(run.model, photos, counted=2))
    weights = load_weights(file)
    damaged = bytearray((tmp_path / "checkpoint.pt").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "checkpoint.pt").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"checkpoint.pt needs to be a checkpoint of train.py, got a damaged file"):
        again.load()
    assert np.array_equal(decompress(compress(photos[0], weights), weights)[0], photos[0])


def test_histories_change_the_pixels_alone() -> None:
    photo = np.random.default_rng(0).integers(256, size=(33, 46, 3)).astype(np.uint8)
    for history in training.HISTORIES:
        aged = history(photo, np.random.default_rng(0))
        assert (aged.shape, aged.dtype) == (photo.shape, photo.dtype)
        assert not np.array_equal(aged, photo)


@pytest.mark.slow
def test_the_script_trains_continues_and_refuses_to_overwrite(
    photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "COUNTED", 4)
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(photos[0]).save("photos/one.png")

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", "--data", "photos", "--width", "12", "--out", "run", *words])
        try:
            runpy.run_path(f"{EXAMPLE}/train.py", run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    assert call("--minutes", "0.01") == 0
    steps = json.loads(Path("run/log.jsonl").read_text().splitlines()[-1])["step"]
    assert call() == 2
    assert "run has a run: continue it with --resume, or choose another folder" in capsys.readouterr().err
    assert call("--minutes", "0") == 2
    assert "--minutes needs a finite number above 0 and --width at least 1, got 0.0 and 12" in capsys.readouterr().err
    assert call("--minutes", "0.02", "--resume") == 0
    assert json.loads(Path("run/log.jsonl").read_text().splitlines()[-1])["step"] > steps
    assert load_weights(Path("run/lossless.safetensors")).model.width == 12
    Path("run/checkpoint.pt").unlink()  # weights alone are not overwritten either
    assert call() == 2


def test_damaged_photos_are_named(photos: list[np.ndarray], tmp_path: Path) -> None:
    Image.fromarray(photos[0]).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"half.png cannot be read, damaged or truncated: "):
        load_photos([tmp_path])


def test_folders_without_large_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--data needs \.png, .* files of at least 96 x 96 pixels, got none"):
        load_photos([tmp_path])


def test_deep_photos_are_refused(tmp_path: Path) -> None:
    """Pillow would make them white."""
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(120, 120))
    with pytest.raises(PhotoError, match=r"deep\.png needs to be 8-bit"):
        load_photos([tmp_path])


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ValueError, match="has a run that is not over"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
