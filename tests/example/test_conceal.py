"""conceal.py as a user runs it."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pirnet.config import LIHConfig
from pirnet.images import read_picture
from pirnet.model import LIH
from pirnet.pixels import smooth_borders, to_uint8
from pirnet.support.keys import read_key
from pirnet.support.places import SHIPPED
from pirnet.weights import save_weights
from skimage import data
from torch import nn

from liftlayers.testing import randomise_
from tests.example.helpers import (
    EXAMPLE,
    Script,
    assert_refused,
    listing,
    save_image,
)

REFUSED = [
    (("nothing.png", "good.png", "-o", "out.png"), "nothing.png: no such file"),
    (("good.png", "nothing.png", "-o", "out.png"), "nothing.png: no such file"),
    (("good.png", "truncated.png", "-o", "out.png"), "truncated.png: cannot be read, damaged or truncated"),
    (("truncated.jpg", "good.png", "-o", "out.png"), "truncated.jpg: cannot be read, damaged or truncated"),
    (("deep.png", "good.png", "-o", "out.png"), "deep.png: more than 8 bits a channel .* convert it"),
    (("good.png", "deep.png", "-o", "out.png"), "deep.png: more than 8 bits a channel .* convert it"),
    (("small.png", "small.png", "-o", "out.png"), "small.png: needs at least 16 x 16 .* got 16 x 15"),
    (("text.png", "good.png", "-o", "out.png"), "text.png: not a PNG, JPEG, WebP, BMP or TIFF picture"),
    (("good.png", "good.png", "-o", "out.jpg"), "out.jpg: the name must end in .png.* destroy what is hidden"),
    (("good.png", "good.png", "-o", "no/out.png"), "no/out.png: cannot write, the folder no does not exist"),
    (("good.png", ".", "-o", "out.png"), "this is a folder, a picture file is needed"),
]


def test_help_of_a_process_fits_a_screen(tmp_path: Path) -> None:
    """The help of the script with the most options has at most 40 lines of 80 columns, and an example to copy."""
    command = [sys.executable, EXAMPLE / "conceal.py", "--help"]
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) <= 40
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80  # the first line has the full path of the script
    assert "The client hides a photo" in done.stdout
    assert "python examples/pirnet/conceal.py cover.png secret.jpg -o stego.png" in done.stdout


def test_a_secret_loses_its_transparency_with_a_warning(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, 64, 64, "RGBA")
    result = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--weights", half_and_double)
    assert result == (0, "", "secret.png: its transparency is not hidden, transparent pixels become visible\n")
    assert read_picture(tmp_path / "stego.png").alpha is None


def test_photos_are_hidden_the_right_way_up(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    Image.new("RGB", (20, 40)).save(tmp_path / "cover.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise sets it upright
    save_image(tmp_path / "secret.jpg", 1, 20, 40, exif=exif)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.jpg", "-o", "stego.png", "--no-key", *weights).status == 0
    assert script("reveal.py", "stego.png", "-o", "revealed.png", "--no-key", *weights).status == 0
    secret, revealed = (to_uint8(read_picture(tmp_path / name).pixels).int() for name in ("secret.jpg", "revealed.png"))
    assert secret.shape == (3, 40, 20)
    assert (secret - revealed).abs().max() <= 1


def test_a_secret_of_another_size_is_resized_on_demand(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, 64, 64)
    weights = ("--no-key", "--weights", half_and_double)
    arguments = ("cover.png", "secret.png", "-o", "stego.png", *weights)
    printed = r"secret.png needs the size of its cover, 30 x 40 \(height x width\), got 64 x 64; --resize changes it"
    assert_refused(script("conceal.py", *arguments), "conceal.py", printed)
    assert "stego.png" not in listing(tmp_path)
    assert script("conceal.py", *arguments, "--resize").status == 0
    assert script("reveal.py", "stego.png", "-o", "revealed.png", *weights).status == 0
    small = nn.functional.interpolate(
        read_picture(tmp_path / "secret.png").pixels[None], (30, 40), mode="bicubic", antialias=True
    )[0]
    revealed = read_picture(tmp_path / "revealed.png").pixels
    assert (small.clamp(0, 1) - revealed).abs().max() < 2.1 / 255


def test_verbose_prints_the_distance_from_the_cover(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "cover.png")
    Image.new("RGB", (32, 24), (200, 200, 200)).save(tmp_path / "secret.png")  # half of it: 100 / 255, 8.13 dB
    arguments = ("cover.png", "secret.png", "-o", "s.png", "--weights", half_and_double, "--verbose", "--no-key")
    result = script("conceal.py", *arguments)
    assert (result.status, result.out) == (0, "")
    distance, warning = result.err.splitlines()
    assert distance == "s.png: 8.1 dB from the cover, and reveals the secret at inf dB"
    assert warning == "s.png: hidden without a key, so whoever has lih.safetensors can reveal it"


@pytest.mark.parametrize("cause", ["white cover", "noise", "checkerboard"])
def test_a_lost_secret_is_reported(cause: str, half_and_double: Path, script: Script, tmp_path: Path) -> None:
    """The picture is written nevertheless. Only half of the secret on a white cover is sure to be lost entirely."""
    cover, secret = data.coffee()[60:188, 180:308], data.astronaut()[:128, 180:308]
    if cause == "white cover":
        cover = np.full_like(cover, 255)
    elif cause == "noise":
        secret = np.random.default_rng(0).integers(0, 256, secret.shape, dtype=np.uint8)
    else:
        secret = np.indices(secret.shape).sum(axis=0).astype(np.uint8) % 2 * 255
    Image.fromarray(cover).save(tmp_path / "cover.png")
    Image.fromarray(secret).save(tmp_path / "secret.png")
    weights = ("--weights", half_and_double if cause == "white cover" else SHIPPED)
    result = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *weights)
    assert (result.status, result.out) == (0, "")
    (line,) = result.err.splitlines()
    found = re.match(r"stego.png: the secret is lost, it is revealed at only (.*) dB: use a cover without", line)
    assert found
    assert float(found[1]) < 18
    assert (tmp_path / "stego.png").is_file()


def test_a_secret_with_noise_is_not_lost(script: Script, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 35, (128, 128, 3))
    secret = np.clip(data.astronaut()[:128, 180:308] + noise, 0, 255).astype(np.uint8)
    Image.fromarray(data.coffee()[60:188, 180:308]).save(tmp_path / "cover.png")
    Image.fromarray(secret).save(tmp_path / "secret.png")
    assert script("conceal.py", "cover.png", "secret.png", "-o", "stego.png") == (0, "", "")


def test_every_photo_gets_a_key_of_its_own(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    """The same photo, hidden twice in the same cover, gives unrelated stego images; each key reveals its own."""
    Image.new("RGB", (160, 128)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, 128, 160)
    weights = ("--weights", half_and_double)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "a.png", *weights) == (0, "", "")
    others = ("--key", "keys.d/b", "--block", "32")
    refused = script("conceal.py", "cover.png", "secret.png", "-o", "b.png", *others, *weights)
    assert_refused(refused, "conceal.py", "keys.d/b: cannot write, the folder keys.d does not exist")
    (tmp_path / "keys.d").mkdir()
    assert script("conceal.py", "cover.png", "secret.png", "-o", "b.png", *others, *weights) == (0, "", "")
    first, second = (read_key(tmp_path / name) for name in ("a.key", "keys.d/b"))
    assert (first.block, second.block) == (16, 32)
    assert first.secret != second.secret
    a, b = (read_picture(tmp_path / f"{name}.png").pixels for name in "ab")
    assert (a - b).abs().mean() > 0.1
    for name, key in (("a", "a.key"), ("b", "keys.d/b")):
        assert script("reveal.py", f"{name}.png", "-o", f"{name}-out.png", "--key", key, *weights) == (0, "", "")
        revealed = to_uint8(read_picture(tmp_path / f"{name}-out.png").pixels).int()
        secret = smooth_borders(read_picture(tmp_path / "secret.png").pixels, read_key(tmp_path / key).block)
        assert (revealed - to_uint8(secret).int()).abs().max() <= 2  # borders are smoothed after rounding


def test_a_used_key_is_refused(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    """Even with --force, which overwrites pictures; --reuse-key hides with the same key and block."""
    Image.new("RGB", (160, 128)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, 128, 160)
    arguments = ("cover.png", "secret.png", "--weights", half_and_double)
    assert script("conceal.py", *arguments, "-o", "a.png", "--block", "32") == (0, "", "")
    before = listing(tmp_path)
    for again in (("a.png", "--force"), ("b.png", "--key", "a.key")):
        refused = script("conceal.py", *arguments, "-o", *again)
        assert_refused(
            refused, "conceal.py", "a.key: exists already, and its key was used: name another file with --key"
        )
    assert listing(tmp_path) == before
    assert script("conceal.py", *arguments, "-o", "b.png", "--key", "a.key", "--reuse-key") == (0, "", "")
    assert (tmp_path / "b.png").read_bytes() == before["a.png"]
    assert (tmp_path / "a.key").read_bytes() == before["a.key"]
    Image.new("RGB", (32, 32)).save(tmp_path / "small.png")
    save_image(tmp_path / "other.png", 2, 32, 32)
    small = ("small.png", "other.png", "-o", "c.png", "--key", "a.key", "--reuse-key", "--weights", half_and_double)
    message = r"a.key: is the key of a photo of 128 x 160 pixels \(height x width\), got one of 32 x 32"
    assert_refused(script("conceal.py", *small), "conceal.py", message)


@pytest.mark.parametrize(
    ("side", "block", "blocks"), [(40, 64, "0 whole blocks of 64"), (120, 64, "1 whole block of 64")]
)
def test_few_blocks_are_reported(
    side: int, block: int, blocks: str, half_and_double: Path, script: Script, tmp_path: Path
) -> None:
    Image.new("RGB", (side, side)).save(tmp_path / "cover.png")
    save_image(tmp_path / "secret.png", 1, side, side)
    options = ("--block", block, "--weights", half_and_double)
    result = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", *options)
    assert (result.status, result.out) == (0, "")
    easy = "easy to put together again: smaller blocks or a larger photo protect better"
    assert result.err == f"stego.png: only {blocks} x 64 pixels, {easy}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--no-key", "--key", "a.key"), "--no-key hides without a key, so it cannot be combined with --key, --reuse"),
        (("--no-key", "--block", "16"), "--no-key hides without a key, so it cannot be combined with .* or --block"),
        (("--reuse-key", "--block", "16"), "--reuse-key takes the size of the blocks from the key, so it cannot be"),
        (("--key", "."), r"\.: this is a folder, a key file is needed"),
        (("--key", "-"), "--key needs the name of a file, got -, which is standard input or output"),
        (("--key", "out.png"), "out.png: cannot write, this is also an input or the key; name another file with -o"),
        (("-o", "good.png", "--force"), "good.png: cannot write, this is also an input or the key"),
        (("--no-key", "--reuse-key"), "--no-key hides without a key, so it cannot be combined"),
        (("--reuse-key", "--key", "no.key"), "no.key: no such key file"),
        (("--reuse-key", "--key", "good.png"), "good.png: needs to be a key file that conceal.py wrote"),
        (("--block", "8"), "--block"),
        (("-o", "-"), "the key needs a file when the stego image goes to standard output: name it with --key"),
    ],
)
def test_options_of_keys_that_do_not_fit_are_refused(
    options: tuple[str, ...], message: str, pictures: Path, half_and_double: Path, script: Script
) -> None:
    save_image(pictures / "other.png", 1, 32, 40)
    before = listing(pictures)
    output = () if "-o" in options else ("-o", "out.png")
    refused = script("conceal.py", "good.png", "other.png", *output, *options, "--weights", half_and_double)
    assert_refused(refused, "conceal.py", message)
    assert listing(pictures) == before


def test_a_failure_leaves_neither_key_nor_picture(
    half_and_double: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("cover.png", "secret.png")):
        save_image(tmp_path / name, seed, 32, 32)

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    refused = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--weights", half_and_double)
    assert_refused(refused, "conceal.py", "stego.png: cannot write, No space left on device")
    assert {*listing(tmp_path)} == {"cover.png", "secret.png"}


def test_a_photo_is_not_hidden_in_itself(script: Script, tmp_path: Path) -> None:
    """Its stego image would show it to everybody."""
    save_image(tmp_path / "cover.png", 0, 32, 32)
    shutil.copy(tmp_path / "cover.png", tmp_path / "copy.png")
    refused = script("conceal.py", "cover.png", "copy.png", "-o", "stego.png")
    assert_refused(refused, "conceal.py", "copy.png is the same photo as its cover, so everybody would see it")
    assert {*listing(tmp_path)} == {"cover.png", "copy.png"}


def test_a_file_that_is_no_key_is_not_called_one(script: Script, tmp_path: Path) -> None:
    for seed, name in enumerate(("cover.png", "secret.png")):
        save_image(tmp_path / name, seed, 32, 32)
    refused = script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--key", "secret.png")
    assert_refused(refused, "conceal.py", "secret.png: exists already and is no key file: name another file with --key")


def test_two_pictures_do_not_fit_in_one_stream(half_and_double: Path, script: Script) -> None:
    refused = script("conceal.py", "-", "-", "-o", "out.png", "--weights", half_and_double)
    assert_refused(refused, "conceal.py", "cover and secret cannot both come from standard input")


@pytest.mark.slow
def test_tiles_leave_no_seam(script: Script, tmp_path: Path) -> None:
    """A photo of 1030 x 2050 pixels, which is cut in both directions, gives the same image as without tiles."""
    config = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8, headroom=0)
    lih = randomise_(LIH(config))
    save_weights(tmp_path / "lih.safetensors", lih, config)
    save_image(tmp_path / "cover.png", 0, 1030, 2050)
    save_image(tmp_path / "secret.png", 1, 1030, 2050)
    assert (
        script("conceal.py", "cover.png", "secret.png", "-o", "stego.png", "--weights", tmp_path, "--no-key").status
        == 0
    )
    cover, secret, stego = (read_picture(tmp_path / f"{name}.png").pixels for name in ("cover", "secret", "stego"))
    with torch.inference_mode():
        whole = lih(cover[None], secret[None])[0]
    assert (to_uint8(stego).int() - to_uint8(whole[0]).int()).abs().max() <= 1


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_unusable_pictures_are_refused(
    arguments: tuple[str, ...], message: str, pictures: Path, half_and_double: Path, script: Script
) -> None:
    before = listing(pictures)
    assert_refused(script("conceal.py", *arguments, "--weights", half_and_double), "conceal.py", message)
    assert listing(pictures) == before
