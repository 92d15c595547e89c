"""Puts the folder of the example on the path, as running one of its scripts does, and trains once for all tests."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "pirnet")
if EXAMPLE not in sys.path:
    sys.path.insert(0, EXAMPLE)

from pirnet.config import LIHConfig  # noqa: E402 (needs the path)
from pirnet.model import LIH, LSR  # noqa: E402
from pirnet.support.signals import ENDING  # noqa: E402
from pirnet.weights import save_weights  # noqa: E402

from liftlayers.testing import randomise_  # noqa: E402
from tests.deep_photos import png_of_16_bits  # noqa: E402
from tests.example.fork_server import ForkServer  # noqa: E402
from tests.example.helpers import TINY, TINY_LSR, Result, Script, run_script, save_image  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the caches of the tests out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a run of three steps on the bundled photos, in a separate process, and what that printed."""
    folder = tmp_path_factory.mktemp("trained")
    result = run_script("train.py", "--steps", "3", "--out", "run", *TINY, cwd=folder)
    assert result.status == 0, result.err
    return folder / "run", result


@pytest.fixture(scope="session")
def fork_server(_caches: None) -> Iterator[ForkServer]:
    """Runs scripts as processes that start at once."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        save_image(folder / f"{seed}.png", seed, 48, 64)
    return folder


@pytest.fixture
def _signals_by_default() -> Iterator[None]:
    """No signal is ignored, as SIGHUP is under nohup, and SIGINT in a job that a shell started in the background."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Runs one of the example's scripts in `tmp_path`."""
    return Script(tmp_path, monkeypatch, capsys)


def identity(scale: float, convolutions: tuple[nn.Conv2d, nn.Conv2d]) -> None:
    """Turns two convolutions, 12 to 24 to 12 channels with a leaky ReLU between, into a multiple of the identity."""
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


@pytest.fixture(scope="session")
def half_and_double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that add half of the secret to the cover and reveal twice the stego image: right for black covers."""
    folder = tmp_path_factory.mktemp("weights")
    config = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=24, headroom=0)
    lih = LIH(config)
    convolutions = [module for module in lih.modules() if isinstance(module, nn.Conv2d)]
    identity(0.5, (convolutions[2], convolutions[3]))  # the first block's update: c' = c + d / 2
    identity(2.0, (convolutions[4], convolutions[5]))  # the second block's predict: d' = d - 2 c'
    save_weights(folder / "lih.safetensors", lih, config)
    save_weights(folder / "lsr.safetensors", LSR(TINY_LSR), TINY_LSR)
    return folder


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest networks with random weights: all of them change an image."""
    folder = tmp_path_factory.mktemp("random")
    config = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8)
    save_weights(folder / "lih.safetensors", randomise_(LIH(config)), config)
    save_weights(folder / "lsr.safetensors", randomise_(LSR(TINY_LSR)), TINY_LSR)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one picture of every kind that the scripts refuse."""
    save_image(tmp_path / "good.png", 0, 32, 40)
    save_image(tmp_path / "photo.jpg", 0, 32, 40)
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "jpeg.png")
    save_image(tmp_path / "small.png", 0, 16, 15)
    save_image(tmp_path / "palette.png", 0, 32, 40, "P")
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(40, 32))
    (tmp_path / "text.png").write_text("no picture")
    for name in ("good.png", "photo.jpg"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"truncated{Path(name).suffix}").write_bytes(content[: len(content) // 2])
    return tmp_path
