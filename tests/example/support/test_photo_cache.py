"""The file of a folder's decoded photos: it holds the same photos, is made once, and is made again after a change."""

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest
import torch
from PIL import Image
from pirnet.images import ImageError, read_picture
from pirnet.pixels import to_uint8
from pirnet.support import photo_cache
from pirnet.support.photo_cache import cached_folders, cached_photos, clear
from pirnet.support.photos import Photos, hold_out, photo_paths
from pirnet.support.places import cache_folder
from pirnet.support.runs import STOPPED_EARLY

from tests.example.helpers import TINY, Script, assert_refused, save_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos of different sizes and formats, one of them grey."""
    (tmp_path / "photos").mkdir()
    for seed, (name, mode) in enumerate((("a.png", "RGB"), ("b.jpg", "L"), ("c.webp", "RGBA"))):
        save_image(tmp_path / "photos" / name, seed, 20 + seed, 30, mode)
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list of the names of the photos that are decoded; it grows during the test."""
    names: list[str] = []
    read = photo_cache.read_picture
    monkeypatch.setattr(photo_cache, "read_picture", lambda path: (names.append(path.name), read(path))[1])
    return names


def decoded_plainly(folder: Path) -> Photos:
    paths = photo_paths(folder)
    return Photos(tuple(path.name for path in paths), tuple(to_uint8(read_picture(path).pixels) for path in paths))


def assert_same(a: Photos, b: Photos) -> None:
    assert a.names == b.names
    assert all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))


def test_the_photos_are_those_of_the_folder_and_decoded_once(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    expected = decoded_plainly(folder)
    for _ in range(2):
        assert_same(cached_photos(folder, cache=tmp_path / "cache"), expected)
        assert decoded == ["a.png", "b.jpg", "c.webp"]
    (file,) = (tmp_path / "cache").iterdir()
    assert file.suffix == ".photos"


def test_nobody_else_can_read_the_photos(folder: Path, tmp_path: Path) -> None:
    cached_photos(folder, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)]
    assert modes == [0o700, 0o600]


def test_names_of_folders_may_be_long(folder: Path, tmp_path: Path) -> None:
    long = folder.rename(tmp_path / ("\N{GRINNING FACE}" * 60))
    cached_photos(long, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert file.name.startswith("\N{GRINNING FACE}" * 50 + "-")


def test_pixels_stay_on_disk(folder: Path, tmp_path: Path) -> None:
    """All photos share one storage, which is the file mapped into memory."""
    photos = cached_photos(folder, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert len({image.untyped_storage().data_ptr() for image in photos.images}) == 1
    maps = Path("/proc/self/maps")
    assert not maps.is_file() or str(file) in maps.read_text()


@pytest.mark.parametrize("change", ["new", "gone", "touched", "other"])
def test_a_changed_folder_is_read_again(folder: Path, tmp_path: Path, change: str, decoded: list[str]) -> None:
    cache = tmp_path / "cache"
    before = cached_photos(folder, cache=cache)
    kept = [image.clone() for image in before.images]
    decoded.clear()
    if change == "new":
        save_image(folder / "d.png", 7, 24, 24)
    elif change == "gone":
        (folder / "b.jpg").unlink()
    elif change == "touched":
        os.utime(folder / "a.png", (1e9, 1e9))
    else:
        save_image(folder / "a.png", 9, 40, 17)
    assert_same(cached_photos(folder, cache=cache), decoded_plainly(folder))
    assert decoded == sorted(path.name for path in folder.iterdir())
    assert len(list(cache.iterdir())) == 1
    assert all(torch.equal(a, b) for a, b in zip(before.images, kept, strict=True))  # a run with the old file


def test_what_a_resumed_run_compares_is_of_the_files(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    """Not of the pixels, which another version of a decoder may round otherwise; and without reading them again."""
    first, again = (cached_photos(folder, cache=tmp_path / "cache").fingerprints() for _ in range(2))
    assert first == again
    assert len(decoded) == 3
    name, content = "b.jpg", (folder / "b.jpg").read_bytes()
    assert first[name] == f"21 x 30, {hashlib.sha256(content).hexdigest()[:16]}"
    (folder / name).write_bytes(content + b"\0")
    changed = cached_photos(folder, cache=tmp_path / "cache").fingerprints()
    assert [name for name in first if first[name] != changed[name]] == [name]
    train, held = hold_out(cached_photos(folder, cache=tmp_path / "cache"), ["a.png"])
    assert train.fingerprints() | held.fingerprints() == changed


def test_folders_have_files_of_their_own(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    other = tmp_path / "elsewhere" / "photos"
    other.mkdir(parents=True)
    for seed in (5, 6):
        save_image(other / f"{seed}.png", seed, 20, 20)
    for _ in range(2):
        for one in (folder, other):
            assert_same(cached_photos(one, cache=tmp_path / "cache"), decoded_plainly(one))
    assert len(decoded) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_bad_photo_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:100])
    with pytest.raises(ImageError, match=r"b.jpg: cannot be read"):
        cached_photos(folder, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"12345678", b"[]" + (2).to_bytes(8, "little"), None])
def test_a_damaged_file_is_replaced(folder: Path, tmp_path: Path, damage: bytes | None, decoded: list[str]) -> None:
    cached_photos(folder, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[5:] if damage is None else damage)
    assert_same(cached_photos(folder, cache=tmp_path / "cache"), decoded_plainly(folder))
    assert len(decoded) == 6
    assert file.read_bytes() == content


def test_small_photos_and_bad_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a.png: needs at least 21 x 21 pixels .* got 20 x 30"):
        cached_photos(folder, cache=tmp_path / "cache", min_size=21)
    with pytest.raises(ImageError, match="missing: no such folder"):
        cached_photos(tmp_path / "missing", cache=tmp_path / "cache")
    (tmp_path / "one").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "one" / "a.png")
    with pytest.raises(ImageError, match=r"at least two photos are needed .* found only a.png"):
        cached_photos(tmp_path / "one", cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file: cannot write decoded photos there, .*; --cache names another folder"):
        cached_photos(folder, cache=tmp_path / "file")


def test_where_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches are in `liftlayers` of XDG_CACHE_HOME, or of ~/.cache if that is not set."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/liftlayers")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/liftlayers")


@pytest.fixture
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a user without an entry in its list of users."""

    def no_entry(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", no_entry)


@pytest.mark.usefixtures("_no_home")
def test_a_home_is_needed_for_the_cache_alone(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    assert script("train.py", "--help").status == 0
    assert script("train.py", "--minutes", 0, "--out", "run", *TINY).status == STOPPED_EARLY
    message = "no place for decoded photos, since the user has no home: name a folder with --cache"
    options = ("--minutes", 0, "--data", photo_folder, *TINY)
    assert_refused(script("train.py", *options), "train.py", message)
    assert script("train.py", "--cache", "cache", *options).status == STOPPED_EARLY
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_cache_may_be_removed_while_it_is_used(folder: Path, tmp_path: Path) -> None:
    photos = cached_photos(folder, cache=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    assert_same(photos, decoded_plainly(folder))


def test_the_cache_is_cleared_by_an_option(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """Only files of photos are removed, and nothing is trained."""
    cached_photos(photo_folder, cache=tmp_path / "cache")
    (tmp_path / "cache" / "another.txt").write_text("not ours")
    for count, size in ((1, "0.0"), (0, "0.0")):
        said = f"removed the decoded photos of {count} folder{'s' if count != 1 else ''}, {size} MB, from cache\n"
        assert script("train.py", "--clear-cache", "--cache", "cache") == (0, said, "")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")] == ["cache/another.txt"]
    assert clear(tmp_path / "missing") == f"removed the decoded photos of 0 folders, 0.0 MB, from {tmp_path}/missing"


def test_bad_photos_of_all_folders_are_counted_at_once(folder: Path, tmp_path: Path) -> None:
    """Unreadable and small ones, of every folder, and the first three are named."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (folder / "b.jpg").write_text("no picture")
    with pytest.raises(ImageError, match="other/missing: no such folder"):
        cached_folders([folder, other / "missing"], cache=tmp_path / "cache", min_size=16)
    assert not (tmp_path / "cache").exists()
    pattern = r"^6 photos cannot be used\. .*photos/b.jpg: not a PNG.*; .*photos/a.png: needs.*; .*photos/c.webp: needs"
    with pytest.raises(ImageError, match=pattern + r".*; and 3 more$"):
        cached_folders([folder, other], cache=tmp_path / "cache", min_size=23)


def test_folders_and_photos_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"photos\xff")
    folder.mkdir()
    for seed, name in enumerate(("a.png", os.fsdecode(b"b\xff\n.png"))):
        save_image(tmp_path / "photo.png", seed, 16, 20)
        (tmp_path / "photo.png").rename(folder / name)
    for _ in range(2):  # decoded, then from the cache
        photos = cached_photos(folder, cache=tmp_path / "cache")
        assert photos.names == ("a.png", r"b\xff\n.png")
