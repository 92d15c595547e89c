"""Comparison sheets: rows of pictures, each with a title above and a caption below."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pirnet.images import ImageError
from pirnet.pixels import centred, check_images, to_uint8
from pirnet.support.files import atomic_path
from pirnet.support.text import code

FORMATS = {".png": "PNG", ".webp": "WEBP"}
PAPER, INK, SOFT_INK, FRAME = "#ffffff", "#1a1a1a", "#5f6368", "#dadce0"
MARGIN, GUTTER, ROW_GAP, TEXT_GAP = 24, 14, 22, 5
PANEL = 320  # a side large enough to judge a photo, pixel for pixel


@dataclass(frozen=True)
class _Style:
    """How a text is drawn; size and line height in pixels."""

    size: int
    bold: bool
    ink: str

    @property
    def line(self) -> int:
        return round(1.3 * self.size)


HEADING, TITLE, CAPTION = _Style(20, True, INK), _Style(14, True, INK), _Style(13, False, SOFT_INK)


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet.

    Attributes:
        title: The text above the picture.
        caption: The text below the picture, for instance a figure.
        image: Of shape :math:`(3, H, W)` in :math:`[0, 1]`.
    """

    title: str
    caption: str
    image: Tensor


def cropped(item: Panel, side: int = PANEL) -> Panel:
    """The panel with only the part of its picture that a sheet shows, to save memory with large photos."""
    return replace(item, image=centred(item.image, side, side).cpu().clone())


def save_sheet(path: Path, rows: Sequence[Sequence[Panel]], *, panel: int = PANEL, heading: str = "") -> None:
    """Draws rows of pictures; of each picture a square window about its centre is shown, pixel for pixel.

    A smaller picture is shown completely. Long titles and captions are wrapped. An existing file is replaced.

    Args:
        path: The file to write, `.png` or `.webp`; its folder exists.
        rows: The panels, row by row; rows may differ in length.
        panel: The side of the window, in pixels.
        heading: A line above all rows, or nothing.

    Raises:
        ImageError: The name has another ending, or the folder is missing or not writable.
        TypeError: An image is not floating point.
        ValueError: There is no panel, an image has another shape, or `panel` is less than 32.
    """
    if path.suffix.lower() not in FORMATS:
        raise ImageError(f"{path}: the name of a sheet must end in .png or .webp, got {path.suffix or 'no ending'!r}")
    if not path.parent.is_dir():
        raise ImageError(f"{path}: cannot write, the folder {path.parent} does not exist")
    if not rows or not all(rows):
        raise ValueError(f"save_sheet needs at least one panel in every row, got {[len(row) for row in rows]}")
    if panel < 32:
        raise ValueError(f"save_sheet needs a panel of at least 32 pixels, got {panel}")
    for item in (item for row in rows for item in row):
        check_images("save_sheet", item.image, batched=False)
    sheet = _draw(rows, panel, heading)
    try:
        with atomic_path(path) as temporary:
            sheet.save(temporary, format=FORMATS[path.suffix.lower()], quality=90, optimize=True)
    except OSError as error:
        raise ImageError(f"{path}: cannot write, {error.strerror or error}") from error


def ten_fold_difference(a: Tensor, b: Tensor) -> Tensor:
    r"""Makes a small difference visible: black if the images are equal, clamped from 25.5 grey levels on.

    .. math:: y = \min(10\, |a - b|,\, 1)

    Args:
        a: An image :math:`(3, H, W)` in :math:`[0, 1]`.
        b: An image of the same shape.

    Returns:
        The picture of the difference, of the same shape, in :math:`[0, 1]`.

    Raises:
        TypeError: An image is not floating point.
        ValueError: An image has another shape, or the two shapes differ.
    """
    check_images("ten_fold_difference", a, b, batched=False)
    return (10 * (a - b).abs()).clamp(max=1)


def _draw(rows: Sequence[Sequence[Panel]], panel: int, heading: str) -> Image.Image:
    texts = [[(_wrap(item.title, TITLE, panel), _wrap(item.caption, CAPTION, panel)) for item in row] for row in rows]
    title_heights = [max(len(title) for title, _ in row) * TITLE.line for row in texts]
    caption_heights = [max(len(caption) for _, caption in row) * CAPTION.line for row in texts]
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * panel + (columns - 1) * GUTTER
    heading_lines = _wrap(heading, HEADING, width - 2 * MARGIN)
    top = MARGIN + len(heading_lines) * HEADING.line + (ROW_GAP // 2 if heading_lines else 0)
    heights = [a + panel + 2 * TEXT_GAP + b for a, b in zip(title_heights, caption_heights, strict=True)]
    sheet = Image.new("RGB", (width, top + sum(heights) + (len(rows) - 1) * ROW_GAP + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (MARGIN, MARGIN), heading_lines, HEADING)
    for row, texts_of_row, title_height, height in zip(rows, texts, title_heights, heights, strict=True):
        picture_top = top + title_height + TEXT_GAP
        for column, (item, (title, caption)) in enumerate(zip(row, texts_of_row, strict=True)):
            left = MARGIN + column * (panel + GUTTER)
            _write(pen, (left, picture_top - TEXT_GAP - len(title) * TITLE.line), title, TITLE)  # next to its picture
            _paste(sheet, pen, cropped(item, panel).image, (left, picture_top), panel)
            _write(pen, (left, picture_top + panel + TEXT_GAP), caption, CAPTION)
        top += height + ROW_GAP
    return sheet


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, image: Tensor, corner: tuple[int, int], panel: int) -> None:
    height, width = image.shape[1:]
    view = to_uint8(image).permute(1, 2, 0).contiguous()  # (h, w, 3)
    x, y = corner[0] + (panel - width) // 2, corner[1] + (panel - height) // 2
    pen.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)  # around the picture, covering no pixel of it
    sheet.paste(Image.fromarray(view.numpy()), (x, y))


def _write(pen: ImageDraw.ImageDraw, corner: tuple[int, int], lines: list[str], style: _Style) -> None:
    for number, line in enumerate(lines):
        pen.text((corner[0], corner[1] + number * style.line), line, fill=style.ink, font=_font(style))


def _wrap(text: str, style: _Style, width: int) -> list[str]:
    """Breaks text into lines, between words where possible."""
    lines: list[str] = []
    for paragraph in _drawable(text, style).splitlines():
        line = ""
        for word in re.split(r"(?<= )", paragraph):
            for part in (word,) if _fits(word, style, width) else word:
                if line and not _fits(line + part, style, width):
                    lines.append(line.rstrip())
                    line = ""
                line += part
        lines.append(line.rstrip())
    return lines


def _fits(text: str, style: _Style, width: int) -> bool:
    return _font(style).getlength(text.rstrip()) <= width


def _drawable(text: str, style: _Style) -> str:
    """The text with the code of each letter that the font lacks, such as those of Chinese."""
    composed = unicodedata.normalize("NFC", text)  # the font places accents better on letters that include them
    return "".join(char if char == "\n" or ord(char) in _letters(style) else code(char) for char in composed)


@cache
def _letters(style: _Style) -> set[int]:
    """The codes of the letters that the font has."""
    return {*FT2Font(_font(style).path).get_charmap()}


@cache
def _font(style: _Style) -> ImageFont.FreeTypeFont:
    # DejaVu Sans comes with matplotlib, so sheets look the same everywhere and have sigma and the minus sign
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' * style.bold}.ttf"
    return ImageFont.truetype(path, style.size)
