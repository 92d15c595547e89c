"""restore.py as a user runs it."""

from pathlib import Path

import pytest

from tests.example.helpers import (
    Script,
    assert_refused,
    listing,
)

REFUSED = [
    (("photo.jpg", "-o", "out.png", "--task", "sr"), "photo.jpg: a JPEG file cannot carry a hidden picture"),
    (("jpeg.png", "-o", "out.png", "--task", "sr"), "jpeg.png: a JPEG file cannot carry a hidden picture"),
    (("nothing.png", "-o", "out.png", "--task", "sr"), "nothing.png: no such file"),
    (("truncated.png", "-o", "out.png", "--task", "sr"), "truncated.png: cannot be read"),
    (("good.png", "-o", "out.jpeg", "--task", "sr"), "out.jpeg: the name must end in .png"),
    (
        ("palette.png", "-o", "out.png", "--task", "sr"),
        "palette.png: a palette, grey or 1-bit file .mode P. cannot carry",
    ),
    (("good.png", "-o", "good.png", "--task", "sr", "--force"), "good.png: cannot write, this is also an input"),
    (("deep.png", "-o", "out.png", "--task", "sr"), "deep.png: more than 8 bits a channel"),
]


def test_unknown_tasks_are_refused(pictures: Path, half_and_double: Path, script: Script) -> None:
    result = script("restore.py", "good.png", "-o", "out.png", "--task", "dehaze", "--weights", half_and_double)
    assert result.status == 2
    assert "--task" in result.err
    assert "denoise" in result.err
    assert "out.png" not in listing(pictures)


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_unusable_pictures_are_refused(
    arguments: tuple[str, ...], message: str, pictures: Path, half_and_double: Path, script: Script
) -> None:
    before = listing(pictures)
    assert_refused(script("restore.py", *arguments, "--weights", half_and_double), "restore.py", message)
    assert listing(pictures) == before
