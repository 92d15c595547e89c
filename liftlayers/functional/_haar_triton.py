"""The Haar transform in one pass over a GPU's memory: every element is read once and written once.

Each program processes a tile of row pairs. The tensors are contiguous, so that the row pairs of all images are numbered
consecutively: row pair p of the images is row p of the approximations.
"""

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

TILE = 1024  # elements of a band for each program


def analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = x.shape
    approx = x.new_empty(batch, channels, height // 2, width // 2)
    detail = x.new_empty(batch, 3 * channels, height // 2, width // 2)
    _launch(_analysis_kernel, x, approx, detail)
    return approx, detail


def synthesis(approx: Tensor, detail: Tensor) -> Tensor:
    batch, channels, height, width = approx.shape
    x = approx.new_empty(batch, channels, 2 * height, 2 * width)
    _launch(_synthesis_kernel, x, approx, detail)
    return x


def _launch(kernel: triton.JITFunction, x: Tensor, approx: Tensor, detail: Tensor) -> None:
    batch, channels, height, width = approx.shape
    columns = min(triton.next_power_of_2(width), 128)
    rows = TILE // columns
    grid = (triton.cdiv(batch * channels * height, rows), triton.cdiv(width, columns))
    with torch.cuda.device_of(x):
        kernel[grid](x, approx, detail, batch * channels * height, channels * height, width, ROWS=rows, COLUMNS=columns)


@triton.jit
def _analysis_kernel(x, approx, detail, num_rows, rows_per_image, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    both = tl.program_id(1) * 2 * COLUMNS + tl.arange(0, 2 * COLUMNS)[None, :]
    inside = (row < num_rows) & (both < 2 * width)
    first = x + row * 4 * width + both
    sums, differences = _butterfly(tl.load(first, mask=inside), tl.load(first + 2 * width, mask=inside))  # of rows
    left, right = tl.split(tl.reshape(sums, (ROWS, COLUMNS, 2)))
    average, vertical = _butterfly(left, right)
    left, right = tl.split(tl.reshape(differences, (ROWS, COLUMNS, 2)))
    horizontal, diagonal = _butterfly(left, right)

    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < num_rows) & (column < width)
    tl.store(approx + row * width + column, 0.5 * average, mask=inside)
    band = row + row // rows_per_image * 2 * rows_per_image  # row of detail, which has three bands per image
    tl.store(detail + band * width + column, 0.5 * horizontal, mask=inside)
    tl.store(detail + (band + rows_per_image) * width + column, 0.5 * vertical, mask=inside)
    tl.store(detail + (band + 2 * rows_per_image) * width + column, 0.5 * diagonal, mask=inside)


@triton.jit
def _synthesis_kernel(x, approx, detail, num_rows, rows_per_image, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < num_rows) & (column < width)
    average = tl.load(approx + row * width + column, mask=inside)
    band = row + row // rows_per_image * 2 * rows_per_image  # row of detail, which has three bands per image
    horizontal = tl.load(detail + band * width + column, mask=inside)
    vertical = tl.load(detail + (band + rows_per_image) * width + column, mask=inside)
    diagonal = tl.load(detail + (band + 2 * rows_per_image) * width + column, mask=inside)
    left, right = _butterfly(average, vertical)
    sums = tl.reshape(tl.join(left, right), (ROWS, 2 * COLUMNS))
    left, right = _butterfly(horizontal, diagonal)
    differences = tl.reshape(tl.join(left, right), (ROWS, 2 * COLUMNS))
    top, bottom = _butterfly(sums, differences)

    both = tl.program_id(1) * 2 * COLUMNS + tl.arange(0, 2 * COLUMNS)[None, :]
    inside = (row < num_rows) & (both < 2 * width)
    first = x + row * 4 * width + both
    tl.store(first, 0.5 * top, mask=inside)
    tl.store(first + 2 * width, 0.5 * bottom, mask=inside)


@triton.jit
def _butterfly(a, b):
    return a + b, a - b
