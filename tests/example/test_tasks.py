"""The network, the scripts and the tables read the table of tasks; a new task is one row and one function."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pirnet.degrade
import pytest
import torch
from pirnet.config import LSRConfig, TrainConfig, quick
from pirnet.degrade import Degradation
from pirnet.model import LSR
from pirnet.support.places import SHIPPED
from pirnet.tasks import TASKS, Task, degrade
from pirnet.trainer import Trainer
from pirnet.weights import load_lih, load_lsr
from torch import Tensor

from tests.example.helpers import EXAMPLE, log_of, save_image, smooth_image, smooth_photos, tiny
from tests.example.processes import run_scripts

JPEG_TINY = (  # the smallest networks, with one number in `middles` for each task
    *("--train.batch-size", "5", "--train.crop", "32", "--log-every", "1", "--device", "cpu"),
    *("--lih.num-blocks", "1", "--lih.hidden-channels", "4", "--lsr.num-blocks", "1", "--lsr.hidden-channels", "4"),
    *("--lsr.width", "4", "--lsr.encoder", "1", "--lsr.decoder-middle", "0", "--lsr.decoder", "1"),
)


def brightened(x: Tensor, _degradation: Degradation, _generator: torch.Generator) -> Tensor:
    return x + 0.1


@pytest.fixture
def fourth_task(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(pirnet.degrade, "brightened", brightened, raising=False)
    monkeypatch.setitem(TASKS, "brighten", Task("too bright", "brightened", 1))
    return "brighten"


def test_the_table_is_the_paper_s() -> None:
    assert LSRConfig().middles == (0, 2, 2)
    assert quick().lsr.middles == (0, 1, 1)
    assert TrainConfig().tasks == ("denoise", "deblur", "sr", "sr")
    assert quick().train.tasks == ("denoise", "denoise", "deblur", "sr")


def test_a_row_is_enough_to_train(fourth_task: str) -> None:
    """A fourth row in the table is enough to train its task."""
    assert quick().lsr.middles == (0, 1, 1, 1)
    start = tiny((1, 1, 0), batch_size=5)
    assert len(LSR(quick().lsr).tasks) == 4
    assert start.train.tasks[-1] == fourth_task
    config = replace(start, lsr=replace(start.lsr, middles=quick().lsr.middles))
    run = Trainer(config, smooth_photos(), device=torch.device("cpu"))
    assert {fourth_task} <= set(run.tasks)
    assert [run.take_step()["stage"] for _ in range(2)] == [1, 2]
    image = smooth_image(0, 16, 16)[None]
    bright = degrade(image, fourth_task, Degradation(), generator=torch.Generator())
    assert torch.equal(bright, torch.round((image + 0.1) * 255) / 255)


def test_shipped_weights_keep_their_tasks(fourth_task: str) -> None:
    lsr = load_lsr(SHIPPED / "lsr.safetensors")
    assert lsr.tasks == ("denoise", "deblur", "sr")
    image = smooth_image(0, 16, 16)[None]
    with torch.inference_mode():
        assert lsr(image, "sr").shape == image.shape
        with pytest.raises(ValueError, match="one of the tasks denoise, deblur, sr, got 'brighten'"):
            lsr(image, fourth_task)


@pytest.mark.slow
def test_the_worked_example_of_the_readme(photo_folder: Path, tmp_path: Path) -> None:
    """The README's function and row for JPEG artefacts are trained for two steps and then used by all scripts."""
    copy = tmp_path / "pirnet"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("results", "runs", "__pycache__", "node_modules"))
    readme = (EXAMPLE / "README.md").read_text().partition("## A new task")[2]
    function, row = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    code, table = copy / "pirnet" / "degrade.py", copy / "pirnet" / "tasks.py"
    code.write_text(f"{code.read_text()}\n\n{function}")
    before = table.read_text()
    last_row = re.findall(r'^    "\w+": Task\(.*\n', before, re.MULTILINE)[-1]
    table.write_text(before.replace(last_row, last_row + row))

    save_image(tmp_path / "stego.png", 0, 32, 32)
    trained, restored, report, *comparison = run_scripts(
        copy,
        ("train.py", "--steps", 2, "--out", "run", "--data", photo_folder, *JPEG_TINY),
        ("restore.py", "stego.png", "-o", "restored.png", "--task", "jpeg", "--weights", "run"),
        ("evaluate.py", "--data", photo_folder, "--out", "report", "--limit", 1, "--weights", "run"),
        *([("reproduce/compare.py", "--rows", "nothing")] if (copy / "reproduce").is_dir() else []),
        cwd=tmp_path,
    )
    assert trained.status == 0, trained.err
    assert len(log_of(tmp_path / "run")) == 2
    assert (tmp_path / "run" / "jpeg.png").is_file()
    assert re.search(r"jpeg +ours +\d+\.\d\d", trained.out)
    assert restored == (0, "", "")
    assert report.status == 0, report.err
    assert "JPEG, quality 10 to 40 | ours" in (tmp_path / "report" / "results.md").read_text()
    assert all("jpeg-pirnet" in message.err for message in comparison)
    assert load_lih(tmp_path / "run" / "lih.safetensors") is not None
