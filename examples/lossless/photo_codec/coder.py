"""The coder of a tile: integer networks predict, tables of integers give the probabilities, a range coder codes."""

from collections.abc import Iterator

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (it has no types)
from torch import Tensor

from photo_codec.model import SYMBOLS, YCOCG, Model, pad, table_of

SMALLEST = 4  # a pyramid ends when both sides are as small as this
CENTRE = SYMBOLS // 2 - 1
ESCAPE = SYMBOLS - 1  # the symbol of all values that are further from the mean than CENTRE
LARGEST = 2048  # absolute values of details are smaller


def distributions_of(model: Model) -> list[stream.model.Categorical]:
    """Returns the distributions of a model's tables.

    The tables hold integers whose sum is 2^24 minus their number. constriction adds one to each and rounds nothing.
    """
    return [stream.model.Categorical(row.astype(np.float32), perfect=False) for row in model.tables.numpy()]


class Encoder:
    """Encodes bands with the distributions that means and scales select."""

    def __init__(self, distributions: list[stream.model.Categorical]) -> None:
        self.coder = stream.queue.RangeEncoder()
        self.distributions = distributions

    def __call__(self, mean: Tensor, scale: Tensor, values: Tensor | None) -> Tensor:
        assert values is not None
        level, rows = table_of(mean, scale)
        whole = values.to(torch.int32)
        distance = (whole - level).numpy().ravel() + CENTRE
        escaped = (distance < 0) | (distance >= ESCAPE)
        order, runs = _runs(rows)
        symbols = np.where(escaped, ESCAPE, distance).astype(np.int32)[order]
        for row, start, end in runs:
            self.coder.encode(symbols[start:end], self.distributions[row])
        if escaped.any():
            self.raw(whole.numpy().ravel()[escaped])
        return values

    def raw(self, values: np.ndarray) -> np.ndarray:
        """Encodes integers with a fixed number of bits."""
        self.coder.encode((values + LARGEST).astype(np.int32), stream.model.Uniform(2 * LARGEST))
        return values

    def finish(self) -> bytes:
        """Returns what was encoded, a multiple of four bytes."""
        return self.coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Inverts `Encoder`."""

    def __init__(self, distributions: list[stream.model.Categorical], payload: bytes) -> None:
        self.coder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))
        self.distributions = distributions

    def __call__(self, mean: Tensor, scale: Tensor, values: Tensor | None) -> Tensor:
        assert values is None
        level, rows = table_of(mean, scale)
        order, runs = _runs(rows)
        symbols = np.empty(len(order), np.int32)
        parts = [self.coder.decode(self.distributions[row], end - start) for row, start, end in runs]
        symbols[order] = np.concatenate(parts)
        whole = symbols - CENTRE + level.numpy().ravel()
        escaped = symbols == ESCAPE
        if escaped.any():
            whole[escaped] = self.raw(int(escaped.sum()))
        return torch.from_numpy(whole).reshape(mean.shape).to(mean.dtype)

    def raw(self, count: int) -> np.ndarray:
        """Inverts `Encoder.raw`."""
        return self.coder.decode(stream.model.Uniform(2 * LARGEST), count) - LARGEST


def _runs(rows: Tensor) -> tuple[np.ndarray, Iterator[tuple[int, int, int]]]:
    """Returns the order that sorts values by their distributions, and where the values of each start and end.

    One call of the coder takes all values of a distribution: it is quicker than a call with a distribution a value.
    """
    flat = rows.numpy().ravel().astype(np.uint16)
    counts = np.bincount(flat)
    used = np.flatnonzero(counts)
    ends = np.cumsum(counts[used])
    starts = ends - counts[used]
    return np.argsort(flat, kind="stable"), zip(used.tolist(), starts.tolist(), ends.tolist(), strict=True)


@torch.inference_mode()
def encode_tile(model: Model, distributions: list[stream.model.Categorical], pixels: np.ndarray) -> bytes:
    """Encodes 8-bit pixels, (H, W, C) with one or three channels."""
    planes = torch.from_numpy(pixels.astype(np.int16)).permute(2, 0, 1)[None]
    encoder = Encoder(distributions)
    image = YCOCG(planes.expand(-1, 3, -1, -1))
    _code(model, encoder, image, shape=pixels.shape[:2], colours=pixels.shape[2])
    return encoder.finish()


@torch.inference_mode()
def decode_tile(
    model: Model, distributions: list[stream.model.Categorical], payload: bytes, *, shape: tuple[int, ...]
) -> np.ndarray:
    """Inverts `encode_tile`; `shape` is that of the pixels."""
    image = _code(model, Decoder(distributions, payload), None, shape=shape[:2], colours=shape[2])
    return YCOCG.inverse(image)[0, : shape[2]].permute(1, 2, 0).numpy().astype(np.uint8)


def _code(
    model: Model,
    coder: Encoder | Decoder,
    image: Tensor | None,
    *,
    shape: tuple[int, ...],
    colours: int,
) -> Tensor:
    """Codes an image, (1, 3, H, W) in int16: first the approximation, then the details. Decodes if there is none."""
    height, width = shape
    if max(shape) <= SMALLEST:
        return _code_raw(coder, image, shape=shape, colours=colours)
    approx, detail = (None, None) if image is None else model.wavelet(pad(image))
    half = (2 * -(-height // 4), 2 * -(-width // 4))
    approx = _code(model, coder, approx, shape=half, colours=colours)
    known = None if detail is None else detail.float()
    detail = model.level(approx.float(), coder, detail=known, colours=colours)
    return model.wavelet.inverse(approx, detail.to(torch.int16))[:, :, :height, :width]


def _code_raw(coder: Encoder | Decoder, image: Tensor | None, *, shape: tuple[int, ...], colours: int) -> Tensor:
    """Codes the smallest approximation."""
    if isinstance(coder, Decoder):
        values = coder.raw(colours * shape[0] * shape[1])
        decoded = torch.from_numpy(values.astype(np.int16)).reshape(1, colours, *shape)
        return torch.cat((decoded, decoded.new_zeros(1, 3 - colours, *shape)), 1)
    assert image is not None
    coder.raw(image[:, :colours].numpy().ravel())
    return image
