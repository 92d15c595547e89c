"""The laws catch chains that do not invert, though each looks right at its zero start."""

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, ConvPredictor, Invertible, LiftingBlock, Sequential
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, randomise_
from tests.tensors import tensor

float_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


class UndoesInTheWrongOrder(LiftingBlock):
    """Undoes the prediction first, then the update."""

    def inverse(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        approx, detail = self.predict.inverse(approx, detail)
        return self.update.inverse(approx, detail)


class UpdatesFromTheOldDetail(LiftingBlock):
    """The misprint of the paper: the update sees the detail from before the prediction."""

    def forward(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        _, residual = self.predict(approx, detail)
        updated, _ = self.update(approx, detail)
        return updated, residual


class FeedsEveryStepTheOriginal(Sequential):
    """The bug of the released code: every block is fed the original bands, so that only the last one counts."""

    def forward(self, *bands: Tensor, **_: object) -> tuple[Tensor, ...]:
        outputs = bands
        for step in self:
            outputs = as_tuple(step(*bands))
        return outputs


class WritesIntoItsInput(LiftingBlock):
    """Its inverse saves an allocation and changes the caller's tensor."""

    def inverse(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        approx, detail = self.update.inverse(approx, detail)
        return approx, detail.add_(self.predict.network(approx))


class WritesIntoItsInputGoingForward(LiftingBlock):
    """The same in the forward direction."""

    def forward(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        return self.update(approx, detail.sub_(self.predict.network(approx)))


def broken(kind: type[Invertible]) -> Sequential:
    def block(block_kind: type[LiftingBlock] = LiftingBlock) -> LiftingBlock:
        return block_kind(ConvPredictor(3, 9, hidden_channels=8), ConvPredictor(9, 3, hidden_channels=8))

    if kind is FeedsEveryStepTheOriginal:
        return FeedsEveryStepTheOriginal(*(block() for _ in range(4)))
    assert issubclass(kind, LiftingBlock)
    return Sequential(*(block(kind) for _ in range(4)))


BROKEN = {
    UndoesInTheWrongOrder: "is off by",
    UpdatesFromTheOldDetail: "is off by",
    FeedsEveryStepTheOriginal: "is off by",
    WritesIntoItsInput: "writes into its input 1",
    WritesIntoItsInputGoingForward: "writes into its input 1",
}


@float_dtypes
@pytest.mark.parametrize(("kind", "message"), list(BROKEN.items()), ids=lambda value: getattr(value, "__name__", ""))
def test_broken_chains_are_caught(kind: type[Invertible], message: str, dtype: torch.dtype) -> None:
    pair = tensor(0, 1, 3, 6, 6, dtype=dtype), tensor(1, 1, 9, 6, 6, dtype=dtype)
    with pytest.raises(AssertionError, match=message):
        assert_inverts(randomise_(broken(kind)).to(dtype), *pair)


@pytest.mark.parametrize("kind", list(BROKEN))
def test_broken_chains_pass_at_their_zero_start(kind: type[Invertible]) -> None:
    """So parameters must be randomised first: at zero every block is the identity, and every law holds."""
    assert_inverts(broken(kind), tensor(0, 1, 3, 6, 6), tensor(1, 1, 9, 6, 6))


class RandomEachTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.rand_like(x)


@pytest.mark.parametrize("network", [RandomEachTime(), nn.Dropout(0.5)], ids=["noise", "dropout in training mode"])
def test_networks_that_are_not_deterministic_are_caught(network: nn.Module) -> None:
    with pytest.raises(AssertionError, match="is off by"):
        assert_inverts(AdditiveCoupling(network), tensor(0, 1, 3, 4, 4), tensor(1, 1, 3, 4, 4))
