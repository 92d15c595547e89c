"""Steps whose error and growth are known, and a small block."""

from torch import Tensor

from liftlayers import (
    ConvPredictor,
    Invertible,
    LiftingBlock,
)
from liftlayers.testing import randomise_


class Scale(Invertible):
    """Multiplies one band, and divides it, by two factors that need not agree."""

    def __init__(self, factor: float, back: float | None = None) -> None:
        super().__init__()
        self.factor, self.back = factor, factor if back is None else back

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def inverse(self, x: Tensor) -> Tensor:
        return x / self.back


class Shift(Invertible):
    """Adds a number to one band; takes back another one."""

    def __init__(self, there: float, back: float | None = None) -> None:
        super().__init__()
        self.there, self.back = there, there if back is None else back

    def forward(self, x: Tensor) -> Tensor:
        return x + self.there

    def inverse(self, x: Tensor) -> Tensor:
        return x - self.back


def block() -> LiftingBlock:
    return randomise_(LiftingBlock(ConvPredictor(3, 9, hidden_channels=4), ConvPredictor(9, 3, hidden_channels=4)))
