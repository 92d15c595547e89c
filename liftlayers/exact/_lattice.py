"""What becomes of a grid on its way through a chain: the plan by which `exact` builds its steps.

Numbers on the grid :math:`2^{-k}` go through a Haar transform onto a lattice :math:`\\Lambda` between two grids,

.. math:: 2^{-(k - 1)} \\mathbb Z^n \\subset \\Lambda \\subset 2^{-(k + 1)} \\mathbb Z^n,

for a Haar band is half a sum of four samples, and a sample half a sum of four bands. After `depth` transforms both
exponents are `depth` away from :math:`k`. The finer grid says how large numbers may grow before digits are lost; what
a coupling adds is rounded to the coarser one, which keeps its sum on the lattice. So a transform and its inverse
cancel, with any couplings in between, and either end of a chain has a grid of its own that no pass leaves.
"""

__all__ = ["Link", "plan"]

import copy
from typing import NamedTuple

from torch import nn

from liftlayers.chains.parallel import Parallel
from liftlayers.couplings.additive import AdditiveStep
from liftlayers.invertible import Inverse, Invertible
from liftlayers.wavelets.named import Haar


class Cell:
    """The lattice of one band: how deep it lies, and the transform that it came out of."""

    def __init__(self, depth: int = 0, *, part_of: "Cell | None" = None, made_of: "tuple[Cell, ...]" = ()) -> None:
        self.depth = depth
        self.part_of = part_of
        self.made_of = made_of


class Cells(NamedTuple):
    """The bands at one place of a chain; after a step that moves numbers about, as many as the next step takes."""

    known: tuple[Cell, ...] = ()
    depth: int = 0

    def take(self, count: int) -> tuple[Cell, ...]:
        return self.known if len(self.known) == count else tuple(Cell(self.deepest()) for _ in range(count))

    def deepest(self) -> int:
        return max((cell.depth for cell in self.known), default=self.depth)


class Place(NamedTuple):
    """Which bands a step takes: all but so many at the beginning and at the end."""

    before: int = 0
    after: int = 0

    def within(self, before: int, after: int) -> "Place":
        return Place(self.before + before, self.after + after)


class Link(NamedTuple):
    """One step of a flat chain."""

    step: Invertible
    place: Place
    depth: int
    """Of the band that a coupling adds to; of a transform's shallower side."""
    transform: int = 0
    """+1 for a transform that goes one deeper, -1 for one that comes back."""

    @property
    def inner(self) -> Invertible:
        return _inner(self.step)

    @property
    def network(self) -> nn.Module | None:
        return self.inner.network if isinstance(self.inner, AdditiveStep) else None

    def with_network(self, network: nn.Module) -> Invertible:
        """A step around another network; the planned one is left as it is."""
        inner = self.inner
        again = copy.copy(inner)
        again._modules = dict(inner._modules)
        again.network = network
        return Inverse(again) if isinstance(self.step, Inverse) else again


def plan(chain: Invertible) -> tuple[list[Link], int]:
    """The flat chain with the depth of each step, and the depth of its outputs.

    Raises:
        TypeError: If a step is of a kind that has no exact form; its number and type are named.
        ValueError: If a step in `Parallel` returns several bands.
    """
    links: list[Link] = []
    cells = _visit(chain, Cells(), Place(), links)
    return links, cells.deepest()


def _visit(step: Invertible, cells: Cells, place: Place, links: list[Link]) -> Cells:
    inner = _inner(step)
    if (finer := step.steps()) != (step,):
        for each in finer:
            cells = _visit(each, cells, place, links)
        return cells
    if inner._redefined:
        raise TypeError(
            f"exact knows the arithmetic of the library's own layers, but {type(inner).__name__}, step {len(links)}, "
            "defines forward or inverse anew: put all arithmetic into the network of an AdditiveCoupling"
        )
    if getattr(inner, "exact_by_levels", False):  # a pyramid, which is on a higher floor
        return _visit_levels(list(inner.levels), isinstance(step, Inverse), cells, place, links)  # type: ignore[arg-type]
    if isinstance(inner, Parallel):
        branches = list(inner._modules.values())  # `children` would pass over one that stands there twice
        return _visit_parallel(branches, isinstance(step, Inverse), cells, place, links)  # type: ignore[arg-type]
    if isinstance(inner, AdditiveStep):
        cells = Cells(cells.take(2))
        links.append(Link(step, place, cells.deepest()))
        return cells
    if isinstance(inner, Haar):
        return _visit_transform(step, cells, place, links)
    if getattr(inner, "exact_on_grid", False):
        links.append(Link(step, place, cells.deepest()))
        return Cells(depth=cells.deepest())
    remedy = f"; {inner.exact_remedy}" if hasattr(inner, "exact_remedy") else ""
    raise TypeError(
        "exact needs additive couplings, Haar transforms and steps that only move numbers about, with no arithmetic "
        f"(exact_on_grid = True says so), got {type(inner).__name__} as step {len(links)}{remedy}"
    )


def _visit_transform(step: Invertible, cells: Cells, place: Place, links: list[Link]) -> Cells:
    """A Haar transform or its inverse, which cancels the other if its bands are where that one left them."""
    if isinstance(step, Inverse):
        approx, detail = cells.take(2)
        image = approx.part_of
        if image is not None and image.made_of == (approx, detail):
            links.append(Link(step, place, image.depth, -1))
        else:
            deepest = max(approx.depth, detail.depth)
            image = Cell(deepest + 1, made_of=(approx, detail))
            links.append(Link(step, place, deepest, +1))
        return Cells((image,))
    (image,) = cells.take(1)
    image.made_of = image.made_of or tuple(Cell(image.depth + 1, part_of=image) for _ in range(2))
    deepest = max(half.depth for half in image.made_of)
    links.append(Link(step, place, min(image.depth, deepest), 1 if deepest > image.depth else -1))
    return Cells(image.made_of)


def _visit_levels(levels: list[Invertible], inverted: bool, cells: Cells, place: Place, links: list[Link]) -> Cells:
    if not inverted:
        image, details = cells.take(1), ()
        for position, level in enumerate(levels):
            approx, detail = _visit(level, Cells(image), place.within(0, position), links).take(2)
            image, details = (approx,), (detail, *details)
        return Cells((*image, *details))
    approx, *details = cells.take(len(levels) + 1)
    for position, (level, detail) in enumerate(zip(reversed(levels), details, strict=True), start=1):
        inner = place.within(0, len(levels) - position)
        (approx,) = _visit(Inverse(level), Cells((approx, detail)), inner, links).take(1)
    return Cells((approx,))


def _visit_parallel(steps: list[Invertible], inverted: bool, cells: Cells, place: Place, links: list[Link]) -> Cells:
    outputs: list[Cell] = []
    for position, (step, cell) in enumerate(zip(steps, cells.take(len(steps)), strict=True)):
        inner = place.within(position, len(steps) - 1 - position)
        returned = _visit(Inverse(step) if inverted else step, Cells((cell,)), inner, links)
        if len(returned.known) > 1:
            raise ValueError(
                f"Parallel needs steps that return one band, got {len(returned.known)} "
                f"from step {position} ({type(step).__name__})"
            )
        outputs += returned.take(1)
    return Cells(tuple(outputs))


def _inner(step: Invertible) -> Invertible:
    return step.module if isinstance(step, Inverse) else step
