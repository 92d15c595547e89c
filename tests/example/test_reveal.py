"""reveal.py as a user runs it."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pirnet.config import LIHConfig
from pirnet.support.places import LIH_WEIGHTS, SHIPPED
from pirnet.weights import load_lih, save_weights
from skimage import data

from liftlayers.testing import randomise_
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
        "palette.png: a palette, grey or 1-bit file .mode P. cannot carry",
    ),
    (("small.png", "-o", "out.png"), "small.png: needs at least 16 x 16"),
]


@pytest.mark.slow
def test_a_closed_pipe_is_one_line_of_error(half_and_double: Path, tmp_path: Path) -> None:
    save_image(tmp_path / "stego.png", 0, 300, 300)
    command = [sys.executable, EXAMPLE / "reveal.py", "-", "-o", "-", "--no-key", "--weights", half_and_double]
    with (
        (tmp_path / "stego.png").open("rb") as stego,
        subprocess.Popen(command, stdin=stego, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        printed = process.stderr.read()
    assert_refused(Result(process.returncode, "", printed), "reveal.py", "-: cannot write, .*Broken pipe")


COVER, SECRET = (slice(60, 188), slice(180, 308)), (slice(0, 128), slice(180, 308))


def test_a_picture_without_a_secret_is_doubted(script: Script, tmp_path: Path) -> None:
    """A cover, a stego image that was resized, a grey picture, and noise; but not a stego image, or a dark secret."""
    cover = Image.fromarray(data.coffee()[COVER])
    cover.save(tmp_path / "cover.png")
    for name, level in (("photo", 1.0), ("dark", 0.1)):
        Image.fromarray((level * data.astronaut()[SECRET]).astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert script("conceal.py", "cover.png", f"{name}.png", "-o", f"{name}-stego.png").status == 0
        key = ("--key", f"{name}-stego.key")
        assert script("reveal.py", f"{name}-stego.png", "-o", "out.png", *key, "--force") == (0, "", "")
    with Image.open(tmp_path / "photo-stego.png") as stego:
        stego.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "small.png")
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "flat.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    for name in ("cover", "small", "flat", "noise"):
        result = script("reveal.py", f"{name}.png", "-o", "out.png", "--no-key", "--force")
        assert (result.status, result.out) == (0, "")
        doubt = "what is revealed is far outside the range" if name == "noise" else "hardly anything is revealed"
        assert result.err.startswith(f"{name}.png: {doubt}")
        assert len(result.err.splitlines()) == 1


def test_a_scrambled_result_is_doubted(script: Script, tmp_path: Path) -> None:
    """With the key of another photo, without a key, and with a key where none was used; the right one is silent."""
    for name, pixels in (("cover", data.coffee()[COVER]), ("secret", data.astronaut()[SECRET])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    for name, options in (("a", ()), ("b", ()), ("plain", ("--no-key",))):
        assert script("conceal.py", "cover.png", "secret.png", "-o", f"{name}.png", *options).status == 0
    wrong = (
        "what is revealed looks scrambled: the key is of another photo, this one was concealed without a key, or JPEG, "
        "resizing or editing destroyed it"
    )
    missing = "what is revealed looks scrambled: name the photo's key with --key instead of --no-key"
    for name, key, doubt in (
        ("a", ("--key", "a.key"), ""),
        ("a", ("--key", "b.key"), f"a.png: {wrong}\n"),
        ("plain", ("--key", "b.key"), f"plain.png: {wrong}\n"),
        ("a", ("--no-key",), f"a.png: {missing}\n"),
        ("plain", ("--no-key",), ""),
    ):
        assert script("reveal.py", f"{name}.png", "-o", "out.png", *key, "--force") == (0, "", doubt)


def test_blocks_that_do_not_fit_together_are_doubted(script: Script, tmp_path: Path) -> None:
    """What JPEG leaves of a photo of strong contrast, and a pale photo with another key; both photos pass unharmed."""
    photo = data.astronaut()[:160, 180:340]
    Image.fromarray(data.coffee()[100:260, 100:260]).save(tmp_path / "cover.png")
    for name, pixels in (("strong", np.clip(2.0 * photo - 128, 0, 255)), ("pale", 80 + 0.4 * photo)):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert script("conceal.py", "cover.png", f"{name}.png", "-o", f"{name}-stego.png").status == 0
        key = ("--key", f"{name}-stego.key")
        assert script("reveal.py", f"{name}-stego.png", "-o", "out.png", *key, "--force") == (0, "", "")
    with Image.open(tmp_path / "strong-stego.png") as stego:
        stego.save(tmp_path / "lossy.jpg", quality=95)
    with Image.open(tmp_path / "lossy.jpg") as lossy:
        lossy.save(tmp_path / "lossy.png")
    for name in ("lossy", "pale-stego"):
        result = script("reveal.py", f"{name}.png", "-o", "out.png", "--key", "strong-stego.key", "--force")
        assert (result.status, result.out) == (0, "")
        assert result.err.startswith(f"{name}.png: what is revealed looks scrambled")


@pytest.mark.parametrize("options", [(), ("--key", "a.key", "--no-key")])
def test_a_key_or_none_has_to_be_named(options: tuple[str, ...], script: Script, tmp_path: Path) -> None:
    save_image(tmp_path / "stego.png", 0, 32, 32)
    refused = script("reveal.py", "stego.png", "-o", "out.png", *options)
    assert_refused(refused, "reveal.py", "needs either --key, with the file that conceal.py wrote, or --no-key")


def test_a_key_of_another_size_is_refused(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    save_image(tmp_path / "cover.png", 0, 32, 48)
    save_image(tmp_path / "secret.png", 1, 32, 48)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights).status == 0
    save_image(tmp_path / "cropped.png", 0, 32, 40)
    refused = script("reveal.py", "cropped.png", "-o", "out.png", "--key", "stego.key", *weights)
    assert_refused(refused, "reveal.py", r"stego.key: is the key of a photo of 32 x 48 pixels .*, got one of 32 x 40")


def test_other_weights_are_doubted(script: Script, tmp_path: Path) -> None:
    for name, pixels in (("cover", data.coffee()[COVER]), ("secret", data.astronaut()[SECRET])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    key = randomise_(load_lih(SHIPPED / LIH_WEIGHTS))
    save_weights(tmp_path / LIH_WEIGHTS, key, LIHConfig(num_blocks=4, predictor="conv", hidden_channels=24))
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png").status == 0
    result = script("reveal.py", "stego.png", "-o", "out.png", "--key", "stego.key", "--weights", tmp_path)
    assert "stego.png: what is revealed is far outside the range of colours: it was concealed with other" in result.err


def test_a_key_may_be_written_while_standard_input_is_read(
    half_and_double: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the pipe of conceal.py, restore.py and reveal.py."""
    save_image(tmp_path / "cover.png", 0, 64, 64)
    save_image(tmp_path / "secret.png", 1, 64, 64)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--key", "early", *weights).status == 0

    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            (tmp_path / "early").rename(tmp_path / "key")
            return super().read(size)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe((tmp_path / "stego.png").read_bytes())))
    assert script("reveal.py", "-", "-o", "out.png", "--key", "key", *weights).status == 0
    assert (tmp_path / "out.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "k.png", "--key", "k.png"), "k.png: cannot write, this is also an input or the key; name another file"),
        (("-o", "good.png", "--no-key"), "good.png: cannot write, this is also an input or the key"),
        (("-o", "out.png", "--key", "."), r"\.: this is a folder, a key file is needed"),
        (("-o", "out.png", "--key", "-"), "--key needs the name of a file, got -"),
    ],
)
def test_keys_and_inputs_are_not_replaced(
    options: tuple[str, ...], message: str, pictures: Path, half_and_double: Path, script: Script
) -> None:
    (pictures / "k.png").write_text("a key")
    before = listing(pictures)
    refused = script("reveal.py", "good.png", *options, "--force", "--weights", half_and_double)
    assert_refused(refused, "reveal.py", message)
    assert listing(pictures) == before


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_unusable_pictures_are_refused(
    arguments: tuple[str, ...], message: str, pictures: Path, half_and_double: Path, script: Script
) -> None:
    before = listing(pictures)
    assert_refused(script("reveal.py", *arguments, "--no-key", "--weights", half_and_double), "reveal.py", message)
    assert listing(pictures) == before
