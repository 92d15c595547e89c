"""The plan of an exact chain: how the grid changes from step to step.

Numbers on the grid :math:`2^{-k}` go through a Haar transform onto a lattice :math:`\\Lambda` between two grids,

.. math:: 2^{-(k - 1)} \\mathbb Z^n \\subset \\Lambda \\subset 2^{-(k + 1)} \\mathbb Z^n,

because a sample of a Haar band is half a sum of four samples of the image, and a sample of the image is half a sum of
four samples of bands. After :math:`l` transforms, the depth, the two exponents are :math:`k - l` and :math:`k + l`.

- The finer grid says how large numbers may become before digits are lost.
- What a coupling adds is rounded to the coarser grid, so that the sum stays on the lattice.

So a transform and its inverse cancel, with any couplings between them, and the image is on its first grid again.
"""

from typing import Any, NamedTuple

from torch import nn

from liftlayers._maps import describes_map, shallow_copy, stating_class
from liftlayers.couplings.additive import AdditiveCoupling
from liftlayers.couplings.lifting import Predict, Update
from liftlayers.exact.grid import OnGrid
from liftlayers.invertible import Invertible, is_made_of_steps, parts_of, unwrapped
from liftlayers.memory._inventory import HOOKS, has_hooks
from liftlayers.memory._leaves import Position
from liftlayers.memory.container import Container
from liftlayers.mixing.rearrange import Rearrangement
from liftlayers.nn._networks import is_integer, require_network
from liftlayers.wavelets._learned_line import ScalePair
from liftlayers.wavelets.lossless import LosslessWavelet
from liftlayers.wavelets.named import Haar

ADDITIVE = (AdditiveCoupling, Predict, Update)
ON_GRID = OnGrid(nn.Identity())  # is copied in every pass: to construct one takes five times as long


class Link(NamedTuple):
    """What the plan says of one step.

    `step` is the step itself, or the same coupling around a network on the grid. `kind` is the class whose arithmetic
    is known; a subclass has to compute the same. `depth` is that of the band that a coupling adds to, and that of the
    shallower side of a transform. `transform` is +1 for a transform that goes one deeper, -1 for one that comes back,
    and 0 for other steps.
    """

    step: Invertible
    kind: type[Invertible]
    depth: int
    transform: int = 0

    @property
    def adds(self) -> bool:
        """Whether the step is an additive coupling."""
        return self.kind in ADDITIVE

    @property
    def computes(self) -> bool:
        """Whether the step may return larger numbers than it takes, and not only moves them to other places."""
        return not issubclass(self.kind, Rearrangement)

    def on_grid(self, bits: int, batch_invariant: bool) -> "Link":
        """Returns the link with the network of a coupling on the grid, and with a step without hooks.

        Hooks might change what is on the grid. All else is shared with the step.
        """
        if not (self.adds or has_hooks(self.step)):
            return self
        changed: dict[str, Any] = {name: {} for name in HOOKS}
        if self.adds:
            network = self.step._modules["network"]
            require_network("exact", network)  # type: ignore[arg-type]
            bits -= self.depth
            around = shallow_copy(ON_GRID, bits=bits, batch_invariant=batch_invariant, _modules={"network": network})
            changed["_modules"] = self.step._modules | {"network": around}
        return self._replace(step=shallow_copy(self.step, **changed))


class Band:
    """The lattice of one band: how deep it is, the band that it is part of, and the two bands that it was split into.

    From the last two one sees whether a transform undoes another one.
    """

    def __init__(self, depth: int = 0, *, part_of: "Band | None" = None, halves: "tuple[Band, ...]" = ()) -> None:
        self.depth, self.part_of, self.halves = depth, part_of, halves


class Bands(NamedTuple):
    """The bands between two steps. A step that moves numbers to other bands leaves only their depth known."""

    known: tuple[Band, ...] = ()
    depth: int = 0

    def take(self, count: int) -> tuple[Band, ...]:
        return self.known if len(self.known) == count else tuple(Band(self.deepest()) for _ in range(count))

    def deepest(self) -> int:
        return max((band.depth for band in self.known), default=self.depth)


def plan(chain: Invertible, bits: int, *, batch_invariant: bool, anywhere: bool) -> tuple[list[Link], int]:
    """Returns a link for each step of a chain, as fine as `leaves_of` takes it apart, and the depth of its outputs.

    Raises:
        TypeError: If the chain is not `Invertible`, a step is of a kind that has no exact form, or `anywhere` is asked
            for and the network of a coupling is no `IntegerNetwork`.
        ValueError: If a step in `Parallel` returns several bands, or transforms are nested deeper than there are bits.
    """
    if not isinstance(chain, Invertible):
        raise TypeError(f"exact needs an Invertible module, such as a Sequential, got {type(chain).__name__}")
    links: list[Link] = []
    if not parts_of(chain):  # an empty chain
        return links, 0
    depth = _visit(chain, False, Bands(), links).deepest()
    nested = max([depth, *(link.depth + abs(link.transform) for link in links)])
    if bits <= nested:
        raise ValueError(f"exact needs more bits than there are nested Haar transforms, got {bits} for {nested}")
    for number, link in enumerate(links):
        if anywhere and link.adds and not is_integer(link.step.network):  # type: ignore[arg-type]
            found = f"{type(link.step.network).__name__} in {type(link.step).__name__}, step {number}"
            raise TypeError(f"exact with anywhere=True needs networks that are an IntegerNetwork, got {found}")
    return [link.on_grid(bits, batch_invariant) for link in links], depth


def _visit(step: Invertible, inverted: bool, bands: Bands, links: list[Link]) -> Bands:
    step, inverted = unwrapped(step, inverted)
    if not is_made_of_steps(step):
        return _visit_leaf(step, inverted, bands, links)
    parts = list(enumerate(parts_of(step)))
    if not parts:
        links.append(Link(step, type(step), bands.deepest()))
    for number, part in reversed(parts) if inverted else parts:
        if not isinstance(step, Container) and (part.before or part.after):
            who, inner = type(step).__name__, type(part.step).__name__
            raise TypeError(
                f"exact needs steps that take all bands in a {who}, got {inner}, which takes some of them: use "
                "Parallel or LiftingPyramid"
            )
        if not isinstance(step, Container) or (returned := step.num_returned(inverted=inverted)) is None:
            bands = _visit(part.step, inverted, bands, links)
            continue
        taken = step.num_returned(inverted=not inverted) or 0  # what the other direction returns
        known = bands.take(part.before + taken + part.after)
        last = len(known) - part.after
        inner = _visit(part.step, inverted, Bands(known[part.before : last]), links)
        if inner.known:
            Position(step, number, part.step, inverted, 0, 0).check_outputs(inner.known)
        bands = Bands((*known[: part.before], *inner.take(returned), *known[last:]))
    return bands


def _visit_leaf(step: Invertible, inverted: bool, bands: Bands, links: list[Link]) -> Bands:
    if type(step).steps is not Invertible.steps and not describes_map(step, "steps"):
        raise TypeError(
            f"exact takes a container apart into its steps, but {type(step).__name__}, step {len(links)}, redefines "
            "forward or inverse, which would not be called: put arithmetic into the network of an AdditiveCoupling, "
            "and other work into a hook of a network"
        )
    for kind in ADDITIVE:
        if isinstance(step, kind):
            bands = Bands(bands.take(2))
            links.append(Link(step, kind, bands.deepest()))
            return bands
    if isinstance(step, Haar) and step.spatial_dims == 2:  # with one or three axes, the scale is no power of two
        return _visit_inverse_haar(step, bands, links) if inverted else _visit_haar(step, bands, links)
    if step.exact_on_grid:
        kind = stating_class(type(step), lambda kind: "exact_on_grid" in vars(kind))
        links.append(Link(step, kind, bands.deepest()))
        return Bands(depth=bands.deepest())
    remedy = "; a learned wavelet has none with scale=None" if isinstance(step, ScalePair) else ""
    if isinstance(step, LosslessWavelet):
        remedy = "; with networks of integers, a chain of it is exact on integers as it is"
    name = repr(step) if isinstance(step, Haar) else type(step).__name__
    raise TypeError(
        "exact needs additive couplings, Haar transforms of images and steps that only move numbers to other places, "
        f"without arithmetic (exact_on_grid = True says so), got {name} as step {len(links)}{remedy}"
    )


def _visit_haar(step: Haar, bands: Bands, links: list[Link]) -> Bands:
    """A Haar transform comes back one level if its image was made of two bands, and goes one deeper otherwise."""
    (image,) = bands.take(1)
    image.halves = image.halves or tuple(Band(image.depth + 1, part_of=image) for _ in range(2))
    deepest = max(half.depth for half in image.halves)
    links.append(Link(step, Haar, min(image.depth, deepest), 1 if deepest > image.depth else -1))
    return Bands(image.halves)


def _visit_inverse_haar(step: Haar, bands: Bands, links: list[Link]) -> Bands:
    """An inverse transform comes back one level if its bands are the halves of one image, and goes deeper otherwise."""
    approx, detail = bands.take(2)
    image = approx.part_of
    if image is not None and image.halves == (approx, detail):
        links.append(Link(step, Haar, image.depth, -1))
        return Bands((image,))
    deepest = max(approx.depth, detail.depth)
    links.append(Link(step, Haar, deepest, +1))
    return Bands((Band(deepest + 1, halves=(approx, detail)),))
