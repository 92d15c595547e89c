"""The file that keeps a folder's decoded photos: the same photos, read once, noticed when they change."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from pirnet.images import ImageError, read_picture
from pirnet.pixels import to_uint8
from pirnet.support import photos as photos_module
from pirnet.support.photos import Photos, cache_folder, cached_photos, photo_paths

from tests.example.helpers import save_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos of different sizes and formats, one of them gray."""
    (tmp_path / "photos").mkdir()
    for seed, (name, mode) in enumerate((("a.png", "RGB"), ("b.jpg", "L"), ("c.webp", "RGBA"))):
        save_image(tmp_path / "photos" / name, seed, 20 + seed, 30, mode)
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that are decoded, as they are."""
    names: list[str] = []
    read = photos_module.read_picture
    monkeypatch.setattr(photos_module, "read_picture", lambda path: (names.append(path.name), read(path))[1])
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


def test_pixels_stay_on_disk(folder: Path, tmp_path: Path) -> None:
    """A mapped file shows up in the process's map, and its photos share one storage."""
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
    assert all(torch.equal(a, b) for a, b in zip(before.images, kept, strict=True))  # a run that still has the old file


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
def test_a_damaged_file_is_made_anew(folder: Path, tmp_path: Path, damage: bytes | None, decoded: list[str]) -> None:
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
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/liftlayers")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/liftlayers")


def test_folders_and_photos_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"photos\xff")
    folder.mkdir()
    for seed, name in enumerate(("a.png", os.fsdecode(b"b\xff\n.png"))):
        save_image(tmp_path / "photo.png", seed, 16, 20)
        (tmp_path / "photo.png").rename(folder / name)
    for _ in range(2):  # decoded, then from the cache
        photos = cached_photos(folder, cache=tmp_path / "cache")
        assert photos.names == ("a.png", r"b\xff\n.png")
