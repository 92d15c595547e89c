"""The command line that all scripts share, and images of any size."""

import errno
import re
import signal
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import torch
import tyro
from pirnet.config import LIHConfig
from pirnet.model import LIH
from pirnet.support import cli
from pirnet.support.settings import Count, Share
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from liftlayers.testing import randomise_
from tests.example.helpers import (
    smooth_image,
)


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


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("no memory"), "out of memory or disk space: no memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "can't allocate memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "CUDA out of memory"),
        (RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed. "), "killed by signal: Killed"),
        (OSError(errno.ENOSPC, "No space left on device", "run/checkpoint.pt"), "device: 'run/checkpoint.pt'"),
    ],
)
def test_what_is_full_is_one_line(error: Exception, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/cluster.py"])
    message = r'^cluster.py: error: ray is missing: pip install -e "\.\[cluster\]"$'
    with pytest.raises(SystemExit, match=message), cli.needs_extra("cluster"):
        raise ModuleNotFoundError(name="ray")


def test_other_errors_keep_their_traceback() -> None:
    def main() -> None:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        cli.run(main)


every_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


@pytest.mark.usefixtures("_signals_by_default")
@every_signal
def test_a_signal_ends_a_script_by_an_exception(number: signal.Signals) -> None:
    """No second exception disturbs what is done in a `finally` clause."""
    cleaned = []

    def main() -> None:
        try:
            signal.raise_signal(number)
        finally:
            with suppress(ValueError):  # another error, which is handled
                raise ValueError
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                time.sleep(0.01)
            signal.raise_signal(signal.SIGTERM)  # which arrives with SIGHUP when a terminal closes
            cleaned.append(True)

    before = [signal.getsignal(each) for each in signal.Signals]
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert (end.value.code, cleaned) == (128 + number, [True])
    assert [signal.getsignal(each) for each in signal.Signals] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.usefixtures("_signals_by_default")
def test_a_second_interrupt_does_not_wait() -> None:
    cleaned = []

    def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert (end.value.code, cleaned) == (128 + signal.SIGINT, [])


class Thing:
    """Weak references to it can be made."""


class Name:
    """Sends a signal when a class gives it a name."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __set_name__(self, owner: type, name: str) -> None:
        signal.raise_signal(self.number)


def caught(number: signal.Signals) -> None:
    with suppress(BaseException):  # as some modules do while they import an optional package
        signal.raise_signal(number)


def ignored(number: signal.Signals) -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing  # Python ignores exceptions of the callback
    assert reference() is None


def replaced(number: signal.Signals) -> None:
    type("Named", (), {"name": Name(number)})  # Python 3.11 raises a RuntimeError from the exception


def caught_while_cleaning(number: signal.Signals) -> None:
    try:
        raise ValueError
    except ValueError:
        caught(number)


@pytest.mark.usefixtures("_signals_by_default")
@every_signal
@pytest.mark.parametrize("receive", [caught, ignored, replaced, caught_while_cleaning])
@pytest.mark.parametrize("seconds", [0, 20])
def test_no_signal_is_lost(
    seconds: int, receive: Callable[[signal.Signals], None], number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although its exception does not leave the code that received it, nor if the script ends right after."""

    def main() -> None:
        receive(number)
        time.sleep(seconds)

    hook = sys.unraisablehook
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == 128 + number
    err = capsys.readouterr().err
    assert err == (f"{Path(sys.argv[0]).name}: interrupted\n" if number == signal.SIGINT else "")
    assert sys.unraisablehook == hook


@pytest.mark.usefixtures("_signals_by_default")
@every_signal
def test_ignored_signals_stay_ignored(number: signal.Signals) -> None:
    """As SIGHUP by nohup, and SIGINT by a shell that starts a job in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        cli.run(lambda: signal.raise_signal(number))
    finally:
        signal.signal(number, before)


@pytest.mark.usefixtures("_signals_by_default")
def test_a_signal_while_options_are_read_is_no_wrong_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tyro, "cli", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: cli.parse(Photo, "Describes a photo."))
    assert end.value.code == 128 + signal.SIGTERM


def test_peek_knows_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--preset", "slow"])
    with pytest.raises(ValueError, match="--preset needs one of quick, paper, got 'slow'"):
        cli.peek("--preset", ("quick", "paper"))


def test_devices_are_found_or_refused() -> None:
    assert cli.device("cpu") == torch.device("cpu")
    assert cli.device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "meta", "toaster", ""):
        with pytest.raises(ValueError, match=f"--device {name} is not available: .{{,80}}$"):
            cli.device(name)


@dataclass(frozen=True)
class Photo:
    size: Annotated[tuple[Count, Count], tyro.conf.arg(aliases=["-s"])]
    """Height and width of the photo."""
    share: Share = 0.5
    """Share of the photo."""
    kind: Literal["png", "jpeg"] = "png"
    """Kind of file."""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-s", "1", "0"), "--size needs at least 1, got 1, 0"),
        (("-s", "1", "1", "--share", "nan"), "--share needs at least 0 and at most 1, got nan"),
        (("-s", "1", "1", "--share", "much"), r".*--share.*'much'.*"),
        (("-s", "1"), ".*--size.*2 values.*"),
        ((), ".*--size.*"),
        (("-s", "1", "1", "--shar", "1"), ".*--shar.* --share FLOAT"),
        (("-s", "1", "1", "--kind", "bmp"), ".*'bmp'.*--kind.*png, jpeg.*"),
    ],
)
def test_wrong_values_are_one_line(words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    with pytest.raises(ValueError, match=f"^{message}$") as refused:
        cli.parse(Photo, "Describes a photo.")
    assert "helptext" not in str(refused.value)
    assert "Height and width of" not in str(refused.value)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (19, 18)])
@pytest.mark.parametrize("multiple", [2, 8])
def test_any_size_is_made_a_multiple(size: tuple[int, int], multiple: int) -> None:
    """Images are padded to the next multiple by repeating their last row and column, and the result is cropped."""
    seen: list[Tensor] = []

    def keep(*batches: Tensor) -> Tensor:
        seen.extend(batches)
        return batches[0] + batches[1]

    a, b = torch.rand(3, *size), torch.rand(3, *size)
    height, width = (side // 2 * 2 for side in size)  # the last row or column of an odd side is left out
    result = cli.on_any_size(keep, a, b, network=nn.Identity(), multiple=multiple)
    assert result.shape == a.shape
    assert torch.equal(result[:, :height, :width], (a + b)[:, :height, :width])
    assert (result[:, height:] == result[:, height - 1 : height]).all()  # it repeats its neighbour
    assert (result[:, :, width:] == result[:, :, width - 1 : width]).all()
    for batch, image in zip(seen, (a, b), strict=True):
        assert (batch.shape[-2] % multiple, batch.shape[-1] % multiple) == (0, 0)
        assert max(batch.shape[-2] - height, batch.shape[-1] - width) < multiple
        assert torch.equal(batch[0, :, :height, :width], image[:, :height, :width])
        assert (batch[0, :, height:, :width] == image[:, height - 1 : height, :width]).all()  # the border is repeated
        assert (batch[0, :, :height, width:] == image[:, :height, width - 1 : width]).all()


def test_large_photos_are_taken_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo above the limit is processed in tiles with the overlap that the network needs, with the same result."""
    lih = randomise_(LIH(LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8)))
    sizes: list[int] = []

    def hide(cover: Tensor, secret: Tensor) -> Tensor:
        sizes.append(max(cover.shape[-2:]))
        return lih(cover, secret)[0]

    def hidden() -> Tensor:
        sizes.clear()
        return cli.on_any_size(hide, smooth_image(0, 61, 97), smooth_image(1, 61, 97), network=lih, multiple=2)

    whole = hidden()
    assert sizes == [96]
    monkeypatch.setattr(cli, "TILE", 16)
    monkeypatch.setattr(cli, "MAX_PIXELS", 60 * 96)
    assert torch.equal(hidden(), whole)
    monkeypatch.setattr(cli, "MAX_PIXELS", 60 * 96 - 1)
    assert (hidden() - whole).abs().max() <= 1e-5
    assert max(sizes[1:]) == 16 + 2 * 16  # the first call measures the reach of the network: 16 pixels
    assert len(sizes[1:]) == 4 * 6
    monkeypatch.setattr(cli, "MAX_OVERLAP", 8)
    hidden()
    assert max(sizes[1:]) == 16 + 2 * 8


def failing(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (OSError("two lines"), "two lines"),
        (ValueError(), r"ValueError in test_cli\.py, line \d+"),
        (OSError(" \n"), r"OSError in test_cli\.py, line \d+"),
        (MemoryError(), r"out of memory or disk space: MemoryError in test_cli\.py, line \d+"),
    ],
)
def test_errors_are_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/a/b/script.py"])
    with pytest.raises(SystemExit) as stop:
        cli.run(failing(error))
    assert stop.value.code == 2
    assert re.fullmatch(f"script.py: error: {line}\n", capsys.readouterr().err)


class Broken(Dataset):
    """Every item is an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, _index: int) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EIO, "Input/output error", "a.photos"), "[Errno 5] Input/output error: 'a.photos'"),
        (RuntimeError("can't allocate memory\n  of 8 bytes"), "can't allocate memory of 8 bytes"),
        (MemoryError(), ""),
    ],
)
def test_an_error_of_a_worker_is_its_cause(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not the traceback of the worker, which PyTorch writes into the message."""
    loader = DataLoader(Broken(error), batch_size=None, sampler=range(1), num_workers=1, multiprocessing_context="fork")
    monkeypatch.setattr(sys, "argv", ["/a/b/train.py"])
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: list(loader))
    assert stop.value.code == 2
    prefix = "" if isinstance(error, OSError) else "out of memory or disk space: "
    cause = f"{type(error).__name__}: {line}".removesuffix(": ")
    assert capfd.readouterr().err == f"train.py: error: {prefix}{cause}\n"


@pytest.mark.usefixtures("_signals_by_default")
def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["/a/b/script.py"])
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: signal.raise_signal(signal.SIGINT))
    assert stop.value.code == 130
    assert capsys.readouterr().err == "script.py: interrupted\n"


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(ZeroDivisionError):  # a bug in our code, which needs its traceback
        cli.run(failing(ZeroDivisionError()))
