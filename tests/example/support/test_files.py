"""Files that are written completely or not at all: their modes, links, and what leaves no temporary file."""

import errno
import os
import signal
import stat
from pathlib import Path

import pytest
import torch
from pirnet import images
from pirnet.images import ImageError, check_output, write_png
from pirnet.support import files, signals
from pirnet.support.files import atomic_path, write_text

PIXELS = torch.zeros(3, 16, 16)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o666])
def test_a_replaced_file_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    write_text(path, "new")
    assert (path.read_text(), mode_of(path)) == ("new", mode)


def test_new_files_have_the_usual_mode_and_secrets_a_private_one(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_text(tmp_path / "new", "new")
    assert mode_of(tmp_path / "new") == mode_of(tmp_path / "usual")
    with atomic_path(tmp_path / "secret", private=True) as temporary:
        assert mode_of(temporary) == 0o600  # from the first byte on
        temporary.write_text("secret")
    assert mode_of(tmp_path / "secret") == 0o600


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "nothing.png")
    with pytest.raises(FileNotFoundError, match=r"a link to a file that does not exist: '.*link.png'"):
        write_text(link, "new")
    for force in (False, True):
        with pytest.raises(ImageError, match=r"link.png: cannot write, this is a link to a file that does not exist"):
            check_output(link, force=force)
    assert list(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_file_that_appears_meanwhile_is_kept(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(_source: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "a file system without links")

    if not links:
        monkeypatch.setattr(files.os, "link", no_link)
    path = tmp_path / "stego.png"
    checked = images.check_output

    def check_then_appear(path: Path, *, force: bool) -> None:
        checked(path, force=force)
        path.write_text("another's")

    monkeypatch.setattr(images, "check_output", check_then_appear)
    with pytest.raises(ImageError, match=r"stego.png: exists already; --force overwrites it"):
        write_png(path, PIXELS)
    assert path.read_text() == "another's"
    write_png(path, PIXELS, force=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(images, "check_output", checked)
    path.unlink()
    write_png(path, PIXELS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("_signals_by_default")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_during_a_write_leaves_no_file(number: signal.Signals, tmp_path: Path) -> None:
    def write() -> None:
        with signals.handled(signals.end, *signals.ENDING), atomic_path(tmp_path / "secret.png") as temporary:
            temporary.write_bytes(b"half of a sec")
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as end:
        write()
    assert end.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_names_the_file_and_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fill_the_disk(temporary: Path, _text: str, **_options: str) -> None:
        temporary.write_bytes(b"half of the n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match=r"No space left on device: '[^']*/file'$"):
        write_text(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_failed_rename_names_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"Is a directory: '[^']*/folder'$"):
        write_text(tmp_path / "folder", "new")
