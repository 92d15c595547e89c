"""The smallest networks and photos that can be trained, and functions that call the scripts as a user does."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from pirnet.config import Config, LIHConfig, LSRConfig, quick
from pirnet.model import LIH
from pirnet.pixels import to_uint8
from pirnet.support.photos import Photos
from pirnet.weights import load_lih
from torch import Tensor, nn

EXAMPLE = Path(__file__).parents[2] / "examples" / "pirnet"

TINY_LSR = LSRConfig(
    num_scales=1,
    num_blocks=1,
    predictor="conv",
    hidden_channels=4,
    width=4,
    encoder=(1,),
    middles=(0, 1, 1),
    decoder_middle=0,
    decoder=(1,),
)
TINY = (  # the config of `tiny()` on the command line
    *("--train.batch-size", "4", "--train.crop", "32", "--log-every", "1", "--device", "cpu"),
    *("--lih.num-blocks", "2", "--lih.hidden-channels", "8", "--lsr.num-scales", "1", "--lsr.num-blocks", "1"),
    *("--lsr.hidden-channels", "4", "--lsr.width", "4", "--lsr.encoder", "1", "--lsr.middles", "0", "1", "1"),
    *("--lsr.decoder-middle", "0", "--lsr.decoder", "1"),
)


def tiny(steps: tuple[int, int, int] = (3, 3, 2), **changes: object) -> Config:
    """The quick preset with the smallest networks; `changes` replace fields of its `train`."""
    train = {"batch_size": 4, "crop": 32, "warmup": 1, "steps": steps} | changes
    return replace(
        quick(),
        lih=LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8),
        lsr=TINY_LSR,
        train=replace(quick().train, **train),
    )


def smooth_image(seed: int, height: int, width: int) -> Tensor:
    """A random image as smooth as a photo: (3, H, W) in [0, 1]."""
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)


def smooth_photos(count: int = 4, side: int = 40) -> Photos:
    return Photos(
        tuple(f"photo{i}" for i in range(count)), tuple(to_uint8(smooth_image(i, side, side)) for i in range(count))
    )


def save_image(
    path: Path, seed: int, height: int, width: int, mode: str = "RGB", exif: Image.Exif | None = None
) -> None:
    """Writes a smooth random photo of a Pillow mode; an alpha channel runs from left to right."""
    image = Image.fromarray(to_uint8(smooth_image(seed, height, width)).permute(1, 2, 0).numpy()).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").rotate(90).resize((width, height)))
    image.save(path, exif=exif or Image.Exif())


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in mine.items())


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def strict_json(text: str) -> dict:
    """Reads JSON as other programs do: NaN and Infinity, which Python accepts, are errors."""

    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def log_of(run: Path) -> list[dict]:
    """The rows of a run's log without their times."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class Result(NamedTuple):
    status: int
    out: str
    err: str


def run_script(name: str | Path, *arguments: object, cwd: Path, environment: Mapping[str, str] | None = None) -> Result:
    """Runs one of the example's scripts, or the script at a full path, in a separate process."""
    done = subprocess.run(
        [sys.executable, EXAMPLE / name, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **(environment or {})},
        timeout=300,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Script:
    """Runs the example's scripts in this process, which saves the seconds that importing torch takes."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._patch = patch
        self._capture = capture

    def __call__(self, name: str, *arguments: object) -> Result:
        """Returns what the script printed and its exit status; other exceptions than SystemExit are raised."""
        self._capture.readouterr()
        with self._patch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("COLUMNS", "120")  # help is wrapped to the width of the terminal
            patch.setattr(sys, "argv", [str(EXAMPLE / name), *map(str, arguments)])
            status, interrupt = 0, signal.getsignal(signal.SIGINT)
            try:
                runpy.run_path(str(EXAMPLE / name), run_name="__main__")
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 1
            finally:
                signal.signal(signal.SIGINT, interrupt)
        out, err = self._capture.readouterr()
        return Result(status, str(out), str(err))


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, hidden files included."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_refused(result: Result, script: str, message: str) -> None:
    """Asserts one line on standard error that begins with the script's name, and exit status 2."""
    assert result.status == 2, result
    (line,) = result.err.splitlines()
    assert re.match(rf"{script}: error: .*{message}", line), line


def lih_of(run: Path) -> LIH:
    return load_lih(run / "lih.safetensors")


LOCKED = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another(run: Path) -> Iterator[None]:
    """Another process trains in a run's folder, and is killed at the end."""
    command = [sys.executable, "-c", LOCKED, run / ".lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        yield
        other.kill()
