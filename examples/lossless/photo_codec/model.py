"""The networks of the codec: they predict the details of each level of a wavelet pyramid, in integers."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liftlayers import IntegerConv2d, IntegerNetwork, LosslessColour, LosslessWavelet

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # the positions in a block of 2 x 2 details, in coding order
BITS = 3  # means are eighths of a grey level, scales are eighths of a power of two, hidden units are eighths, too
LARGEST_MEAN = 2047  # in grey levels; no detail is larger
SCALES = 44  # the index of a scale counts quarters of a power of two
GAIN = 3**0.5  # of initial weights: keeps the variance, so that no layer rounds its units to zero
SYMBOLS = 256  # distances from the mean of -127 to 127, and one symbol for all others

YCOCG = LosslessColour("ycocg-r")
Coder = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Takes mean, scale and, to encode, the values of three bands; returns the values."""


def split(detail: Tensor) -> list[Tensor]:
    """Returns the details of the four phases, from (B, 9, H, W) to four times (B, 9, H/2, W/2).

    The channels are sorted by colour; those of a wavelet are sorted by direction.
    """
    by_colour = detail.unflatten(1, (3, 3)).transpose(1, 2).flatten(1, 2)
    return [by_colour[:, :, row::2, column::2] for row, column in PHASES]


def join(phases: list[Tensor]) -> Tensor:
    """Inverts `split`."""
    height, width = phases[0].shape[2:]
    by_colour = phases[0].new_empty(len(phases[0]), 9, 2 * height, 2 * width)
    for (row, column), phase in zip(PHASES, phases, strict=True):
        by_colour[:, :, row::2, column::2] = phase
    return by_colour.unflatten(1, (3, 3)).transpose(1, 2).flatten(1, 2)


def pad(image: Tensor) -> Tensor:
    """Repeats the last row and the last column until both sides are multiples of four."""
    height, width = image.shape[2:]
    rows = torch.arange(height + -height % 4).clamp(max=height - 1)
    columns = torch.arange(width + -width % 4).clamp(max=width - 1)
    return image[:, :, rows][:, :, :, columns]


def bend(x: Tensor) -> Tensor:
    """Divides by eight what is above 8 grey levels, so that units of photos with much contrast are not clipped."""
    large = x * 2.0**-3 + 56
    rounded = large.detach().floor()
    return torch.minimum(x, large + (rounded - large).detach() if x.requires_grad else rounded)


class Phase(IntegerNetwork):
    """Predicts a quarter of the details of a level from the approximation and the phases before it."""

    def __init__(self, phase: int, width: int) -> None:
        super().__init__()
        hidden = width * 2 // 3
        inner = {"in_bits": BITS, "out_bits": BITS, "signed": False}
        self.mix = IntegerConv2d(width, width, 1, **inner)
        self.context = IntegerConv2d(9 * phase, width + 9, out_bits=BITS) if phase else None
        self.deep = IntegerConv2d(width, width, **inner)
        self.head = IntegerConv2d(width, 3 * hidden, 1, **inner)
        self.link = nn.ModuleList(IntegerConv2d(3 * colour, hidden + 3, 1, out_bits=BITS) for colour in (1, 2))
        self.last = nn.ModuleList(IntegerConv2d(hidden, 6, 1, **inner) for _ in range(3))
        with torch.no_grad():  # start from the prediction zero, and a scale in the middle
            for layer in (self.mix, self.deep, self.head):
                layer.weight *= GAIN
            for layer, rows in ((self.context, slice(-9, None)), (self.link[0], slice(3)), (self.link[1], slice(3))):
                for numbers in layer.parameters() if layer else ():
                    numbers[rows] = 0
            for layer in self.last:
                nn.init.zeros_(cast(IntegerConv2d, layer).weight)
                cast(IntegerConv2d, layer).bias.copy_(torch.tensor([0, 0, 0, 5, 5, 5]))

    def forward(
        self, trunk: Tensor, linear: Tensor, before: list[Tensor], *, code: Coder, values: list[Tensor], colours: int
    ) -> Tensor:
        """Codes one colour after the other; `values` are empty to decode. Returns (B, 9, H/2, W/2)."""
        hidden, mean = self.mix(bend(trunk)), linear
        if self.context is not None:
            context = self.context(torch.cat(before, 1))
            hidden, mean = hidden + context[:, :-9], mean + context[:, -9:]
        done: list[Tensor] = []
        units, means = self.head(bend(self.deep(bend(hidden)))).chunk(3, 1), mean.chunk(3, 1)
        for colour in range(colours):
            unit, centre = units[colour], means[colour]
            if colour:
                link = self.link[colour - 1](torch.cat(done, 1))
                unit, centre = unit + link[:, 3:], centre + link[:, :3]
            shift, scale = self.last[colour](bend(unit)).chunk(2, 1)
            limit = LARGEST_MEAN << BITS
            done.append(code((centre + shift).clamp(-limit, limit), scale, values[colour] if values else None))
        return torch.cat(done + [torch.zeros_like(done[0])] * (3 - colours), 1)


class Level(IntegerNetwork):
    """Predicts the details of a level in four phases, so that most details see coded ones around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.approx = IntegerConv2d(12, width + 36, out_bits=BITS, zero_mean=True)
        self.trunk = IntegerConv2d(width, width, in_bits=BITS, out_bits=BITS, signed=False)
        self.phases = nn.ModuleList(Phase(phase, width) for phase in range(4))
        with torch.no_grad():
            self.trunk.weight *= GAIN
            self.approx.weight[width:] = 0
            self.approx.bias[width:] = 0

    def forward(self, approx: Tensor, code: Coder, *, detail: Tensor | None = None, colours: int = 3) -> Tensor:
        """Codes the details, (B, 9, H, W), of an approximation, (B, 3, H, W), both whole numbers in floats.

        Args:
            approx: The approximation.
            code: Is called twelve times, for each colour of each phase.
            detail: The details; none to decode.
            colours: 1 for gray images, whose other colours are zero.
        """
        around = F.pad(F.pixel_unshuffle(approx, 2), (1, 1, 1, 1), mode="replicate")
        first = self.approx(around)[:, :, 1:-1, 1:-1]
        trunk = self.trunk(bend(first[:, : self.width]))
        known: list[Tensor] = []
        values = [[]] * 4 if detail is None else [phase.chunk(3, 1) for phase in split(detail)]
        for phase, linear, value in zip(self.phases, first[:, self.width :].chunk(4, 1), values, strict=True):
            known.append(phase(trunk, linear, known, code=code, values=value, colours=colours))
        return join(known)


class Model(nn.Module):
    """The networks, which all levels share, and the table of each distribution."""

    tables: Tensor

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.level = Level(width)
        self.wavelet = LosslessWavelet("haar")
        self.register_buffer("tables", torch.zeros(SCALES << BITS, SYMBOLS, dtype=torch.int32))


def table_of(mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the whole grey level of means, and the row of the table of distributions, both in int32."""
    mean, scale = mean.to(torch.int32), scale.to(torch.int32)
    row = (scale >> 1).clamp(0, SCALES - 1) << BITS
    return mean >> BITS, row + (mean & ((1 << BITS) - 1))
