"""The coder of a tile: integer networks predict, tables of integers give the probabilities, a range coder codes."""

from collections.abc import Iterator

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (it has no types)
from torch import Tensor

from liftlayers import LosslessColour
from photo_codec.model import ACTIVITY, BITS, SCALES, SYMBOLS, Model, levels_of

YCOCG = LosslessColour("ycocg-r")
CENTRE = SYMBOLS // 2 - 1
ESCAPE = SYMBOLS - 1  # the symbol of all values that are further from the mean than CENTRE
LARGEST = 1024  # absolute values of differences are smaller


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

    def __call__(self, mean: Tensor, scale: Tensor, values: Tensor) -> Tensor:
        level, rows = table_of(mean, scale)
        whole = values.to(torch.int32)
        distance = (whole - level + CENTRE).numpy().ravel()
        symbols = np.minimum(distance.view(np.uint32), ESCAPE).view(np.int32)  # negative ones become large
        order, runs = _runs(rows)
        ordered = symbols[order]
        for row, start, end in runs:
            self.coder.encode(ordered[start:end], self.distributions[row])
        self.raw(whole.numpy().ravel()[symbols == ESCAPE])
        return values

    def raw(self, values: np.ndarray) -> None:
        """Encodes integers with a fixed number of bits."""
        self.coder.encode((values + LARGEST).astype(np.int32), stream.model.Uniform(2 * LARGEST))

    def finish(self) -> bytes:
        """Returns what was encoded, a multiple of four bytes."""
        return self.coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Inverts `Encoder`."""

    def __init__(self, distributions: list[stream.model.Categorical], payload: bytes) -> None:
        self.coder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))
        self.distributions = distributions

    def __call__(self, mean: Tensor, scale: Tensor, _values: Tensor) -> Tensor:
        level, rows = table_of(mean, scale)
        order, runs = _runs(rows)
        symbols = np.empty(len(order), np.int32)
        parts = [self.coder.decode(self.distributions[row], end - start) for row, start, end in runs]
        symbols[order] = np.concatenate(parts)
        whole = symbols - CENTRE + level.numpy().ravel()
        escaped = symbols == ESCAPE
        whole[escaped] = self.raw(int(escaped.sum()))
        return torch.from_numpy(whole).reshape(mean.shape).to(mean.dtype)

    def raw(self, count: int) -> np.ndarray:
        """Inverts `Encoder.raw`."""
        return self.coder.decode(stream.model.Uniform(2 * LARGEST), count) - LARGEST


def table_of(mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the whole grey level of means, and the row of the table of distributions, both in int32."""
    mean, scale = mean.to(torch.int32), scale.to(torch.int32)
    row = (scale >> 1).clamp(0, SCALES - 1) << BITS
    return mean >> BITS, row + (mean & ((1 << BITS) - 1))


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


def activity(image: Tensor) -> Tensor:
    """Returns six numbers about an image, (1, 3, H, W): how much its neighbouring pixels differ, as logarithms.

    For columns and for rows these are the differences of the luma, then those of both other colours within pairs of
    pixels and between pairs. The pairs are equal if the colours had half the size once, as in videos.
    """
    found = []
    for axis in (2, 3):
        steps = image.float().diff(dim=axis).abs().movedim(axis, 0)
        found += [steps[:, :, 0], steps[::2, :, 1:], steps[1::2, :, 1:]]
    means = torch.stack([part.sum() / max(1, part.numel()) for part in found])
    return (4 * torch.log2(1 + 4 * means)).round()[None]


@torch.inference_mode()
def encode_tile(model: Model, distributions: list[stream.model.Categorical], pixels: np.ndarray) -> bytes:
    """Encodes 8-bit pixels, (H, W, C) with one or three channels."""
    height, width, colours = pixels.shape
    planes = torch.from_numpy(pixels.astype(np.int16)).permute(2, 0, 1)[None]
    image = YCOCG(planes.expand(-1, 3, -1, -1)).float()
    levels = levels_of(height, width)
    encoder = Encoder(distributions)
    about = activity(image)
    encoder.raw(about.numpy().ravel())
    encoder.raw(image[:, :colours, :: 1 << levels, :: 1 << levels].numpy().ravel())
    model(image, encoder, about=about, levels=levels, colours=colours)
    return encoder.finish()


@torch.inference_mode()
def decode_tile(
    model: Model, distributions: list[stream.model.Categorical], payload: bytes, *, shape: tuple[int, ...]
) -> np.ndarray:
    """Inverts `encode_tile`; `shape` is that of the pixels."""
    height, width, colours = shape
    image = torch.zeros(1, 3, height, width)
    levels = levels_of(height, width)
    smallest = image[:, :colours, :: 1 << levels, :: 1 << levels]
    decoder = Decoder(distributions, payload)
    about = torch.from_numpy(decoder.raw(ACTIVITY)).float()[None]
    smallest.copy_(torch.from_numpy(decoder.raw(smallest.numel())).view_as(smallest))
    image = model(image, decoder, about=about, levels=levels, colours=colours).to(torch.int16)
    return YCOCG.inverse(image)[0, :colours].permute(1, 2, 0).numpy().astype(np.uint8)
