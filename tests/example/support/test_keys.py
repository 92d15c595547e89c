"""Keys of single photos: their files, and what scrambling with them does to a photo."""

import json
import re
import signal
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pirnet.pixels import even_part
from pirnet.support import signals
from pirnet.support.keys import Key, KeyFileError, check_fits, key_path, new_key, new_key_file, random_key, read_key

from liftlayers.functional import scramble_blocks

PHOTO = torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(0))


def written(folder: Path, name: str = "a.key") -> Key:
    key = new_key(folder / name, PHOTO, block=16, weights="0123")
    with new_key_file(key):
        pass
    return key


def test_a_file_holds_the_key(tmp_path: Path) -> None:
    key = written(tmp_path)
    assert read_key(key.file) == key
    assert (key.block, key.height, key.width, key.weights) == (16, 37, 50, "0123")
    assert stat.S_IMODE(key.file.stat().st_mode) == 0o600
    assert json.loads(key.file.read_text())["key"] == key.secret.hex()


def test_every_key_is_new_and_never_printed() -> None:
    keys = {new_key(Path("a.key"), PHOTO, block=16, weights="").secret for _ in range(50)}
    assert len(keys) == 50
    assert {len(key) for key in keys} == {32}
    key = new_key(Path("a.key"), PHOTO, block=16, weights="")
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    before = written(tmp_path)
    with pytest.raises(FileExistsError):
        written(tmp_path)
    assert read_key(before.file) == before


def test_a_failure_leaves_no_key(tmp_path: Path) -> None:
    key = new_key(tmp_path / "a.key", PHOTO, block=16, weights="")

    def fail() -> None:
        with new_key_file(key):
            assert key.file.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_signals_by_default")
@pytest.mark.parametrize("number", signals.ENDING)
def test_a_signal_leaves_picture_and_key_or_neither(number: signal.Signals, tmp_path: Path) -> None:
    key, picture = new_key(tmp_path / "a.key", PHOTO, block=16, weights=""), tmp_path / "a.png"

    def conceal(*received: int) -> None:
        with signals.handled(signals.end, *signals.ENDING), new_key_file(key):
            for each in received:
                signal.raise_signal(each)
            picture.touch()

    with pytest.raises(SystemExit) as end:
        conceal(signal.SIGINT, signal.SIGINT)  # the second Ctrl-C does not wait
    assert end.value.code == 128 + signal.SIGINT
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as end:
        conceal(number)
    assert end.value.code == 128 + number
    assert sorted(tmp_path.iterdir()) == [key.file, picture]


@given(st.integers(16, 60), st.integers(16, 60), st.sampled_from([16, 32, 64]))
def test_scrambling_keeps_the_even_part(height: int, width: int, block: int) -> None:
    """The last row and column of an odd side are not hidden, so nothing of the photo's interior moves there."""
    photo = torch.randint(256, (3, height, width)) / 255
    key = Key(Path("a.key"), bytes(range(32)), block, height, width)
    scrambled = key.scramble(photo)
    assert scrambled.shape == photo.shape
    assert torch.equal(even_part(scrambled), scramble_blocks(even_part(photo)[None], key.secret, block=block)[0])
    assert (even_part(key.unscramble(scrambled)) - even_part(photo)).abs().max() < 1e-6
    last_row, last_column = key.unscramble(scrambled)[:, -1], key.unscramble(scrambled)[:, :, -1]
    if height % 2:
        assert torch.equal(last_row, key.unscramble(scrambled)[:, -2])
    if width % 2:
        assert torch.equal(last_column, key.unscramble(scrambled)[:, :, -2])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"key": "00" * 31}, "damaged, key is missing or wrong"),
        ({"key": "0x" + "00" * 31}, "damaged, key is missing or wrong"),
        ({"key": None}, "damaged, key is missing or wrong"),
        ({"block": 0}, "damaged, block is missing or wrong"),
        ({"block": 48}, "damaged, block is missing or wrong"),
        ({"height": 2**31}, "damaged, height is missing or wrong"),
        ({"height": 1.5}, "damaged, height is missing or wrong"),
        ({"width": True}, "damaged, width is missing or wrong"),
        ({"weights": 3}, "damaged, weights is missing or wrong"),
        ({"version": 2}, "needs version 1 of the key file, got 2"),
        ({"kind": "another"}, "needs to be a key file that conceal.py wrote"),
    ],
)
def test_damaged_files_are_refused(change: dict[str, object], problem: str, tmp_path: Path) -> None:
    key = written(tmp_path)
    key.file.write_text(json.dumps(json.loads(key.file.read_text()) | change))
    with pytest.raises(KeyFileError, match=re.escape(problem)) as refused:
        read_key(key.file)
    assert str(key.file) in str(refused.value)
    assert key.secret.hex() not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b"\x89PNG\r\n\x1a\n" + bytes(100_000), b"\xff\xfe", b'{"key": ', b"[" * 4000]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.key").write_bytes(content)
    with pytest.raises(KeyFileError, match="this is something else"):
        read_key(tmp_path / "a.key")
    with pytest.raises(KeyFileError, match="no such key file"):
        read_key(tmp_path / "b.key")


def test_a_key_is_for_photos_of_one_size(tmp_path: Path) -> None:
    key = written(tmp_path)
    assert check_fits(key, PHOTO, run="0123") == []
    assert check_fits(key, PHOTO, run="") == []
    assert "weights of another run" in check_fits(key, PHOTO, run="4567")[0]
    with pytest.raises(KeyFileError, match=r"is the key of a photo of 37 x 50 pixels .*, got one of 50 x 37"):
        check_fits(key, PHOTO.mT, run="0123")


def test_a_key_is_next_to_its_stego_image() -> None:
    assert key_path(Path("a/stego.png"), None) == Path("a/stego.key")
    assert key_path(Path("a/stego.png"), Path("b")) == Path("b")
    assert key_path(Path("-"), Path("b")) == Path("b")
    with pytest.raises(ValueError, match="name it with --key"):
        key_path(Path("-"), None)


def test_drawn_keys_depend_on_the_generator_alone() -> None:
    first, second, other = (random_key(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first == second != other
    assert len(first) == 32
