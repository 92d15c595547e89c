"""Checks of every pass of an exact chain: the range of its values, and the arithmetic of subclasses."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from liftlayers._bands import has_values
from liftlayers._maps import ARITHMETIC, same_map
from liftlayers.exact._plan import Link
from liftlayers.functional.grid import grid_limit
from liftlayers.memory._leaves import Bands, Leaf


class Watch:
    """Watches the steps of one pass.

    A sum is exact if it is within the limit of its grid. A Haar band is half a sum of four numbers, and so is each of
    those again: two more digits are needed than on the shallower side; the deeper side is then within its own limit.
    """

    def __init__(self, links: Sequence[Link], condition: Tensor | None, *, bits: int, inverted: bool) -> None:
        self.links, self.condition, self.bits, self.inverted = links, condition, bits, inverted
        self.readings: list[tuple[int, torch.dtype]] = []  # the number of a step, and the dtype of one of its bands
        self.extremes: list[Tensor] = []  # the smallest and the largest value of each of these bands

    def observe(self, leaf: Leaf, inputs: Bands, outputs: Bands) -> None:
        """Reads the bands that a step has computed, or those that a transform to a deeper level was given."""
        number, link = leaf.number, self.links[leaf.number]
        direction = "inverse" if leaf.inverted else "forward"
        options = leaf.options(self.condition)
        if not same_map(leaf.step, link.kind, direction, inputs, options, methods=ARITHMETIC):
            raise TypeError(
                f"{self._name(number)} changes the map of {link.kind.__name__}, whose arithmetic exact knows: put all "
                "arithmetic into the network of an AdditiveCoupling"
            )
        if not link.computes:
            return
        deeper = (-link.transform if self.inverted else link.transform) > 0
        computed = inputs if deeper else [y for y in outputs if all(y is not x for x in inputs)]
        for band in (band.detach() for band in computed if band.numel()):
            if not torch.compiler.is_compiling():
                self.readings.append((number, band.dtype))
                self.extremes += band.aminmax()
                continue
            limit, where = self._limit(number, band.dtype)  # a graph cannot wait for numbers: it checks them itself
            message = f"{self._name(number)} needs values below {limit:g}, {where}"
            torch._assert_async((band.abs() < limit).all(), message)  # pyright: ignore[reportPrivateImportUsage]

    def require_within(self) -> None:
        """Raises `ValueError` if a value was too large, with one synchronisation for all."""
        if not self.readings:
            return
        extremes = torch.stack(self.extremes).view(-1, 2)
        if not has_values(extremes):
            return
        values = [x.item() for x in extremes.abs().amax(1).cpu()]  # tolist() fails under torch.func in torch 2.6
        limits = [self._limit(*reading) for reading in self.readings]
        for (number, _), value, (limit, where) in zip(self.readings, values, limits, strict=True):
            if not value < limit:  # so that nan raises too
                excess = [value / limit for value, (limit, _) in zip(values, limits, strict=True)]
                finite = all(map(math.isfinite, excess))
                fewer = self.bits - math.floor(math.log2(max(excess))) - 1 if finite else 0
                remedy = f"bits={fewer} or smaller values" if fewer > 0 else "smaller values"
                raise ValueError(
                    f"{self._name(number)} has a value of {value:.6g}, but {where} it is exact only below "
                    f"{limit:g}; use {remedy}"
                )

    def _limit(self, number: int, dtype: torch.dtype) -> tuple[float, str]:
        """Returns the bound of the values of a step, and the grid that they are on."""
        link = self.links[number]
        bits = self.bits + link.depth
        where = f"on a grid of 2^-{bits} in {str(dtype).removeprefix('torch.')}"
        return grid_limit(dtype, bits + (2 if link.transform else 0)), where

    def _name(self, number: int) -> str:
        count = len(self.links)
        place = count - 1 - number if self.inverted else number
        return f"exact: step {place} of {count} ({type(self.links[number].step).__name__})"
