"""Sheets show pictures pixel for pixel, are written completely, and leave matplotlib's state unchanged."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from pirnet.images import ImageError
from pirnet.support.sheets import FRAME, GUTTER, MARGIN, PAPER, Panel, cropped, save_sheet, ten_fold_difference


def random_panel(seed: int, height: int, width: int, title: str = "title", caption: str = "31.20 dB") -> Panel:
    return Panel(title, caption, torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)))


def find(sheet: np.ndarray, patch: np.ndarray) -> list[tuple[int, int]]:
    """The corners at which a patch appears in a sheet, pixel for pixel."""
    height, width = patch.shape[:2]
    corners = zip(*np.nonzero((sheet == patch[0, 0]).all(axis=-1)), strict=True)
    return [(int(y), int(x)) for y, x in corners if np.array_equal(sheet[y : y + height, x : x + width], patch)]


def pixels(panel: Panel) -> np.ndarray:
    return (255 * panel.image).round().byte().permute(1, 2, 0).numpy()


def test_pictures_stand_one_to_one(tmp_path: Path) -> None:
    """Each picture appears pixel for pixel at its place, a small one completely and a large one as its centre."""
    large, small = random_panel(0, 70, 90), random_panel(1, 20, 31)
    save_sheet(tmp_path / "a.png", [[large, small], [small]], panel=64, heading="A heading")
    with Image.open(tmp_path / "a.png") as image:
        sheet = np.array(image)
    assert sheet.shape[1] == 2 * MARGIN + 2 * 64 + GUTTER
    ((top, left),) = find(sheet, pixels(large)[3:67, 13:77])
    assert left == MARGIN
    places = find(sheet, pixels(small))
    assert [x for _, x in places] == [MARGIN + 64 + GUTTER + 16, MARGIN + 16]
    assert places[0][0] == top + 22
    assert [f"#{''.join(f'{level:02x}' for level in sheet[y, x])}" for y, x in ((top - 1, left), (0, 0))] == [
        FRAME,
        PAPER,
    ]


def test_cropped_panels_draw_the_same_sheet(tmp_path: Path) -> None:
    large, small = random_panel(0, 71, 90), random_panel(1, 20, 31)
    assert cropped(large, 64).image.shape == (3, 64, 64)
    assert (cropped(small, 64).image == small.image).all()
    save_sheet(tmp_path / "a.png", [[large, small]], panel=64)
    save_sheet(tmp_path / "b.png", [[cropped(large, 64), cropped(small, 64)]], panel=64)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_texts_are_drawn_and_wrap(tmp_path: Path) -> None:
    heights = []
    for caption in ("", "short", "a caption of many words that needs more than one line", "two\nlines"):
        save_sheet(tmp_path / "a.png", [[random_panel(0, 64, 64, caption=caption)]], panel=64)
        with Image.open(tmp_path / "a.png") as image:
            heights.append(image.height)
            below = np.array(image)[-MARGIN - 10 : -MARGIN] if caption else np.array([0])
            assert below.min() < 200  # ink above the margin
    line = heights[1] - heights[0]
    assert line > 10
    assert heights[2] >= heights[0] + 3 * line
    assert heights[3] == heights[0] + 2 * line


def heading(folder: Path, text: str) -> np.ndarray:
    save_sheet(folder / "a.png", [[random_panel(0, 64, 200)]], panel=200, heading=text)
    with Image.open(folder / "a.png") as image:
        return np.array(image)


@pytest.mark.parametrize("name", ["写真", "हिन्दी", "🦊", "ไทย"])
def test_letters_that_the_font_lacks_appear_as_codes(name: str, tmp_path: Path) -> None:
    codes = name.encode("unicode_escape").decode()
    assert np.array_equal(heading(tmp_path, f"{name}.png"), heading(tmp_path, f"{codes}.png"))
    assert not np.array_equal(heading(tmp_path, f"{name}.png"), heading(tmp_path, f"{name[:-1]}.png"))


def test_accents_are_composed(tmp_path: Path) -> None:
    assert np.array_equal(heading(tmp_path, "e\u0301"), heading(tmp_path, "\u00e9"))


def test_long_words_are_broken(tmp_path: Path) -> None:
    whole, broken = heading(tmp_path, "n" * 8), heading(tmp_path, "n" * 80)
    assert broken.shape[0] > whole.shape[0]
    assert broken.shape[1] == whole.shape[1]
    assert (broken[:, -MARGIN + 2 :] == 255).all()  # nothing runs over the edge


def test_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.webp"
    save_sheet(path, [[random_panel(0, 40, 40)]], panel=48)
    save_sheet(path, [[random_panel(1, 40, 40)]], panel=48)
    with Image.open(path) as image:
        assert image.format == "WEBP"
    before = path.read_bytes()

    def full_disk(_: Image.Image, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(ImageError, match=r"a.webp: cannot write, No space left on device"):
        save_sheet(path, [[random_panel(2, 40, 40)]], panel=48)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_matplotlib_is_left_alone(tmp_path: Path) -> None:
    """Drawing a sheet neither chooses a backend of matplotlib nor imports pyplot."""
    backend = dict.__getitem__(matplotlib.rcParams, "backend")  # read without the lookup, which would choose a backend
    had_pyplot = "matplotlib.pyplot" in sys.modules
    save_sheet(tmp_path / "a.png", [[random_panel(0, 40, 40)]], panel=48)
    assert dict.__getitem__(matplotlib.rcParams, "backend") is backend
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_wrong_sheets_are_refused(tmp_path: Path) -> None:
    good = random_panel(0, 40, 40)
    with pytest.raises(ImageError, match=r"a.jpg: the name of a sheet must end in .png or .webp, got '.jpg'"):
        save_sheet(tmp_path / "a.jpg", [[good]])
    with pytest.raises(ImageError, match=r"the folder .*missing does not exist"):
        save_sheet(tmp_path / "missing" / "a.png", [[good]])
    with pytest.raises(ValueError, match=r"at least one panel in every row, got \[1, 0\]"):
        save_sheet(tmp_path / "a.png", [[good], []])
    with pytest.raises(ValueError, match="panel of at least 32 pixels, got 8"):
        save_sheet(tmp_path / "a.png", [[good]], panel=8)
    with pytest.raises(ValueError, match=r"save_sheet needs an RGB image of shape \(3, H, W\), got \(1, 40, 40\)"):
        save_sheet(tmp_path / "a.png", [[Panel("", "", good.image[:1])]])
    with pytest.raises(TypeError, match=r"save_sheet needs a floating-point image, got torch.uint8"):
        save_sheet(tmp_path / "a.png", [[Panel("", "", good.image.byte())]])
    assert not list(tmp_path.iterdir())


def test_ten_fold_difference() -> None:
    a = torch.full((3, 4, 4), 0.5)
    b = a.clone()
    b[0], b[1] = 0.47, 0.9
    difference = ten_fold_difference(a, b)
    assert difference[:, 0, 0].tolist() == pytest.approx([0.3, 1, 0], abs=1e-6)
    assert torch.equal(difference, ten_fold_difference(b, a))
    with pytest.raises(ValueError, match=r"images of one shape, got \(3, 4, 4\) and \(3, 4, 1\)"):
        ten_fold_difference(a, b[..., :1])
    with pytest.raises(ValueError, match=r"ten_fold_difference needs an RGB image of shape \(3, H, W\), got \(4, 4\)"):
        ten_fold_difference(a[0], b)
    with pytest.raises(TypeError, match=r"ten_fold_difference needs a floating-point image, got torch.int32"):
        ten_fold_difference(a, b.int())
