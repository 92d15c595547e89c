"""Steps that tell how far their numbers go, so that a chain on a grid can refuse those that lost digits."""

__all__ = ["Watched", "checked_ranges"]

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from liftlayers._bands import Bands, as_tuple, bare
from liftlayers.exact._lattice import Link
from liftlayers.functional.grid import grid_limit
from liftlayers.invertible import Invertible, Rebuilt, VolumePreserving


class Reading(NamedTuple):
    largest: Tensor
    limit: float
    who: str
    where: str


READINGS: ContextVar[list[Reading] | None] = ContextVar("READINGS", default=None)


@contextmanager
def checked_ranges(bits: int) -> Iterator[None]:
    """Raises `ValueError` at the end if a watched step in between went too far, with one synchronisation.

    In a compiled or exported graph, which cannot wait for numbers, the steps themselves raise `RuntimeError`.
    """
    if torch.compiler.is_compiling():
        yield
        return
    readings: list[Reading] = []
    token = READINGS.set(readings)
    try:
        yield
    finally:
        READINGS.reset(token)
    if not readings:
        return
    values = torch.stack([reading.largest.double() for reading in readings]).tolist()
    excess = [value / reading.limit for reading, value in zip(readings, values, strict=True)]
    for reading, value in zip(readings, values, strict=True):
        if not value < reading.limit:  # so that nan raises too
            raise ValueError(
                f"{reading.who} has a value of {value:.6g}, but {reading.where} it is exact only "
                f"below {reading.limit:g}; use {_remedy(bits, excess)}"
            )


class Watched(VolumePreserving):
    """A planned step, on the bands that it takes, that reads the largest value where its limit applies.

    A sum is exact if it is within the limit of its grid. A Haar band is half a sum of four numbers, and so is each of
    those again: two digits are needed beyond those of the shallower side; the deeper side is then within its own limit.
    """

    def __init__(self, step: Invertible, link: Link, *, bits: int, number: int, total: int) -> None:
        super().__init__()
        self.step = step
        self.place = link.place
        self.adds = link.network is not None
        self.transform = link.transform
        self.bits = bits + link.depth
        self.who = f"exact: step {number} of {total} ({type(link.inner).__name__})"

    @property
    def conditional(self) -> bool:
        return self.step.conditional

    def forward(self, *bands: Tensor, **options: Tensor) -> Bands:
        before, taken, after = self._apart(bands)
        outputs = as_tuple(self.step(*taken, **options))
        self._read(taken, outputs, deeper=self.transform)
        return bare((*before, *outputs, *after))

    def inverse(self, *bands: Tensor, **options: Tensor) -> Bands:
        before, taken, after = self._apart(bands)
        outputs = as_tuple(self.step.inverse(*taken, **options))
        self._read(taken, outputs, deeper=-self.transform)
        return bare((*before, *outputs, *after))

    def rebuild(self, *outputs: Tensor, **options: Tensor) -> Rebuilt:
        return self._rebuild(self.step.rebuild, outputs, options)

    def rebuild_inverse(self, *outputs: Tensor, **options: Tensor) -> Rebuilt:
        return self._rebuild(self.step.rebuild_inverse, outputs, options)

    def _rebuild(
        self, rebuild: Callable[..., Rebuilt], bands: tuple[Tensor, ...], options: dict[str, Tensor]
    ) -> Rebuilt:
        before, taken, after = self._apart(bands)
        inputs, outputs = rebuild(*taken, **options)
        before, after = (tuple(x.detach().requires_grad_(x.requires_grad) for x in rest) for rest in (before, after))
        return (*before, *inputs, *after), (*before, *outputs, *after)

    def _apart(self, bands: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        first, last = self.place.before, len(bands) - self.place.after
        return bands[:first], bands[first:last], bands[last:]

    def _read(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], *, deeper: int) -> None:
        readings = [] if torch.compiler.is_compiling() else READINGS.get()
        if readings is None:  # a rebuilt pass has been read before
            return
        digits = 2 if self.transform else 0
        new = inputs if deeper > 0 else [band for band in outputs if all(band is not other for other in inputs)]
        for band in new:
            if band.numel() and (self.adds or self.transform):
                limit = grid_limit(band.dtype, self.bits + digits)
                where = f"on a grid of 2^-{self.bits} in {str(band.dtype).removeprefix('torch.')}"
                if torch.compiler.is_compiling():
                    within = (band.detach().abs() < limit).all()
                    message = f"{self.who} needs values below {limit:g}, {where}"
                    torch._assert_async(within, message)  # pyright: ignore[reportPrivateImportUsage]
                    continue
                readings.append(Reading(torch.stack(band.detach().aminmax()).abs().max(), limit, self.who, where))


def _remedy(bits: int, excess: list[float]) -> str:
    if not all(map(math.isfinite, excess)):
        return "smaller values"
    fewer = bits - math.floor(math.log2(max(excess))) - 1
    return f"bits={fewer} or smaller values" if fewer > 0 else "smaller values"
