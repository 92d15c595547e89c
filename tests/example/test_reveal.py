"""reveal.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.example.helpers import (
    EXAMPLE,
    Result,
    Script,
    assert_refused,
    listing,
    save_image,
)

REFUSED = [
    (("photo.jpg", "-o", "out.png"), "photo.jpg: a JPEG file cannot carry a hidden picture, .* use the PNG"),
    (("nothing.png", "-o", "out.png"), "nothing.png: no such file"),
    (("truncated.png", "-o", "out.png"), "truncated.png: cannot be read"),
    (("good.png", "-o", "out.webp"), "out.webp: the name must end in .png"),
    (
        ("palette.png", "-o", "out.png"),
        "palette.png: a palette, gray or 1-bit file .mode P. cannot carry",
    ),
    (("small.png", "-o", "out.png"), "small.png: needs at least 16 x 16"),
]


def test_a_closed_pipe_is_one_line_of_error(half_and_double: Path, tmp_path: Path) -> None:
    save_image(tmp_path / "stego.png", 0, 300, 300)
    command = [sys.executable, EXAMPLE / "reveal.py", "-", "-o", "-", "--weights", half_and_double]
    with (
        (tmp_path / "stego.png").open("rb") as stego,
        subprocess.Popen(command, stdin=stego, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        printed = process.stderr.read()
    assert_refused(Result(process.returncode, "", printed), "reveal.py", "-: cannot write, .*Broken pipe")


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_unusable_pictures_are_refused(
    arguments: tuple[str, ...], message: str, pictures: Path, half_and_double: Path, script: Script
) -> None:
    before = listing(pictures)
    assert_refused(script("reveal.py", *arguments, "--weights", half_and_double), "reveal.py", message)
    assert listing(pictures) == before
