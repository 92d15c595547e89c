"""Closed standard streams: one line or silence, and never text inside a picture."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pirnet.support.signals import settle

from tests.example.fork_server import ForkServer
from tests.example.helpers import EXAMPLE, Script, assert_refused, save_image


@pytest.fixture
def photos(tmp_path: Path, half_and_double: Path) -> tuple[str, ...]:
    """The arguments of conceal.py for two photos in `tmp_path`."""
    save_image(tmp_path / "cover.png", 0, 32, 32)
    save_image(tmp_path / "secret.png", 1, 32, 32)
    return "conceal.py", "cover.png", "secret.png", "--weights", str(half_and_double), "--key", "k", "--verbose"


def test_without_standard_error_there_is_no_text_in_the_picture(
    photos: tuple[str, ...], fork_server: ForkServer, tmp_path: Path
) -> None:
    assert fork_server(*photos, "-o", "-", cwd=tmp_path, closed=("stderr",)) == 0
    content = (tmp_path / "out").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content.endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdin", "stdout", "stderr")])
def test_a_file_is_whole_without_streams(
    closed: tuple[str, ...], photos: tuple[str, ...], fork_server: ForkServer, tmp_path: Path
) -> None:
    assert fork_server(*photos, "-o", "stego.png", cwd=tmp_path, closed=closed) == 0
    with Image.open(tmp_path / "stego.png") as image:
        image.load()
    assert (tmp_path / "stego.png").read_bytes().endswith(b"IEND\xaeB`\x82")


def test_a_closed_stream_that_is_needed_is_named(
    photos: tuple[str, ...], fork_server: ForkServer, tmp_path: Path
) -> None:
    assert fork_server(*photos, "-o", "-", cwd=tmp_path, closed=("stdout",)) == 2
    message = "conceal.py: error: -: cannot write, standard output is closed\n"
    assert (tmp_path / "err").read_text() == message
    name, _, *rest = photos
    assert fork_server(name, "-", *rest, "-o", "stego.png", cwd=tmp_path, closed=("stdin",)) == 2
    message = "conceal.py: error: -: cannot be read, standard input is closed\n"
    assert (tmp_path / "err").read_text() == message
    assert fork_server("conceal.py", "no.png", "no.png", "-o", "out.png", cwd=tmp_path, closed=("stderr",)) == 2
    assert (tmp_path / "out").read_text() == ""


needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@needs_dev_full
def test_a_full_disk_is_one_line(photos: tuple[str, ...], fork_server: ForkServer, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    assert fork_server(*photos, "-o", "-", cwd=tmp_path) == 2
    assert (tmp_path / "err").read_text() == "conceal.py: error: -: cannot write, No space left on device\n"


@pytest.mark.slow
@needs_dev_full
def test_a_reader_that_has_gone_and_a_full_disk_are_one_line(photos: tuple[str, ...], tmp_path: Path) -> None:
    name, *arguments = photos
    command = [sys.executable, EXAMPLE / name, *arguments, "-o", "-"]
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("w") as full:
        for number, problem in ((writer, "Broken pipe"), (full.fileno(), "No space left on device")):
            done = subprocess.run(command, cwd=tmp_path, stdout=number, stderr=subprocess.PIPE, text=True)
            assert (done.returncode, done.stderr) == (2, f"conceal.py: error: -: cannot write, {problem}\n")
    os.close(writer)


def test_text_that_nobody_can_receive_is_dropped() -> None:
    settle(None)
    settle(io.StringIO("text"))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        stream.write("text")
        settle(stream)


def test_a_file_of_the_name_of_standard_input(photos: tuple[str, ...], script: Script, tmp_path: Path) -> None:
    name, _, *rest = photos
    (tmp_path / "cover.png").rename(tmp_path / "-")
    assert script(name, "./-", *rest, "-o", "stego.png").status == 0
    assert (tmp_path / "stego.png").is_file()
    refused = script(name, "./-", *rest, "-o", "./-")
    assert_refused(refused, name, f"{tmp_path}/-: the name must end in .png, got 'no ending'")


@pytest.mark.parametrize("words", [("--out=",), ("--out", ""), ("--resume", "--out=")])
def test_empty_values_are_refused(words: tuple[str, ...], script: Script, tmp_path: Path) -> None:
    """`--resume --out=` would continue the latest run, and `--out=` write into the current folder."""
    assert_refused(script("train.py", *words), "train.py", "--out needs a value, got an empty one")
    assert list(tmp_path.iterdir()) == []
