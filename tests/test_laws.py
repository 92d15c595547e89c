"""The laws of invertible modules, on every layer of the registry and on random chains, on every device."""

import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import liftlayers
from liftlayers import (
    ConvPredictor,
    Coupling,
    Exact,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LosslessColour,
    LosslessWavelet,
    ToGrid,
    VolumePreserving,
    check_inverse,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, randomise_
from tests.devices import on_each_device
from tests.laws import assert_copies, assert_inverts_both_ways, assert_log_dets, assert_modes_agree, flat_jacobian
from tests.registry import LAWS, REGISTRY, deep_chain, listed, predictor
from tests.strategies import Case, bands, build, cases, chains, images, part_of_the_examples, tensor

names = pytest.mark.parametrize("name", LAWS)
float_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def relative_error(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    pairs = [(x.detach(), y.detach()) for x, y in zip(actual, expected, strict=True)]
    scale = max(float(y.abs().max()) for _, y in pairs)
    return max(float((x - y).abs().max()) for x, y in pairs) / scale


def test_every_public_invertible_module_is_listed() -> None:
    public = [getattr(liftlayers, name) for name in liftlayers.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Invertible)}
    kinds -= {Invertible, VolumePreserving, Coupling}  # abstract
    kinds -= {Exact, ToGrid, LosslessColour, LosslessWavelet}  # on a grid only; of integers only
    assert kinds <= {type(listed(name).module) for name in LAWS}


# Every layer, with drawn options, networks, shapes, dtypes and layouts


@on_each_device
@names
@part_of_the_examples(4, least=6)
@given(data=st.data())
def test_inverts_both_ways(name: str, device: str, data: st.DataObject) -> None:
    module, given_bands = data.draw(cases(name)).to(device)
    assert_inverts_both_ways(module, *given_bands)


@on_each_device
@names
@part_of_the_examples(10, least=3)
@given(data=st.data())
def test_log_determinants_are_those_of_the_jacobian(name: str, device: str, data: st.DataObject) -> None:
    module, given_bands = data.draw(cases(name, dtype=torch.float64, largest=2, batch=2)).to(device)
    log_det = assert_log_dets(module, *given_bands)
    assert not isinstance(module, VolumePreserving) or torch.equal(log_det, torch.zeros_like(log_det))


@on_each_device
@names
@part_of_the_examples(12, least=2)
@given(data=st.data())
def test_gradients_agree_in_every_memory_mode(name: str, device: str, data: st.DataObject) -> None:
    module, given_bands = data.draw(cases(name, dtype=torch.float64)).to(device)
    assert_modes_agree(module, *given_bands)


# Every layer, with its default options


@on_each_device
@names
def test_inverts_to_1e_12_in_float64(name: str, device: str) -> None:
    module, given_bands = listed(name, dtype=torch.float64).to(device)
    outputs = as_tuple(module(*given_bands))
    assert relative_error(as_tuple(module.inverse(*outputs)), given_bands) <= 1e-12
    assert relative_error(as_tuple(module(*as_tuple(module.inverse(*outputs)))), outputs) <= 1e-12


@names
def test_jacobian_of_the_inverse_is_the_inverse_of_the_jacobian(name: str) -> None:
    module, given_bands = listed(name, batch=1, dtype=torch.float64)
    jacobian = flat_jacobian(module, *given_bands)
    assert jacobian.shape[0] == jacobian.shape[1]
    assert_log_dets(module, *given_bands)
    measured = float(torch.linalg.slogdet(jacobian).logabsdet)
    assert not isinstance(module, VolumePreserving) or measured == pytest.approx(0, abs=1e-12)
    inverse_jacobian = flat_jacobian(Inverse(module), *(y.detach() for y in as_tuple(module(*given_bands))))
    torch.testing.assert_close(inverse_jacobian @ jacobian, torch.eye(len(jacobian)).double(), rtol=0, atol=1e-12)


@on_each_device
@names
@float_dtypes
def test_gradients_flow_through_both_directions(name: str, dtype: torch.dtype, device: str) -> None:
    module, given_bands = listed(name, dtype=dtype).to(device)
    leaves = [x.requires_grad_() for x in given_bands]
    there_and_back = as_tuple(module.inverse(*as_tuple(module(*leaves))))
    total = torch.stack([y.sum() for y in there_and_back]).sum()
    # There and back is the identity, so the gradient of the sum is one everywhere.
    for gradient in torch.autograd.grad(total, leaves):
        torch.testing.assert_close(gradient, torch.ones_like(gradient), rtol=0, atol=1e3 * torch.finfo(dtype).eps)


@on_each_device
@names
def test_copies_pickles_and_state_dicts(name: str, device: str) -> None:
    module, given_bands = listed(name).to(device)
    fresh = build(lambda: REGISTRY[name].make(predictor, 1, 3), seed=77).to(device)
    assert isinstance(fresh, Invertible)
    assert_copies(module, fresh, *given_bands)


@names
def test_parameters_are_reachable_and_move_together(name: str) -> None:
    module, given_bands = listed(name)
    outputs = as_tuple(module.double()(*(x.double() for x in given_bands)))
    assert {y.dtype for y in outputs} == {torch.float64}


# Random chains


@on_each_device
@given(case=chains())
def test_random_chains_invert(device: str, case: Case) -> None:
    module, given_bands = case.to(device)
    assert_inverts(module, *given_bands)


@on_each_device
@given(case=chains(dtype=torch.float64))
def test_random_chains_invert_to_1e_12_in_float64(device: str, case: Case) -> None:
    module, given_bands = case.to(device)
    returned = as_tuple(module.inverse(*as_tuple(module(*given_bands))))
    assert relative_error(returned, given_bands) <= 1e-12


@on_each_device
@given(case=chains(max_steps=3))
def test_inverse_of_a_random_chain_inverts(device: str, case: Case) -> None:
    module, given_bands = case.to(device)
    assert_inverts(Inverse(module), *(y.detach() for y in as_tuple(module(*given_bands))))


@on_each_device
@float_dtypes
@pytest.mark.parametrize(
    ("num_blocks", "seed"), [(24, 0), (24, 1), (96, 0), pytest.param(96, 1, marks=pytest.mark.slow)]
)
def test_deep_chains_stay_within_32_units(num_blocks: int, dtype: torch.dtype, seed: int, device: str) -> None:
    bands = tensor(seed, 1, 3, 8, 8, dtype=dtype), tensor(seed + 1, 1, 9, 8, 8, dtype=dtype)
    chain, pair = Case(deep_chain(num_blocks, dtype, seed), bands).to(device)
    outputs = as_tuple(chain(*pair))
    assert relative_error(outputs, pair) > 0.1  # a chain near the identity would show nothing
    for direction, inputs in ((chain, pair), (Inverse(chain), outputs)):
        _, units, growth = check_inverse(direction, *inputs)
        assert growth <= 4
        assert units <= 32


# Any size


@on_each_device
@given(x=images())
def test_haar_inverts_images_of_any_even_size(device: str, x: Tensor) -> None:
    assert_inverts(Haar(), x.to(device))


@on_each_device
@given(x=images())
def test_haar_keeps_energy(device: str, x: Tensor) -> None:
    approx, detail = Haar()(x.to(device))
    before, after = float(x.square().sum()), float(approx.square().sum() + detail.square().sum())
    assert math.isclose(before, after, rel_tol=16 * torch.finfo(x.dtype).eps)


@on_each_device
@given(pair=bands())
def test_a_block_fits_any_bands(device: str, pair: tuple[Tensor, Tensor]) -> None:
    channels = pair[0].shape[1]
    block = LiftingBlock(ConvPredictor(channels, 3 * channels), ConvPredictor(3 * channels, channels))
    module, given_bands = Case(randomise_(block.to(pair[0].dtype)), pair).to(device)
    assert_inverts(module, *given_bands)
