"""The networks of the codec: they predict the pixels between those of a coarser image, in integers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, reduce
from itertools import product
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liftlayers import IntegerConv2d, IntegerNetwork

Phase = tuple[int, int]
Pixels = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
Rows = tuple[int, int]  # the first and the one after the last
Side = tuple[Tensor, Tensor | None]  # activity, and whether colours of pairs are equal: see `Known`
BITS = 3  # means are eighths of a grey level, scales are eighths of a power of two, hidden units are eighths, too
SCALES = 44  # the index of a scale counts quarters of a power of two
SYMBOLS = 256  # distances from the mean of -127 to 127, and one symbol for all others
SMALLEST = 4  # a pyramid ends when both sides are as small as this
LARGEST = 255 << BITS  # no mean is larger, in eighths
MARGIN = 2  # values that are repeated around each plane
PIXELS = 8192  # a network sees rows of about so many pixels at once, so that its units fit the cache of a processor
ACTIVITY = 6  # numbers about an image
EQUAL = 6  # colours of pairs count as equal if the activity between pairs is larger by this

Coder = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes means, scales and, to encode, the values, all (B, 1, h, w); returns the values."""

# Rows and columns of pixels, relative to the pixel that is predicted.
SAME, ABOVE, BELOW, LEFT, RIGHT = ((0,), (0,)), ((-1,), (0,)), ((1,), (0,)), ((0,), (-1,)), ((0,), (1,))
ROW, COLUMN, DIAGONAL, CORNER = ((0,), (-1, 1)), ((-1, 1), (0,)), ((-1, 1), (-1, 1)), ((-1,), (-1,))
CROSS = (((0,), (-3, -1, 1, 3)), ((-2, 2), (-1, 1)), ((-3, -1, 1, 3), (0,)), ((-1, 1), (-2, 2)))

# By the place of a pixel in its block of 2 x 2, in coding order; pixels of the coarser image have the place (0, 0).
KNOWN = {(1, 1): (((-3, -1, 1, 3), (-3, -1, 1, 3)),), (0, 1): CROSS, (1, 0): (*CROSS, DIAGONAL)}  # of its colour
NEAREST = {(1, 1): (DIAGONAL,), (0, 1): (ROW, COLUMN), (1, 0): (ROW, COLUMN)}
COARSE = {(1, 1): (DIAGONAL,), (0, 1): (ROW,), (1, 0): (COLUMN,)}  # the nearest pixels of the coarser image
# The pixel with the same colour, if the colours of pairs along these axes are equal; the last one counts.
PAIRS = {(1, 1): ((CORNER, [0, 1]),), (0, 1): ((BELOW, [0]), (LEFT, [1])), (1, 0): ((RIGHT, [1]), (ABOVE, [0]))}


@cache
def surroundings(colour: int, phase: Phase) -> list[tuple[Pixels, Pixels]]:
    """Returns the pixels of each colour that the prediction of a colour sees, and the nearest of them.

    All pixels of the colours before it are known, and only those of the coarser image of the colours after it.
    """
    nearest, coarse = NEAREST[phase], COARSE[phase]
    before = (DIAGONAL, ROW, COLUMN, SAME)
    return [(before, nearest)] * colour + [(KNOWN[phase], nearest)] + [(coarse, coarse)] * (2 - colour)


def _count(pixels: Pixels) -> int:
    return sum(len(above) * len(beside) for above, beside in pixels)


def _step(offsets: tuple[int, ...]) -> int:
    """Returns the distance of offsets in a plane, which has every second pixel."""
    return (offsets[1] - offsets[0]) // 2 if len(offsets) > 1 else 1


class Planes:
    """The values of a level by colour and phase, each with a margin."""

    def __init__(self, coarse: Tensor) -> None:
        self.height, self.width = coarse.shape[2:]
        self.planes: dict[tuple[int, Phase], Tensor] = {}
        for colour, plane in enumerate(coarse.split(1, 1)):
            self.add(colour, (0, 0), plane)

    def add(self, colour: int, phase: Phase, plane: Tensor) -> None:
        """Adds a plane, which may have one row or column less than the coarser image."""
        right, below = self.width - plane.shape[3], self.height - plane.shape[2]
        padding = (MARGIN, MARGIN + right, MARGIN, MARGIN + below)
        self.planes[colour, phase] = F.pad(plane, padding, mode="replicate")

    def around(self, colour: int, phase: Phase, pixels: Pixels, *, rows: Rows | None = None) -> list[Tensor]:
        """Returns pixels around those of a phase, or of some rows of it, each (B, rows, columns, h, w)."""
        top, bottom = rows or (0, self.height)
        found = []
        for above, beside in pixels:
            row, column = above[0] + phase[0], beside[0] + phase[1]
            plane = self.planes[colour, (row % 2, column % 2)]
            batch, _, down, right = plane.stride()
            start = (MARGIN + top + row // 2) * down + (MARGIN + column // 2) * right
            size = (len(plane), len(above), len(beside), bottom - top, self.width)
            strides = (batch, _step(above) * down, _step(beside) * right, down, right)
            found.append(plane.as_strided(size, strides, start))
        return found


@dataclass
class Known:
    """What is known of a level: values, the errors of their predictions, and side information."""

    values: Planes
    errors: Planes
    about: Tensor  # activity, (B, 6)
    equal: Tensor | None  # whether the colours of pairs of rows and of pairs of columns are equal, (B, 2), if any are
    kept: dict[tuple[int, Phase, bool], tuple[Tensor, Tensor]] = field(default_factory=dict)  # references

    def reference(self, colour: int, phase: Phase, nearest: Pixels, *, coded: bool) -> tuple[Tensor, Tensor]:
        """Returns a prediction without a network, times the number of the nearest pixels, and its whole part.

        It is their mean, or the pixel of the same pair if pairs have equal colours. The colours after this one use it.
        """
        if (colour, phase, coded) not in self.kept:
            windows = self.values.around(colour, phase, nearest)
            pixels = [pixel for window in windows for row in window.unbind(1) for pixel in row.unbind(1)]
            total, count = reduce(torch.add, pixels)[:, None], len(pixels)  # torch.sum takes twice the time
            if coded and colour and self.equal is not None:
                for pixel, axes in PAIRS[phase]:
                    twin = self.values.around(colour, phase, (pixel,))[0][:, 0]
                    total = torch.where(self.equal[:, axes].all(1)[:, None, None, None], count * twin, total)
            self.kept[colour, phase, coded] = total, (total * (1 / count)).floor_()
        return self.kept[colour, phase, coded]

    def features(self, colour: int, phase: Phase, *, references: list[Tensor], rows: Rows) -> Tensor:
        """Returns what a network sees of some rows.

        It sees differences of colours to their references, that of the luma, errors around, and the activity.
        """
        top, bottom = rows
        seen: list[tuple[Tensor, Tensor | None]] = []  # without a reference, values are seen as they are
        for other, (pixels, _) in enumerate(surroundings(colour, phase)):
            reference = references[other][:, :, None, top:bottom]
            seen += [(window, reference) for window in self.values.around(other, phase, pixels, rows=rows)]
            seen += [(reference, None)] * (other == 0)
        seen += [(window.abs(), None) for window in self.errors.around(colour, phase, NEAREST[phase], rows=rows)]
        seen += [(self.errors.around(other, phase, (SAME,), rows=rows)[0], None) for other in range(colour)]
        size = (bottom - top, self.values.width)
        seen.append((self.about[:, :, None, None, None].expand(-1, -1, 1, *size), None))
        counts = [window.shape[1] * window.shape[2] for window, _ in seen]
        found = self.about.new_empty(len(self.about), sum(counts), *size)  # quicker than to join parts in other layouts
        for part, (window, reference) in zip(found.split(counts, 1), seen, strict=True):
            place = part.view(window.shape)
            place.copy_(window) if reference is None else torch.sub(window, reference, out=place)
        return found


class Predictor(IntegerNetwork):
    """Predicts the values of a colour in a phase: returns means, minus that of the nearest pixels, and scales."""

    def __init__(self, colour: int, phase: Phase, width: int) -> None:
        super().__init__()
        inputs = sum(_count(pixels) for pixels, _ in surroundings(colour, phase)) + 5 + colour + ACTIVITY
        inner = {"in_bits": BITS, "out_bits": BITS, "signed": False, "inplace": True}
        self.first = IntegerConv2d(inputs, width, 1, out_bits=BITS, inplace=True)  # its last channel is linear
        self.second = IntegerConv2d(width - 1, width * 2 // 3, 1, **inner)
        self.last = IntegerConv2d(width * 2 // 3, 2, 1, **inner)
        with torch.no_grad():  # start from the prediction zero, and a scale in the middle
            for layer in (self.first, self.second):
                layer.weight *= 6**0.5  # keeps the variance, so that no layer rounds its units to zero
            for numbers in (self.first.weight[-1:], self.first.bias[-1:], self.last.weight):
                numbers.zero_()
            self.last.bias.copy_(torch.tensor([0, 5]))

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(seen)
        shift, scale = self.last(self.second(first[:, :-1])).split(1, 1)
        return first[:, -1:] + shift, scale


class Level(nn.Module):
    """Codes the pixels between those of a coarser image: three phases of luma, then those of both other colours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(Predictor(colour, phase, width) for colour in range(3) for phase in KNOWN)

    def forward(
        self, coarse: Tensor, errors: Tensor, code: Coder, *, image: Tensor, side: Side, colours: int
    ) -> tuple[Tensor, Tensor]:
        """Returns the image that `code` returned, and the errors of its predictions.

        Args:
            coarse: The coarser image, (B, 3, h, w).
            errors: The errors of the predictions of it.
            code: Is called for each phase of each colour.
            image: The image to encode, (B, 3, H, W), or one of the same shape to decode.
            side: The side information.
            colours: 1 for grey images, whose other colours are zero.
        """
        known = Known(Planes(coarse), Planes(errors), *side)
        whole, wrong = torch.zeros_like(image), torch.zeros_like(image)
        whole[:, :, ::2, ::2], wrong[:, :, ::2, ::2] = coarse, errors
        networks = iter(self.networks)
        for colour, phase in product(range(colours), KNOWN):
            network = cast(Predictor, next(networks))
            place = (slice(None), slice(colour, colour + 1), slice(phase[0], None, 2), slice(phase[1], None, 2))
            given = image[place]
            if given.numel():
                mean, scale = _predict(network, known, colour, phase)
                mean, scale = (part[:, :, : given.shape[2], : given.shape[3]] for part in (mean, scale))
                whole[place] = values = code(mean, scale, given)
                wrong[place] = error = values - mean.detach().mul(2.0**-BITS).add_(0.5).floor_()
            else:  # an image with one row or one column has no such pixels
                values, error = coarse[:, :1], errors[:, :1]
            known.values.add(colour, phase, values)
            known.errors.add(colour, phase, error)
        return whole, wrong


def _predict(network: Predictor, known: Known, colour: int, phase: Phase) -> tuple[Tensor, Tensor]:
    """Returns means and scales of a phase, with as many rows and columns as the coarser image."""
    around = enumerate(surroundings(colour, phase))
    found = [known.reference(other, phase, nearest, coded=other <= colour) for other, (_, nearest) in around]
    fourfold, references = found[colour][0], [whole for _, whole in found]
    height, width = fourfold.shape[2:]
    step, parts = max(1, PIXELS // width), []
    for top in range(0, height, step):
        rows = (top, min(top + step, height))
        parts.append(network(known.features(colour, phase, references=references, rows=rows)))
    shift, scale = (torch.cat(part, 2) for part in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]
    return (2 * fourfold + shift).clamp(-LARGEST, LARGEST), scale  # both in eighths


class Model(nn.Module):
    """The networks of the finest level and those of all others, and the table of each distribution."""

    tables: Tensor

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.fine, self.coarse = Level(width), Level(width)
        self.register_buffer("tables", torch.zeros(SCALES << BITS, SYMBOLS, dtype=torch.int32))

    def forward(self, image: Tensor, code: Coder, *, about: Tensor, levels: int, colours: int = 3) -> Tensor:
        """Codes an image, (B, 3, H, W) of whole numbers in floats, from the coarsest level to the finest.

        `about` is its activity, (B, 6). The smallest image, every 2^levels-th pixel, is given; decoding reads no other.
        """
        smallest = image[:, :, :: 1 << levels, :: 1 << levels]
        whole, errors = smallest, torch.zeros_like(smallest)
        for number in reversed(range(levels)):
            level = self.coarse if number else self.fine
            pairs = about[:, 1::3] + EQUAL <= about[:, 2::3]
            equal = pairs if number == 0 and pairs.any() else None
            given = image[:, :, :: 1 << number, :: 1 << number]
            whole, errors = level(whole, errors, code, image=given, side=(about, equal), colours=colours)
        return whole


def levels_of(height: int, width: int) -> int:
    """Returns how often an image is halved until both sides are small."""
    return (-(-max(height, width) // SMALLEST) - 1).bit_length()
