"""The steps that a module takes in one direction, as a flat list, with the bands that each step takes."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from liftlayers._maps import num_positional
from liftlayers.invertible import Inverse, Invertible, parts_of, unwrapped

if TYPE_CHECKING:
    from liftlayers.memory.container import Container

Bands = tuple[Tensor, ...]
T = TypeVar("T")


class Position(NamedTuple):
    """Where a step stands in a container, in one direction, and which bands reach it there."""

    container: "Container"
    number: int
    step: Invertible
    inverted: bool
    before: int
    after: int
    opened: bool = False
    """Whether the steps inside the step are evaluated in its place."""

    def check_inputs(self, bands: tuple[Tensor, ...]) -> None:
        """Raises `ValueError` unless the step takes as many bands as reach it."""
        if torch.compiler.is_compiling():  # a compiler cannot read signatures; Python refuses a wrong number there
            return
        least, most = _num_bands(self.step, self.inverted)
        count = len(bands) - self.before - self.after
        if not least <= count <= most:
            neighbour = self.number + 1 if self.inverted else self.number - 1
            origin = "the caller"
            if 0 <= neighbour < len(parts := parts_of(self.container)):
                origin = f"{self.container.part} {neighbour} ({_name(parts[neighbour].step)})"
            verb = "takes back" if self.inverted else "takes"
            who = f"{_name(self.container)} {self.container.part} {self.number} ({_name(self.step)})"
            packed = any(isinstance(band, tuple) for band in bands)
            remedy = "; pass bands one by one, as in f(*bands)" if packed else ""
            raise ValueError(f"{who} {verb} {least} band(s), got {count} from {origin}{remedy}")
        if self.opened:  # then it does not check them itself
            inner, inverted = unwrapped(self.step, self.inverted)
            inner.require_bands(bands[self.before : len(bands) - self.after], inverted=inverted)

    def check_outputs(self, bands: Sized) -> None:
        """Raises `ValueError` unless the step returned as many bands as its container needs."""
        needed = self.container.num_returned(inverted=self.inverted)
        count = len(bands) - self.before - self.after
        if needed is not None and count != needed:
            who, part = _name(self.container), self.container.part
            verb = "whose inverse returns" if self.inverted else "that return"
            number = "one band" if needed == 1 else "two bands"
            raise ValueError(
                f"{who} needs {part}s {verb} {number}, got {count} from {part} {self.number} ({_name(self.step)})"
            )


@dataclass
class Leaf:
    """A step that is evaluated as a whole, in one direction, on all bands but some of the first and the last.

    `starts` and `ends` are the positions in containers that begin and end with this step; `positions` are all those
    around it, from the innermost to the outermost. `number` counts the steps of the list, and `conditional` says
    whether the step is given the condition. `observe` is called after the first evaluation, with the step and the bands
    that it took and returned.
    """

    step: Invertible
    inverted: bool
    before: int
    after: int
    starts: list[Position] = field(default_factory=list)
    ends: list[Position] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    number: int = 0
    conditional: bool = False
    observe: "Callable[[Leaf, Bands, Bands], None] | None" = None

    @property
    def function(self) -> Callable[..., Any]:
        """The direction of the step that is evaluated."""
        return self.step.inverse if self.inverted else self.step

    def options(self, condition: Any) -> dict[str, Any]:
        """Returns the keywords of the step."""
        return {"condition": condition} if self.conditional else {}

    def taken(self, bands: Sequence[T]) -> tuple[T, ...]:
        """Returns those of all bands that the step takes, or has returned."""
        return tuple(bands[self.before : len(bands) - self.after])

    def replaced(self, bands: Sequence[T], others: Sequence[T]) -> tuple[T, ...]:
        """Returns all bands with others in place of those that the step takes, or has returned."""
        return (*bands[: self.before], *others, *bands[len(bands) - self.after :])

    def call(self, function: Callable[..., Any], bands: Bands, condition: Any) -> Any:
        """Calls a function with the bands that the step takes; an error gets a note that says where the step stands."""
        for position in self.starts:
            position.check_inputs(bands)
        options = self.options(condition)
        if torch.compiler.is_compiling():
            return function(*self.taken(bands), **options)
        try:
            return function(*self.taken(bands), **options)
        except Exception as error:
            for position in self.positions:
                error.add_note(f"in {position.container.part} {position.number} ({_name(position.step)})")
            raise

    def put(self, bands: Bands, outputs: Bands) -> Bands:
        """Puts the step's outputs in place of its inputs, after its first evaluation, and checks their number."""
        if self.observe is not None:
            self.observe(self, self.taken(bands), outputs)
        bands = self.replaced(bands, outputs)
        for position in self.ends:
            position.check_outputs(bands)
        return bands


def _name(module: Invertible) -> str:
    return type(module).__name__


def _num_bands(step: Invertible, inverted: bool) -> tuple[int, float]:
    """Returns the least and the greatest number of bands that a direction of a step takes."""
    if isinstance(step, Inverse):
        return _num_bands(step.module, not inverted)
    return num_positional(step.inverse if inverted else step.forward)
