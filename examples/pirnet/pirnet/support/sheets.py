"""Comparison sheets: rows of pictures, each with a title above and a caption below it."""

__all__ = ["Panel", "cropped", "save_sheet", "ten_fold_difference"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pirnet.images import ImageError, atomic_path, check_pixels, to_uint8

FORMATS = {".png": "PNG", ".webp": "WEBP"}
PAPER, INK, SOFT_INK, FRAME = "#ffffff", "#1a1a1a", "#5f6368", "#dadce0"
MARGIN, GUTTER, ROW_GAP, TEXT_GAP = 24, 14, 22, 5
HEADING_SIZE, TITLE_SIZE, CAPTION_SIZE = 20, 14, 13
LEADING = 1.3  # the height of a line of text over its size


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet.

    Attributes:
        title: What it is, above it.
        caption: What was measured, below it.
        image: Of shape :math:`(3, H, W)` in :math:`[0, 1]`.
    """

    title: str
    caption: str
    image: Tensor


def cropped(item: Panel, side: int = 256) -> Panel:
    """The panel with no more of its picture than a sheet of that side shows: what to keep of large photos in memory."""
    height, width = (min(size, side) for size in item.image.shape[1:])
    top, left = (item.image.shape[1] - height) // 2, (item.image.shape[2] - width) // 2
    return replace(item, image=item.image[:, top : top + height, left : left + width].cpu().clone())


def save_sheet(path: Path, rows: Sequence[Sequence[Panel]], *, panel: int = 256, heading: str = "") -> None:
    """Draws rows of pictures, each seen through a square window about its centre, pixel for pixel.

    A smaller picture is shown whole. Long titles and captions wrap. An existing file is replaced, in one step.

    Args:
        path: The file to write, `.png` or `.webp`; its folder exists.
        rows: The panels, row by row; rows may differ in length.
        panel: The side of the window, in pixels.
        heading: A line above everything, or nothing.

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
        check_pixels("save_sheet", item.image, batched=False)
    sheet = _draw(rows, panel, heading)
    try:
        with atomic_path(path) as temporary:
            sheet.save(temporary, format=FORMATS[path.suffix.lower()], quality=90, optimize=True)
    except OSError as error:
        raise ImageError(f"{path}: cannot write, {error}") from error


def ten_fold_difference(a: Tensor, b: Tensor) -> Tensor:
    r"""Makes a small difference visible: black where the images agree, clamped from 25.5 grey levels on.

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
    check_pixels("ten_fold_difference", a, batched=False)
    check_pixels("ten_fold_difference", b, batched=False)
    if a.shape != b.shape:
        raise ValueError(f"ten_fold_difference needs two images of one shape, got {tuple(a.shape)}, {tuple(b.shape)}")
    return (10 * (a - b).abs()).clamp(max=1)


@dataclass(frozen=True)
class _Row:
    """A row as it will be drawn: its wrapped texts and the heights that they take."""

    panels: Sequence[Panel]
    titles: list[list[str]]
    captions: list[list[str]]

    @property
    def title_height(self) -> int:
        return max(map(len, self.titles)) * _line(TITLE_SIZE)

    @property
    def caption_height(self) -> int:
        return max(map(len, self.captions)) * _line(CAPTION_SIZE)


def _draw(rows: Sequence[Sequence[Panel]], panel: int, heading: str) -> Image.Image:
    title_font, caption_font = _font(TITLE_SIZE, bold=True), _font(CAPTION_SIZE, bold=False)
    laid_out = [
        _Row(
            row,
            [_wrap(item.title, title_font, panel) for item in row],
            [_wrap(item.caption, caption_font, panel) for item in row],
        )
        for row in rows
    ]
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * panel + (columns - 1) * GUTTER
    heading_lines = _wrap(heading, _font(HEADING_SIZE, bold=True), width - 2 * MARGIN)
    top = MARGIN + len(heading_lines) * _line(HEADING_SIZE) + (ROW_GAP // 2 if heading_lines else 0)
    heights = [row.title_height + panel + 2 * TEXT_GAP + row.caption_height for row in laid_out]
    sheet = Image.new("RGB", (width, top + sum(heights) + (len(rows) - 1) * ROW_GAP + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (MARGIN, MARGIN), heading_lines, HEADING_SIZE, bold=True, ink=INK)
    for row, height in zip(laid_out, heights, strict=True):
        _draw_row(sheet, pen, row, top, panel)
        top += height + ROW_GAP
    return sheet


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: _Row, top: int, panel: int) -> None:
    picture_top = top + row.title_height + TEXT_GAP
    caption_top = picture_top + panel + TEXT_GAP
    for column, (item, title, caption) in enumerate(zip(row.panels, row.titles, row.captions, strict=True)):
        left = MARGIN + column * (panel + GUTTER)
        title_top = picture_top - TEXT_GAP - len(title) * _line(TITLE_SIZE)  # a shorter title stands on its picture too
        _write(pen, (left, title_top), title, TITLE_SIZE, bold=True, ink=INK)
        _paste(sheet, pen, cropped(item, panel).image, (left, picture_top), panel)
        _write(pen, (left, caption_top), caption, CAPTION_SIZE, bold=False, ink=SOFT_INK)


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, image: Tensor, corner: tuple[int, int], panel: int) -> None:
    height, width = image.shape[1:]
    view = to_uint8(image).permute(1, 2, 0).contiguous()  # (h, w, 3)
    x, y = corner[0] + (panel - width) // 2, corner[1] + (panel - height) // 2
    pen.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)  # outside: no pixel of the picture is covered
    sheet.paste(Image.fromarray(view.numpy()), (x, y))


def _write(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], lines: list[str], size: int, *, bold: bool, ink: str
) -> None:
    for number, line in enumerate(lines):
        pen.text((corner[0], corner[1] + number * _line(size)), line, fill=ink, font=_font(size, bold=bold))


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _line(size: int) -> int:
    return round(LEADING * size)


@cache
def _font(size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    # DejaVu Sans comes with matplotlib, so a sheet looks the same everywhere and knows sigma and the minus sign
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
