"""The laws of invertible modules, on every module by name and on random chains of them."""

import copy
import math
import pickle
from collections.abc import Callable, Iterable

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

import liftlayers
from liftlayers import (
    ConvPredictor,
    Exact,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LosslessWavelet,
    Sequential,
    ToGrid,
    VolumePreserving,
    check_inverse,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, randomise_
from tests.strategies import INVERTIBLES, Case, bands, build, chains, deep_chain, flat_jacobian, images, listed, tensor

names = pytest.mark.parametrize("name", list(INVERTIBLES))
float_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def relative_error(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    pairs = [(x.detach(), y.detach()) for x, y in zip(actual, expected, strict=True)]
    scale = max(float(y.abs().max()) for _, y in pairs)
    return max(float((x - y).abs().max()) for x, y in pairs) / scale


def repickled(module: Invertible) -> Invertible:
    return pickle.loads(pickle.dumps(module))


def test_every_public_invertible_module_is_listed() -> None:
    public = [getattr(liftlayers, name) for name in liftlayers.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Invertible)}
    kinds -= {Invertible, VolumePreserving, liftlayers.Coupling}  # abstract
    kinds -= {Exact, ToGrid, LosslessWavelet}  # on a grid only; of integers only
    assert kinds <= {type(factory()) for factory, _ in INVERTIBLES.values()}


@names
@float_dtypes
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("seed", range(3))
def test_inverts(name: str, dtype: torch.dtype, memory_format: torch.memory_format, seed: int) -> None:
    module, given_bands = listed(name, seed, dtype=dtype)
    given_bands = tuple(x.contiguous(memory_format=memory_format) for x in given_bands)
    assert_inverts(module, *given_bands)
    assert_inverts(Inverse(module), *as_tuple(module(*given_bands)))


@names
def test_inverts_to_1e_12_in_float64(name: str) -> None:
    module, given_bands = listed(name, dtype=torch.float64)
    outputs = as_tuple(module(*given_bands))
    assert relative_error(as_tuple(module.inverse(*outputs)), given_bands) <= 1e-12
    assert relative_error(as_tuple(module(*as_tuple(module.inverse(*outputs)))), outputs) <= 1e-12


@given(case=chains())
def test_random_chains_invert(case: Case) -> None:
    assert_inverts(case.module, *case.bands)


@given(case=chains(dtype=torch.float64))
def test_random_chains_invert_to_1e_12_in_float64(case: Case) -> None:
    returned = as_tuple(case.module.inverse(*as_tuple(case.module(*case.bands))))
    assert relative_error(returned, case.bands) <= 1e-12


@given(case=chains(max_steps=3))
def test_inverse_of_a_random_chain_inverts(case: Case) -> None:
    assert_inverts(Inverse(case.module), *(y.detach() for y in as_tuple(case.module(*case.bands))))


@given(x=images())
def test_haar_inverts_images_of_any_even_size(x: Tensor) -> None:
    assert_inverts(Haar(), x)


@given(pair=bands())
def test_a_block_fits_any_bands(pair: tuple[Tensor, Tensor]) -> None:
    channels = pair[0].shape[1]
    block = LiftingBlock(ConvPredictor(channels, 3 * channels), ConvPredictor(3 * channels, channels))
    assert_inverts(randomise_(block.to(pair[0].dtype)), *pair)


@names
def test_leaves_that_need_gradients_are_left_unwritten(name: str) -> None:
    module, given_bands = listed(name)
    outputs = tuple(y.detach() for y in as_tuple(module(*given_bands)))
    for direction, inputs in ((module, given_bands), (Inverse(module), outputs)):
        leaves = [x.clone().requires_grad_() for x in inputs]
        as_tuple(direction(*leaves))  # an in-place write on such a leaf raises, one on its data shows below
        for leaf, before in zip(leaves, inputs, strict=True):
            assert torch.equal(leaf, before)
            assert leaf._version == 0


@names
def test_log_determinants_are_those_of_the_jacobian(name: str) -> None:
    module, given_bands = listed(name, batch=1, dtype=torch.float64)
    jacobian = flat_jacobian(module, *given_bands)
    assert jacobian.shape[0] == jacobian.shape[1]
    outputs, log_det = module.forward_and_log_det(*given_bands)
    _, back = module.inverse_and_log_det(*as_tuple(outputs))
    measured = float(torch.linalg.slogdet(jacobian).logabsdet)
    assert log_det.shape == back.shape == (1,)
    assert float(log_det.detach()) == pytest.approx(measured, abs=1e-11)
    assert float(back.detach()) == pytest.approx(-measured, abs=1e-11)
    assert not isinstance(module, VolumePreserving) or measured == pytest.approx(0, abs=1e-12)
    inverse_jacobian = flat_jacobian(Inverse(module), *(y.detach() for y in as_tuple(module(*given_bands))))
    torch.testing.assert_close(inverse_jacobian @ jacobian, torch.eye(len(jacobian)).double(), rtol=0, atol=1e-12)


@names
@float_dtypes
def test_gradients_flow_through_both_directions(name: str, dtype: torch.dtype) -> None:
    module, given_bands = listed(name, dtype=dtype)
    leaves = [x.requires_grad_() for x in given_bands]
    there_and_back = as_tuple(module.inverse(*as_tuple(module(*leaves))))
    total = torch.stack([y.sum() for y in there_and_back]).sum()
    # There and back is the identity, so the gradient of the sum is one in every place.
    for gradient in torch.autograd.grad(total, leaves):
        torch.testing.assert_close(gradient, torch.ones_like(gradient), rtol=0, atol=1e3 * torch.finfo(dtype).eps)


@names
def test_state_dict_goes_into_a_fresh_module(name: str) -> None:
    module, given_bands = listed(name)
    fresh = build(INVERTIBLES[name][0], seed=77)
    fresh.load_state_dict(module.state_dict())
    for x, y in zip(as_tuple(fresh(*given_bands)), as_tuple(module(*given_bands)), strict=True):
        assert torch.equal(x, y)


@names
@pytest.mark.parametrize("clone", [copy.deepcopy, repickled])
def test_copies_and_pickles(name: str, clone: Callable[[Invertible], Invertible]) -> None:
    module, given_bands = listed(name)
    other = clone(module)
    assert other is not module
    for x, y in zip(as_tuple(other(*given_bands)), as_tuple(module(*given_bands)), strict=True):
        assert torch.equal(x, y)
    assert_inverts(other, *given_bands)


@names
def test_parameters_are_reachable_and_move_together(name: str) -> None:
    module, given_bands = listed(name)
    outputs = as_tuple(module.double()(*(x.double() for x in given_bands)))
    assert {y.dtype for y in outputs} == {torch.float64}


@float_dtypes
@pytest.mark.parametrize("num_blocks", [24, 96])
@pytest.mark.parametrize("seed", range(2))
def test_deep_chains_stay_within_32_units(num_blocks: int, dtype: torch.dtype, seed: int) -> None:
    chain = deep_chain(num_blocks, dtype, seed)
    pair = tensor(seed, 1, 3, 8, 8, dtype=dtype), tensor(seed + 1, 1, 9, 8, 8, dtype=dtype)
    outputs = as_tuple(chain(*pair))
    assert relative_error(outputs, pair) > 0.1  # a chain near the identity would say nothing
    for direction, inputs in ((chain, pair), (Inverse(chain), outputs)):
        _, units, growth = check_inverse(direction, *inputs)
        assert growth <= 4
        assert units <= 32


# Chains that do not invert, though each looks right at its zero start.


class UndoesInTheWrongOrder(LiftingBlock):
    """Takes back the prediction first, then the update."""

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
    """Saves an allocation on the way back, at the caller's expense."""

    def inverse(self, approx: Tensor, detail: Tensor, **_: object) -> tuple[Tensor, Tensor]:
        approx, detail = self.update.inverse(approx, detail)
        return approx, detail.add_(self.predict.network(approx))


class WritesIntoItsInputGoingForward(LiftingBlock):
    """The same on the way there."""

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
    """Why one randomises first: at zero every block is the identity, and every law is vacuous."""
    assert_inverts(broken(kind), tensor(0, 1, 3, 6, 6), tensor(1, 1, 9, 6, 6))


class RandomEachTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.rand_like(x)


@pytest.mark.parametrize("network", [RandomEachTime(), nn.Dropout(0.5)], ids=["noise", "dropout in training mode"])
def test_networks_that_are_not_deterministic_are_caught(network: nn.Module) -> None:
    with pytest.raises(AssertionError, match="is off by"):
        assert_inverts(liftlayers.AdditiveCoupling(network), tensor(0, 1, 3, 4, 4), tensor(1, 1, 3, 4, 4))


@given(x=images())
def test_haar_keeps_energy(x: Tensor) -> None:
    approx, detail = Haar()(x)
    before, after = float(x.square().sum()), float(approx.square().sum() + detail.square().sum())
    assert math.isclose(before, after, rel_tol=16 * torch.finfo(x.dtype).eps)
