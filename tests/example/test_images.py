"""Pictures are read and written exactly, refused with the expected messages, and never written in part."""

import io
import os
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pirnet.images import ImageError, check_output, read_picture, read_secret, read_stego, write_png
from pirnet.pixels import check_images, quantise_uint8, smooth_borders, to_uint8, upright
from pirnet.support.files import atomic_path
from torch import Tensor

from tests.damaged_photos import tiff_with, with_wrong_checksum
from tests.deep_photos import png_of_16_bits, tiff_of_16_bits


def random_levels(seed: int, *shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def pillow_image(seed: int = 0, channels: int = 3, height: int = 20, width: int = 24) -> Image.Image:
    return Image.fromarray(random_levels(seed, height, width, channels).squeeze(-1).numpy())


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(16, 40), width=st.integers(16, 40), with_alpha=st.booleans())
def test_png_round_trip_is_exact(seed: int, height: int, width: int, with_alpha: bool) -> None:
    pixels = random_levels(seed, 3, height, width).float() / 255
    alpha = random_levels(seed + 1, 1, height, width) if with_alpha else None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        write_png(path, pixels, alpha=alpha)
        picture = read_stego(path)
        assert [entry.name for entry in Path(folder).iterdir()] == ["a.png"]
    assert picture.pixels.dtype == torch.float32
    assert torch.equal(picture.pixels, pixels)
    if alpha is None:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        assert torch.equal(picture.alpha, alpha)


def test_writing_rounds_and_clamps(tmp_path: Path) -> None:
    pixels = torch.full((3, 16, 16), 0.4999)  # 127.47
    pixels[0], pixels[1, 0, 0] = 127.6 / 255, -0.3
    pixels[2, 0, 0] = 1.2
    write_png(tmp_path / "a.png", pixels.requires_grad_())
    levels = to_uint8(read_picture(tmp_path / "a.png").pixels)
    assert levels[0].unique().tolist() == [128]
    assert levels[1].unique().tolist() == [0, 127]
    assert levels[2].unique().tolist() == [127, 255]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".bmp", ""])
def test_only_png_is_written(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(
        ImageError, match=r"must end in .png, got .*lossy formats \(JPEG, WebP\) destroy what is hidden"
    ):
        write_png(tmp_path / f"a{suffix}", torch.zeros(3, 16, 16))
    assert not list(tmp_path.iterdir())


def test_existing_files_need_force(tmp_path: Path) -> None:
    path = tmp_path / "a.PNG"
    write_png(path, torch.zeros(3, 16, 16))
    before = path.read_bytes()
    with pytest.raises(ImageError, match=r"a.PNG: exists already"):
        write_png(path, torch.ones(3, 16, 16))
    assert path.read_bytes() == before
    write_png(path, torch.ones(3, 16, 16), force=True)
    assert read_picture(path).pixels.min() == 1
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode  # not the private mode of a temporary file


def test_unwritable_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"the folder .*missing does not exist"):
        write_png(tmp_path / "missing" / "a.png", torch.zeros(3, 16, 16))
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ImageError, match=r"b.png: cannot write, this is a folder"):
        write_png(tmp_path / "b.png", torch.zeros(3, 16, 16), force=True)

    def full_disk(path: Path, content: bytes) -> None:
        path.write_text(content[:8].hex())
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(ImageError, match=r"c.png: cannot write, No space left on device"):
        write_png(tmp_path / "c.png", torch.zeros(3, 16, 16))
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.png"]


def test_wrong_tensors_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(TypeError, match=r"write_png needs a floating-point image, got torch.uint8"):
        write_png(path, torch.zeros(3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"shape \(3, H, W\), got \(1, 3, 16, 16\)"):
        write_png(path, torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="write_png needs finite pixels"):
        write_png(path, torch.full((3, 16, 16), float("nan")))
    with pytest.raises(TypeError, match=r"alpha of torch.uint8, got torch.float32"):
        write_png(path, torch.zeros(3, 16, 16), alpha=torch.zeros(1, 16, 16))
    with pytest.raises(ValueError, match=r"alpha of shape \(1, 16, 16\), got \(1, 8, 16\)"):
        write_png(path, torch.zeros(3, 16, 16), alpha=torch.zeros(1, 8, 16, dtype=torch.uint8))
    assert not list(tmp_path.iterdir())


def test_atomic_path_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_gray_and_palette_become_rgb(tmp_path: Path, mode: str) -> None:
    image = pillow_image().convert(mode)
    image.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is None
    assert np.array_equal(to_uint8(picture.pixels).permute(1, 2, 0).numpy(), np.array(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept(tmp_path: Path, mode: str) -> None:
    image = pillow_image(channels=4).convert(mode)
    image.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert picture.pixels.shape == (3, 20, 24)
    assert np.array_equal(picture.alpha[0].numpy(), np.array(image)[..., -1])


def test_palette_and_key_transparency_become_alpha(tmp_path: Path) -> None:
    palette = pillow_image().convert("P")
    palette.save(tmp_path / "p.png", transparency=bytes(range(256)))
    picture = read_picture(tmp_path / "p.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy(), np.array(palette))

    key = Image.new("RGB", (16, 16), (1, 2, 3))
    key.putpixel((5, 0), (9, 9, 9))
    key.save(tmp_path / "k.png", transparency=(1, 2, 3))
    picture = read_picture(tmp_path / "k.png")
    assert picture.alpha is not None
    assert picture.alpha.sum() == picture.alpha[0, 0, 5] == 255


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_orientation_is_honoured(tmp_path: Path, name: str) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 255, 255), (0, 0, 20, 20))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise sets it upright
    image.save(tmp_path / name, exif=exif)
    pixels = read_picture(tmp_path / name).pixels
    assert pixels.shape == (3, 40, 20)
    assert pixels[:, :16].min() > 0.9
    assert pixels[:, 24:].max() < 0.1


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_stego_file_is_left_to_be_applied(tmp_path: Path, orientation: int, name: str) -> None:
    """A gallery adds the tag to pixels that were concealed as they are."""
    image, exif = pillow_image(), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / name, exif=exif)
    stego = read_stego(tmp_path / name)
    assert stego.orientation == orientation
    assert np.array_equal(to_uint8(stego.pixels).permute(1, 2, 0).numpy(), np.array(image))
    turned = read_picture(tmp_path / name)
    assert turned.orientation == 1
    assert torch.equal(upright(stego.pixels, orientation), turned.pixels)  # as Pillow turns it
    write_png(tmp_path / "b.png", stego.pixels, orientation=orientation)
    again = read_stego(tmp_path / "b.png")
    assert again.orientation == orientation
    assert torch.equal(again.pixels, stego.pixels)


def test_odd_metadata_is_one_line_or_left_out(tmp_path: Path) -> None:
    """A fraction where a text or a colour profile belongs."""
    tags = struct.pack(">HHIIHHII", 0x010E, 5, 1, 38, 0x0112, 3, 1, 6 << 16)  # description and orientation
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + tags + struct.pack(">III", 0, 1, 2)
    pillow_image().save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(ImageError, match=r"a\.jpg: cannot be read"):
        read_picture(tmp_path / "a.jpg")
    values = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 278: 16, 279: 256}  # 16 x 16 grey pixels at byte 8
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    profile = struct.pack("<HHII", 0x8773, 5, 1, 8)
    header = b"II*\0" + struct.pack("<I", 264) + bytes(range(256))
    (tmp_path / "a.tif").write_bytes(header + struct.pack("<H", 9) + tags + profile + bytes(4))
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.profile, picture.profile_dropped) == (None, False)
    assert to_uint8(picture.pixels)[0].flatten().tolist() == list(range(256))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: cannot write, this is a device or a pipe"):
        write_png(tmp_path / "a.png", torch.zeros(3, 16, 16), force=True)
    assert (tmp_path / "a.png").is_fifo()


def test_an_unknown_orientation_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    pillow_image().save(tmp_path / "a.png", exif=exif)
    assert read_stego(tmp_path / "a.png").orientation == 1


@cache  # a profile holds the time at which it was made
def wide_profile() -> bytes:
    """sRGB's profile under another name, with the primaries of red and green exchanged."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    content = content.replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))
    places = [content.index(tag) for tag in (b"rXYZ", b"gXYZ")]
    for place, tag in zip(places, (b"gXYZ", b"rXYZ"), strict=True):
        content[place : place + 4] = tag
    return bytes(content)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_colours_of_a_secret_become_srgb(tmp_path: Path, mode: str) -> None:
    """With a profile that exchanges the primaries of red and green, red pixels are green in sRGB."""
    image = Image.new("RGBA", (16, 16), (200, 0, 0, 50)).convert(mode)
    image.save(tmp_path / "a.png", icc_profile=wide_profile())
    secret, cover = read_secret(tmp_path / "a.png"), read_picture(tmp_path / "a.png")
    assert "Mine" in secret.converted_from
    assert secret.profile is None
    assert cover.profile == wide_profile()  # and its pixels are as they were
    if mode == "L":
        assert (secret.pixels - cover.pixels).abs().max() < 0.01
        return
    assert (to_uint8(secret.pixels[:, 0, 0]).int() - torch.tensor([0, 200, 0])).abs().max() <= 2
    assert to_uint8(cover.pixels[:, 0, 0]).tolist() == [200, 0, 0]
    assert (secret.alpha is None) == (mode not in ("RGBA", "P"))
    if secret.alpha is not None and cover.alpha is not None:
        assert torch.equal(secret.alpha, cover.alpha)


def test_colours_in_srgb_stay_as_they_are(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pillow_image().save(tmp_path / "a.png", icc_profile=srgb)
    secret = read_secret(tmp_path / "a.png")
    assert secret.converted_from == ""
    assert torch.equal(secret.pixels, read_picture(tmp_path / "a.png").pixels)
    write_png(tmp_path / "b.png", secret.pixels, profile=srgb)
    assert read_stego(tmp_path / "b.png").profile == srgb


def linear_srgb() -> bytes:
    """sRGB's profile with its own name, but with linear values."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = content.rindex(b"para")
    content[curve + 8 : curve + 16] = bytes((0, 0, 0, 0, 0, 1, 0, 0))  # a power of 1.0
    return bytes(content)


def test_effects_of_profiles_count_and_not_their_names(tmp_path: Path) -> None:
    renamed = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = renamed.replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))
    expected = {"linear": (linear_srgb(), [168, 133, 96], True), "renamed": (renamed, [100, 60, 30], False)}
    for name, (profile, colour, is_named) in expected.items():
        Image.new("RGB", (16, 16), (100, 60, 30)).save(tmp_path / f"{name}.png", icc_profile=profile)
        secret = read_secret(tmp_path / f"{name}.png")
        assert to_uint8(secret.pixels)[:, 0, 0].tolist() == colour
        assert ("sRGB" in secret.converted_from) == is_named


def test_a_damaged_profile_of_a_secret_is_refused(tmp_path: Path) -> None:
    pillow_image().save(tmp_path / "a.png", icc_profile=wide_profile()[:200])
    with pytest.raises(ImageError, match=r"a.png: its colour profile cannot be used, .*; convert it to sRGB first"):
        read_secret(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").pixels.shape == (3, 20, 24)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_few_colours_carry_no_secret(tmp_path: Path, mode: str, name: str) -> None:
    pillow_image().convert(mode).save(tmp_path / name)
    message = rf"{name}: a palette, grey or 1-bit file \(mode {mode}\) cannot carry a hidden picture"
    with pytest.raises(ImageError, match=message):
        read_stego(tmp_path / name)


def test_deep_pictures_are_refused(tmp_path: Path) -> None:
    deep = np.zeros((16, 16))
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / "gray16.png")
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "gray32.tif")
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "rgb16.png").write_bytes(png_of_16_bits(16, 16))
    (tmp_path / "planar16.tif").write_bytes(tiff_of_16_bits(16, 16, planar=True))
    modes = {"gray16.png": "I;16", "gray32.tif": "I", "float.tif": "F", "rgb16.png": "RGB, RGB;16B"}
    for name, mode in (modes | {"planar16.tif": "RGB, "}).items():
        with pytest.raises(ImageError, match=f"{name}: more than 8 bits a channel .mode {mode}.*convert it to 8 bits"):
            read_picture(tmp_path / name)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    pillow_image().convert("CMYK").save(tmp_path / "print.jpg")
    with pytest.raises(ImageError, match=r"print.jpg: colour mode CMYK is not supported"):
        read_picture(tmp_path / "print.jpg")
    pillow_image().save(tmp_path / "film.tif", save_all=True, append_images=[pillow_image(1)])
    with pytest.raises(ImageError, match=r"film.tif: needs a single picture, got 2 frames"):
        read_picture(tmp_path / "film.tif")
    pillow_image(height=15, width=30).save(tmp_path / "small.png")
    with pytest.raises(ImageError, match=r"small.png: needs at least 16 x 16 .* got 15 x 30"):
        read_picture(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ImageError, match=r"text.png: not a PNG, JPEG, WebP, BMP or TIFF picture"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(ImageError, match=r"nothing.png: no such file"):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="this is a folder, a picture file is needed"):
        read_picture(tmp_path)


def test_too_large_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_image().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.raises(ImageError, match=r"a.png: too large to open safely"):
        read_picture(tmp_path / "a.png")


def test_large_pictures_open_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_image(height=24, width=24).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert read_picture(tmp_path / "a.png").pixels.shape == (3, 24, 24)


def test_a_folder_that_cannot_be_written_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without write permission is refused before any work is done."""
    monkeypatch.setattr(os, "access", lambda *_: False)  # since root can write everywhere
    with pytest.raises(ImageError, match=r"a.png: cannot write, the folder .* is not writable"):
        check_output(tmp_path / "a.png", force=False)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_named(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    pillow_image(height=64, width=64).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageError, match=rf"{name}: (cannot be read, damaged or truncated|not a PNG)") as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "format"), [("a.png", "JPEG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.tif", "TIFF")]
)
def test_lossy_stego_is_refused_by_content(tmp_path: Path, name: str, format: str) -> None:
    pillow_image().save(tmp_path / name, format=format, compression="jpeg" if format == "TIFF" else None)
    with pytest.raises(ImageError, match=f"{name}: a {format} file .* does not survive lossy compression such as JPEG"):
        read_stego(tmp_path / name)
    assert read_picture(tmp_path / name).pixels.shape == (3, 20, 24)


def test_output_is_checked_beforehand(tmp_path: Path) -> None:
    (tmp_path / "old.png").touch()
    check_output(tmp_path / "new.png", force=False)
    check_output(tmp_path / "old.png", force=True)
    check_output(Path("-"), force=False)
    with pytest.raises(ImageError, match=r"old.png: exists already; --force overwrites it"):
        check_output(tmp_path / "old.png", force=False)
    with pytest.raises(ImageError, match=r"new.jpg: the name must end in .png, got '.jpg'"):
        check_output(tmp_path / "new.jpg", force=True)


@pytest.mark.parametrize(
    ("name", "printed"),
    [("a.jpg", "-: a JPEG file cannot carry a hidden picture"), ("a.txt", "-: not a PNG, JPEG, WebP, BMP or TIFF")],
)
def test_standard_input_is_read_with_the_same_care(
    name: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard input gives the same pixels as a file and is refused for the same reasons."""

    def stream(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    pillow_image().save(tmp_path / "a.png")
    stream((tmp_path / "a.png").read_bytes())
    assert torch.equal(read_stego(Path("-")).pixels, read_stego(tmp_path / "a.png").pixels)
    pillow_image().save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("")
    stream((tmp_path / name).read_bytes())
    with pytest.raises(ImageError, match=printed):
        read_stego(Path("-"))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), double=st.booleans())
def test_quantise_lies_on_the_grid_with_identity_gradient(seed: int, double: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64 if double else torch.float32)
    x.requires_grad_()
    y = quantise_uint8(x)
    assert y.dtype == x.dtype
    assert torch.equal(y, to_uint8(x).to(x.dtype) / 255)
    assert torch.equal(quantise_uint8(y), y)
    assert (y - x.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
    weight = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    (gradient,) = torch.autograd.grad((weight * y).sum(), x)
    assert torch.equal(gradient, weight)


@given(st.integers(4, 9), st.integers(5, 40), st.integers(5, 40), st.integers(0, 99))
def test_borders_are_smoothed_as_the_equation_says(block: int, height: int, width: int, seed: int) -> None:
    """Compared with loops over pixels; those that touch no border stay as they are, and so do even slopes."""
    image = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = image.clone()
    for turned in (expected, expected.mT):
        before = turned.clone()
        for border in range(block, turned.shape[-1] - 1, block):
            a, b, c, d = (before[..., border + offset] for offset in (-2, -1, 0, 1))
            jump = (c - b - (b - a + d - c) / 2).clamp(-0.1, 0.1)
            turned[..., border - 1] = b + jump / 4
            turned[..., border] = c - jump / 4
    torch.testing.assert_close(smooth_borders(image, block), expected, rtol=0, atol=1e-12)
    slope = torch.arange(height)[:, None] * 0.01 + torch.arange(width) * 0.02
    torch.testing.assert_close(smooth_borders(slope, block), slope)


def test_a_small_jump_is_halved() -> None:
    image = torch.zeros(1, 8, 8)
    image[..., 4:] = 0.08
    smoothed = smooth_borders(image, 4)
    assert float(smoothed[0, 0, 4] - smoothed[0, 0, 3]) == pytest.approx(0.04, abs=1e-7)
    assert torch.equal(smoothed[..., :3], image[..., :3])


def test_quantise_refuses_integers() -> None:
    with pytest.raises(TypeError, match=r"quantise_uint8 needs a floating-point tensor, got torch.int64"):
        quantise_uint8(torch.zeros(3, dtype=torch.int64))


def test_quantise_passes_nan_on() -> None:
    assert quantise_uint8(torch.tensor([float("nan"), 0.5])).isnan().tolist() == [True, False]


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8), (0, 3, 8, 8), (8,)])
def test_check_images_names_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"who needs an RGB image of shape \(B, 3, H, W\), got \(" + str(shape[0])):
        check_images("who", torch.zeros(shape), batched=True)


@pytest.mark.parametrize("read", [read_picture, read_secret, read_stego])
def test_a_png_file_with_a_wrong_checksum_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    """Pillow decodes it without an error, to other colours."""
    path = tmp_path / "photo.png"
    pillow_image().save(path)
    read(path)
    path.write_bytes(with_wrong_checksum(path.read_bytes()))
    with pytest.raises(ImageError, match=r"photo\.png: cannot be read, damaged or truncated, broken PNG file"):
        read(path)


def test_signed_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    path.write_bytes(tiff_with("L", tag=339, value=2))
    with pytest.raises(ImageError, match=r"photo\.tif: signed or floating-point samples"):
        read_picture(path)
