"""Files: what the scripts accept and refuse, and that nothing is written after an error."""

import os
import runpy
import stat
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save

pytest.importorskip("constriction", reason="needs the extra `lossless`")

from photo_codec import container
from photo_codec.container import HEADER, SHIPPED, Weights, compress, decompress, load_weights

from tests.damaged_photos import tiff_with, with_wrong_checksum
from tests.deep_photos import png_of_16_bits, tiff_of_16_bits
from tests.lossless.conftest import EXAMPLE

GOLDEN = Path(__file__).parent / "golden.llp"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Weights, capsys: pytest.CaptureFixture[str]):
    """Runs a script in this process with random weights; returns its exit status and what it wrote to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(container, "load_weights", lambda _path: weights)

    def run(script: str, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [script, *words])
        try:
            runpy.run_path(f"{EXAMPLE}/{script}", run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def sample(mode: str) -> Image.Image:
    shape = (9, 7, 4)
    return Image.fromarray(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8), "RGBA").convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_scripts_return_every_mode(call, mode: str) -> None:
    sample(mode).save("photo.png", icc_profile=b"a profile", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    assert call("compress.py", "photo.png", "-o", "photo.llp") == (0, "")
    assert call("decompress.py", "photo.llp", "-o", "back.png") == (0, "")
    with Image.open("photo.png") as photo, Image.open("back.png") as back:
        assert back.mode == photo.mode == mode
        assert np.array_equal(np.asarray(back), np.asarray(photo))
        assert back.info["icc_profile"] == b"a profile"
        assert back.info["exif"] == photo.info["exif"]


@pytest.mark.parametrize("mode", ["I;16", "CMYK", "P", "1"])
def test_other_modes_are_refused(call, mode: str) -> None:
    photo = sample("L").convert("I").convert("I;16") if mode == "I;16" else sample("RGB").convert(mode)
    photo.save("photo.tif")
    status, error = call("compress.py", "photo.tif", "-o", "photo.llp")
    assert (status, error) == (
        2,
        f"compress.py: error: photo.tif needs to be 8-bit L, LA, RGB or RGBA, got {mode}\n",
    )
    assert not Path("photo.llp").exists()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("LA.png", "RGBA stored as LA;16B"),
        ("RGB.png", "RGB stored as RGB;16B"),
        ("RGBA.png", "RGBA stored as RGBA;16B"),
        ("chunky.tif", "RGB stored as ('RGB;16L', 0, 1)"),
        ("planar.tif", "RGB stored as ('R', 0, 1) ('G', 0, 1) ('B', 0, 1)"),
        ("rgb.ppm", "RGB stored as ('RGB', 65535)"),
    ],
)
def test_photos_of_16_bits_are_refused(name: str, stored: str, call) -> None:
    """Pillow opens them as photos of 8 bits."""
    if name.endswith("png"):
        Path(name).write_bytes(png_of_16_bits(6, 5, Path(name).stem))
    elif name.endswith("tif"):
        Path(name).write_bytes(tiff_of_16_bits(6, 5, planar=name == "planar.tif"))
    else:
        Path(name).write_bytes(b"P6 6 5 65535\n" + bytes(180))
    error = f"compress.py: error: {name} needs to be 8-bit L, LA, RGB or RGBA, got {stored}\n"
    assert call("compress.py", name, "-o", "photo.llp") == (2, error)


def test_other_photos_are_refused(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    sample("RGB").save("clear.png", transparency=(0, 0, 0))
    sample("RGB").save("moves.webp", save_all=True, append_images=[sample("L").convert("RGB")], lossless=True)
    Path("text.png").write_text("no photo")
    for suffix in ("png", "tif", "bmp"):
        sample("RGB").save(f"half.{suffix}")
        Path(f"half.{suffix}").write_bytes(Path(f"half.{suffix}").read_bytes()[:-60])
    Image.new("L", (20, 20)).save("large.png")
    found = {
        "clear.png": "clear.png needs to be 8-bit L, LA, RGB or RGBA, got RGB with a transparent colour",
        "moves.webp": "moves.webp needs to be one photo, got 2 frames",
        "text.png": "text.png needs to be a PNG, TIFF, WebP, BMP, PPM or JPEG file, got another kind",
        "missing.png": "[Errno 2] No such file or directory: 'missing.png'",
    }
    for name, message in found.items():
        assert call("compress.py", name, "-o", "photo.llp") == (2, f"compress.py: error: {message}\n")
    for suffix in ("png", "tif", "bmp"):
        status, error = call("compress.py", f"half.{suffix}", "-o", "photo.llp")
        assert status == 2
        assert error.startswith(f"compress.py: error: half.{suffix} cannot be read, damaged or truncated: ")
    assert "large.png is too large to open safely: Image size (400" in call("compress.py", "large.png", "-o", "o")[1]
    assert not Path("photo.llp").exists()


def test_files_are_overwritten_only_with_force(call) -> None:
    sample("L").save("photo.png")
    Path("photo.llp").write_text("precious")
    status, error = call("compress.py", "photo.png", "-o", "photo.llp")
    assert (status, error) == (2, "compress.py: error: photo.llp exists: choose another name, or add --force\n")
    assert Path("photo.llp").read_text() == "precious"
    assert call("compress.py", "photo.png", "-o", "photo.llp", "--force") == (0, "")
    status, error = call("decompress.py", "photo.llp", "-o", "photo.jpg")
    assert (status, error) == (2, "decompress.py: error: --output needs to end in .png, got photo.jpg\n")


def test_a_replaced_file_keeps_its_mode_and_its_link(call) -> None:
    sample("L").save("photo.png")
    Path("private").touch(mode=0o600)
    Path("link").symlink_to("private")
    assert call("compress.py", "photo.png", "-o", "link", "--force") == (0, "")
    assert Path("link").is_symlink()
    assert stat.S_IMODE(Path("private").stat().st_mode) == 0o600
    assert call("decompress.py", "link", "-o", "back.png") == (0, "")
    Path("private").unlink()
    status, error = call("compress.py", "photo.png", "-o", "link", "--force")
    assert (status, error) == (2, "compress.py: error: link is a link to a file that does not exist\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_never_replaced(call) -> None:
    sample("L").save("photo.png")
    os.mkfifo("pipe")
    status, error = call("compress.py", "photo.png", "-o", "pipe", "--force")
    assert (status, error) == (2, "compress.py: error: pipe is a device or a pipe, which cannot be replaced\n")
    assert Path("pipe").is_fifo()


def test_without_standard_error_there_is_no_bar(call, monkeypatch: pytest.MonkeyPatch) -> None:
    sample("L").save("photo.png")
    monkeypatch.setattr(sys, "stderr", None)
    assert call("compress.py", "photo.png", "-o", "photo.llp")[0] == 0


def test_options_are_checked_before_work(call) -> None:
    sample("L").save("photo.png")
    before = Path("photo.png").read_bytes()
    found = {
        ("-o", "no/photo.llp"): "no/photo.llp needs to be a file in an existing folder",
        ("-o", ".", "--force"): ". needs to be a file in an existing folder",
        ("-o", "./photo.png", "--force"): "--output needs to be another file than those to read, got photo.png",
        ("-o", "photo.llp", "--threads", "-1"): "--threads needs at least 1, got -1",
        ("-o", "photo.llp", "--threads", "0"): "--threads needs at least 1, got 0",
    }
    for options, message in found.items():
        for script in ("compress.py", "decompress.py"):
            assert call(script, "photo.png", *options) == (2, f"{script}: error: {message}\n")
    assert [path.name for path in Path().iterdir()] == ["photo.png"]
    assert Path("photo.png").read_bytes() == before


def test_a_lack_of_memory_is_one_line(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise MemoryError

    sample("L").save("photo.png")
    monkeypatch.setattr(container, "compress", fail)
    assert call("compress.py", "photo.png", "-o", "photo.llp") == (2, "compress.py: error: MemoryError\n")


@pytest.fixture(scope="module")
def data(weights: Weights) -> bytes:
    return compress(np.asarray(sample("RGB")), weights)


def test_every_damaged_byte_is_noticed(data: bytes, weights: Weights) -> None:
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"damaged|another kind|needs version 2"):
            decompress(bytes(damaged), weights)


def test_every_truncation_is_noticed(data: bytes, weights: Weights) -> None:
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"damaged or truncated|another kind"):
            decompress(data[:length], weights)


def test_damaged_files_write_nothing(call, data: bytes) -> None:
    Path("photo.llp").write_bytes(data[:-9])
    status, error = call("decompress.py", "photo.llp", "-o", "back.png")
    assert (status, error) == (2, "decompress.py: error: photo.llp is damaged or truncated\n")
    assert [path.name for path in Path().iterdir()] == ["photo.llp"]


def with_checksum(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def test_forged_sizes_and_checksums_are_refused(data: bytes, weights: Weights) -> None:
    def forged(**fields: int) -> bytes:
        names = ("magic", "version", "channels", "name", "height", "width")
        values = dict(zip(names, HEADER.unpack_from(data), strict=False))
        header = HEADER.pack(*(values | fields).values(), *HEADER.unpack_from(data)[len(names) :])
        return with_checksum(header + data[HEADER.size : -4])

    with pytest.raises(ValueError, match=f"got 9 x 7 x 9 in {len(data)} bytes"):
        decompress(forged(channels=9), weights)
    with pytest.raises(ValueError, match="at most 268435456 pixels, got 4000000000 x 7 x 3"):
        decompress(forged(height=4_000_000_000), weights)
    with pytest.raises(ValueError, match="got 1 x 200000000 x 3"):  # more tiles than there is data
        decompress(forged(height=1, width=200_000_000), weights)
    with pytest.raises(ValueError, match="needs pixels with the checksum of the photo"):
        decompress(forged(height=8), weights)


@pytest.mark.parametrize("profile", [b"no zlib", zlib.compress(bytes(2**24 + 1)), zlib.compress(b"profile")[:-1]])
def test_forged_parts_are_refused(profile: bytes, data: bytes, weights: Weights) -> None:
    """The content of a profile of 16 MB and more, and one that zlib cannot read or not to its end."""
    *fields, _, exif, checksum = HEADER.unpack_from(data)
    header = HEADER.pack(*fields, len(profile), exif, checksum)
    forged = header + data[HEADER.size : HEADER.size + 4] + profile + data[HEADER.size + 4 : -4]
    with pytest.raises(ValueError, match="is damaged: its parts do not fit its header"):
        decompress(with_checksum(forged), weights)


def test_what_cannot_be_read_back_is_not_compressed(weights: Weights) -> None:
    with pytest.raises(ValueError, match="bytes of profile or Exif, got 12 pixels with 16777217 and 0 bytes"):
        compress(np.zeros((3, 4, 3), np.uint8), weights, extras=(bytes(2**24 + 1), b""))


def test_other_weights_are_named(data: bytes, weights: Weights) -> None:
    other = replace(weights, name=bytes(range(8)))
    with pytest.raises(ValueError, match=f"needs the weights {b'of tests'.hex()} that wrote it, got 0001020304050607"):
        decompress(data, other)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    for name, content in (("text", b"no weights"), ("other", save({"x": torch.zeros(1)}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} needs to be a weights file that train.py wrote, got"):
            load_weights(tmp_path / name)


def test_shipped_weights_decode_a_known_file() -> None:
    rows, columns = np.mgrid[:24, :17]
    known = np.stack((9 * rows + columns, 255 - 11 * columns, (rows * columns) % 256), 2).astype(np.uint8)
    weights = load_weights(SHIPPED)
    assert np.array_equal(decompress(GOLDEN.read_bytes(), weights)[0], known)
    assert compress(known, weights) == GOLDEN.read_bytes()


DAMAGED = {
    "wrong.png": (None, "wrong.png cannot be read, damaged or truncated: broken PNG file"),
    "signed.tif": (("L", 339, 2), "signed.tif needs to have unsigned samples"),
    "other.tif": (("RGBA", 338, 0), "other.tif needs colours and at most a plain alpha channel"),
    "multiplied.tif": (("RGBA", 338, 1), "multiplied.tif needs colours and at most a plain alpha channel"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_pillow_would_change_without_a_warning_is_refused(call, name: str) -> None:
    tags, message = DAMAGED[name]
    if tags is None:
        sample("RGB").save(name)
        Path(name).write_bytes(with_wrong_checksum(Path(name).read_bytes()))
    else:
        Path(name).write_bytes(tiff_with(*tags))
    status, err = call("compress.py", name, "-o", "photo.llp")
    assert (status, err.startswith(f"compress.py: error: {message}")) == (2, True), err
    assert not Path("photo.llp").exists()


def test_exif_of_older_programs_is_kept(call) -> None:
    """They write it as text."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n")
    sample("RGB").save("photo.png", pnginfo=text)
    assert call("compress.py", "photo.png", "-o", "photo.llp") == (0, "")
    assert call("decompress.py", "photo.llp", "-o", "back.png") == (0, "")
    with Image.open("back.png") as back:
        assert back.getexif()[0x0112] == 6


def test_the_weights_are_not_overwritten(call, tmp_path: Path) -> None:
    sample("RGB").save("photo.png")
    Path("own.safetensors").write_bytes(b"weights")
    words = ("photo.png", "-o", "own.safetensors", "--weights", "own.safetensors", "--force")
    status, err = call("compress.py", *words)
    assert (status, "--output needs to be another file than those to read" in err) == (2, True)
    assert (tmp_path / "own.safetensors").read_bytes() == b"weights"
