"""assert_inverts: what it catches, and how it reports it."""

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    BlockScrambling,
    Inverse,
    Invertible,
    Sequential,
)
from liftlayers.testing import assert_inverts
from tests.strategies import tensor

# assert_inverts; tests/test_broken_chains.py has broken chains


class Off(Invertible):
    """An inverse that is wrong by a given amount."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> Tensor:
        return x + self.by


def test_error_and_bound_are_reported() -> None:
    numbers = r"off by 0\.000977, 1\.64e\+04 units of eps A at growth 1, where 32 are allowed"
    message = rf"inverse\(forward\(x\)\) of Off is {numbers}"
    with pytest.raises(AssertionError, match=message):
        assert_inverts(Off(2.0**-10), torch.ones(2))


def test_the_bound_can_be_set() -> None:
    assert_inverts(Off(2.0**-10), torch.ones(2), bound=2.0**14)
    with pytest.raises(AssertionError, match="2 units of eps A at growth 1, where 1 are allowed"):
        assert_inverts(Off(2.0**-23), torch.ones(2), bound=1.0)


def test_the_bound_grows_with_the_bands_beyond_four() -> None:
    class Rounds(Invertible):
        """Exact on integers, off by 300 units of roundoff on numbers that are not."""

        def __init__(self, growth: float) -> None:
            super().__init__()
            self.growth = growth

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.growth).round()

        def inverse(self, x: Tensor) -> Tensor:
            return x / self.growth

    x = torch.tensor([1 + 300 * 2.0**-24])
    with pytest.raises(AssertionError, match="75 units of eps A at growth 4, where 32 are allowed"):
        assert_inverts(Rounds(4.0), x)
    assert_inverts(Rounds(8.0), x)  # 37.5 units, where 64 are allowed


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("back", [False, True], ids=["forward", "inverse"])
def test_nan_is_caught_and_not_mistaken_for_a_written_input(position: int, back: bool) -> None:
    class Spoils(Invertible):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return (a * torch.nan, b) if position == 0 else (a, b * torch.nan)

        def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a, b

    module = Inverse(Spoils()) if back else Spoils()
    with pytest.raises(AssertionError, match="is off by nan"):
        assert_inverts(module, torch.ones(2), torch.ones(2))


class Scribbles(Invertible):
    """Writes into its input in one direction."""

    def __init__(self, *, forward: bool) -> None:
        super().__init__()
        self.on_forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(1) if self.on_forward else x + 1

    def inverse(self, x: Tensor) -> Tensor:
        return x - 1 if self.on_forward else x.sub_(1)


def test_writing_into_the_input_is_caught_in_both_directions() -> None:
    with pytest.raises(AssertionError, match=r"^Scribbles writes into its input 0"):
        assert_inverts(Scribbles(forward=True), torch.ones(2))
    with pytest.raises(AssertionError, match=r"^inverse of Scribbles writes into its input 0"):
        assert_inverts(Scribbles(forward=False), torch.ones(2))


def test_cancelling_intermediate_bands_do_not_fail_a_right_chain() -> None:
    """Intermediate bands of size 1000 allow for errors of their size, in both directions."""
    thousand, back = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(thousand.weight, 1000.1)
    nn.init.constant_(back.weight, -1000.1)
    chain = Sequential(AdditiveCoupling(thousand), AdditiveCoupling(back))
    pair = tensor(0, 1, 1, 8, 8, positive=True), tensor(1, 1, 1, 8, 8, positive=True)
    assert_inverts(chain, *pair)
    assert_inverts(Inverse(chain), *pair)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_integers_are_compared(dtype: torch.dtype) -> None:
    """PyTorch has no order for the wider ones."""

    class Low(Inverse):
        def inverse(self, *bands: Tensor, **options: Tensor) -> Tensor:
            return (super().inverse(*bands, **options).long() // 2 * 2).to(dtype)  # type: ignore[union-attr]

    scrambling, x = BlockScrambling(bytes(32), block=2), torch.arange(16).view(1, 1, 4, 4).to(dtype)
    assert_inverts(scrambling, x)
    with pytest.raises(AssertionError, match=r"of Low is off by 1,"):
        assert_inverts(Low(scrambling), x)  # type: ignore[arg-type]


def test_a_condition_has_to_be_a_tensor() -> None:
    with pytest.raises(TypeError, match="assert_inverts needs a tensor as condition, got float"):
        assert_inverts(Sequential(), torch.ones(1), condition=0.5)  # type: ignore[arg-type]
