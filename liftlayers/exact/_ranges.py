"""Checks of every pass of an exact chain: the range of its values, and the arithmetic of subclasses."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from liftlayers._bands import has_values
from liftlayers._maps import same_map
from liftlayers.exact._plan import Link
from liftlayers.functional.grid import grid_limit
from liftlayers.memory._leaves import Leaf


class Reading(NamedTuple):
    """The largest value of one band, and the limit below which it is exact."""

    largest: Tensor
    limit: float
    who: str
    where: str


class Watch:
    """Watches the steps of one pass.

    A sum is exact if it is within the limit of its grid. A Haar band is half a sum of four numbers, and so is each of
    those again: two more digits are needed than on the shallower side; the deeper side is then within its own limit.
    """

    def __init__(
        self, leaves: Sequence[Leaf], links: Sequence[Link], options: Sequence[Any], *, bits: int, inverted: bool
    ) -> None:
        self.steps = list(zip(leaves, links, options, strict=True))
        self.bits, self.inverted = bits, inverted
        self.readings: list[Reading] = []

    def observe(self, number: int, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Reads the bands that a step has computed, or those that a transform to a deeper level was given."""
        (leaf, link, options), count = self.steps[number], len(self.steps)
        at = count - 1 - number if self.inverted else number
        who = f"exact: step {at} of {count} ({type(link.step).__name__})"
        if not same_map(leaf.step, link.kind, "inverse" if leaf.inverted else "forward", inputs, options):
            raise TypeError(
                f"{who} changes the map of {link.kind.__name__}, whose arithmetic exact knows: put all arithmetic into "
                "the network of an AdditiveCoupling"
            )
        if not (link.adds or link.transform):
            return
        bits, digits = self.bits + link.depth, 2 if link.transform else 0
        deeper = (-link.transform if self.inverted else link.transform) > 0
        computed = inputs if deeper else [y for y in outputs if all(y is not x for x in inputs)]
        for band in (band.detach() for band in computed if band.numel()):
            limit = grid_limit(band.dtype, bits + digits)
            where = f"on a grid of 2^-{bits} in {str(band.dtype).removeprefix('torch.')}"
            if torch.compiler.is_compiling():  # a graph cannot wait for numbers: it checks them where they arise
                message = f"{who} needs values below {limit:g}, {where}"
                torch._assert_async((band.abs() < limit).all(), message)  # pyright: ignore[reportPrivateImportUsage]
                continue
            self.readings.append(Reading(torch.stack(band.aminmax()).abs().max(), limit, who, where))

    def require_within(self) -> None:
        """Raises `ValueError` if a value was too large, with one synchronisation for all."""
        if not all(has_values(reading.largest) for reading in self.readings) or not self.readings:
            return
        largest = torch.stack([reading.largest.double() for reading in self.readings]).cpu()
        values = [value.item() for value in largest]  # tolist() fails under torch.func in torch 2.6
        excess = [value / reading.limit for reading, value in zip(self.readings, values, strict=True)]
        for reading, value in zip(self.readings, values, strict=True):
            if not value < reading.limit:  # so that nan raises too
                finite = all(map(math.isfinite, excess))
                fewer = self.bits - math.floor(math.log2(max(excess))) - 1 if finite else 0
                remedy = f"bits={fewer} or smaller values" if fewer > 0 else "smaller values"
                raise ValueError(
                    f"{reading.who} has a value of {value:.6g}, but {reading.where} it is exact only "
                    f"below {reading.limit:g}; use {remedy}"
                )
