"""Law: outputs and gradients of every memory mode are those of the plain loop, wherever the bands come from and go."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from liftlayers import AdditiveCoupling, ConvPredictor, Inverse, LiftingBlock, Sequential, Update
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_same_gradients, randomise_
from tests.devices import on_each_device
from tests.memory.helpers import (
    Gradients,
    Step,
    assert_close,
    assert_same_tensors,
    assert_trains_alike,
    direction,
    forward_step,
    gradients_of,
    in_both_directions,
    in_every_direction,
    in_every_mode,
    in_saving_modes,
    leaves,
    loss,
    network,
    stack,
    two_alike,
    two_bands,
    with_memory,
)
from tests.registry import listed
from tests.strategies import Case, chains, tensor


@on_each_device
@in_every_mode
@in_every_direction
def test_training_step_is_that_of_the_plain_loop(memory: str, step: Step, device: str) -> None:
    assert_trains_alike(stack(3), memory, step, device=device)


@on_each_device
@in_saving_modes
@given(case=chains(max_steps=4, dtype=torch.float64))
def test_any_chain_has_the_outputs_and_gradients_of_the_plain_loop(memory: str, device: str, case: Case) -> None:
    plain, bands = case.to(device)
    assert isinstance(plain, Sequential)
    judged = with_memory(plain, memory)
    outputs = as_tuple(plain(*bands))
    assert_same_tensors(judged(*bands), outputs)
    assert_same_gradients(plain, judged, *bands, tolerance=1e-10)
    back = tuple(y.detach() for y in outputs)
    assert_same_gradients(Inverse(plain), Inverse(judged), *back, tolerance=1e-10)


@on_each_device
@in_saving_modes
@pytest.mark.parametrize("name", ["Sequential", "Sequential, nested", "Sequential, sharing", "Sequential, empty"])
@pytest.mark.parametrize("seed", range(3))
def test_float32_gradients_of_listed_chains(memory: str, name: str, seed: int, device: str) -> None:
    plain, bands = listed(name, seed).to(device)
    assert isinstance(plain, Sequential)
    assert_same_gradients(plain, with_memory(plain, memory), *bands, tolerance=5e-6)


@in_every_mode
def test_float32_gradients_at_depth_24_are_right_to_a_millionth(memory: Any) -> None:
    """Compared with the plain loop in float64; rounding alone costs the plain loop 6e-7."""

    def make() -> nn.Module:
        first, middle, last = (nn.Conv2d(*channels, 3, padding=1) for channels in ((12, 32), (32, 32), (32, 12)))
        return nn.Sequential(first, nn.SiLU(), middle, nn.SiLU(), last)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        chain = Sequential(*(step for _ in range(24) for step in (Update(make()), AdditiveCoupling(make()))))
    bands = tensor(1, 1, 12, 16, 16), tensor(2, 1, 12, 16, 16)
    exact = copy.deepcopy(chain).double()
    torch.stack([y.square().mean() for y in exact(*(x.double() for x in bands))]).sum().backward()
    chain.memory = memory
    torch.stack([y.square().mean() for y in chain(*bands)]).sum().backward()
    for (name, p), trusted in zip(chain.named_parameters(), exact.parameters(), strict=True):
        assert p.grad is not None
        assert trusted.grad is not None
        assert float((p.grad - trusted.grad).norm() / trusted.grad.norm()) <= 1e-6, name


@in_every_mode
@in_every_direction
def test_gradcheck(memory: str, step: Step) -> None:
    chain = with_memory(stack(), memory).double()
    bands = tuple(x[:1, :, :2, :2].double().requires_grad_() for x in two_bands())
    assert torch.autograd.gradcheck(direction(chain, step), bands)


def test_new_predictors_train() -> None:
    """Their last convolutions start at zero: there is nothing to divide by and nothing to warn of."""
    blocks = [LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)) for _ in range(2)]
    assert_trains_alike(Sequential(*blocks), "reversible", forward_step)


# Before and after the chain


@in_every_mode
@in_every_direction
def test_inputs_are_used_again_after_the_chain_and_in_a_skip(memory: str, step: Step) -> None:
    def skip(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        before = approx.clone().detach(), detail.clone().detach()
        step(chain, approx, detail)
        loss(approx * detail.sum()).backward()
        y = chain(approx, detail)
        loss(y[0] + approx, y[1] * detail).backward()
        assert torch.equal(approx, before[0])
        assert torch.equal(detail, before[1])

    assert_trains_alike(stack(), memory, skip)


@in_every_mode
@pytest.mark.parametrize("inplace", [False, True])
def test_activation_before_the_chain(memory: str, inplace: bool) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        activation = nn.ReLU(inplace=inplace)
        loss(*chain(activation(approx * 1), activation(detail * 1))).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_bands_that_are_views_of_one_tensor(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        whole = torch.cat([approx, detail], 1)
        loss(*chain(whole[:, :1], whole[:, 1:])).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
@pytest.mark.parametrize("kept", [0, 1])
def test_unused_output(memory: str, kept: int) -> None:
    """Parameters that only the other output depends on get no gradient at all, as in the plain loop."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        loss(chain(approx, detail)[kept]).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_changed_output_is_right_or_an_error(memory: str) -> None:
    """A sum does not need its output, so the plain loop allows the change; a reversible chain needs its outputs."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        approx, detail = chain(approx, detail)
        loss(approx.mul_(2), detail).backward()

    if memory == "reversible":
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients_of(with_memory(stack(), memory), step)
    else:
        assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_empty_batch(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        torch.stack([y.sum() for y in chain(approx[:0], detail[:0])]).sum().backward()

    assert_trains_alike(stack(), memory, step)


# Gradients that are asked for


@in_every_mode
def test_autograd_grad(memory: str) -> None:
    chain = stack().double()
    expected = _autograd_grad(with_memory(chain, "store"))
    assert_close(_autograd_grad(with_memory(chain, memory)), expected)


def _autograd_grad(chain: Sequential) -> Gradients:
    inputs = dict(zip(("approx", "detail"), leaves(torch.float64), strict=True)) | dict(chain.named_parameters())
    there = loss(*chain(inputs["approx"], inputs["detail"]))
    back = loss(*chain.inverse(inputs["approx"], inputs["detail"]))
    gradients = torch.autograd.grad(there + back, list(inputs.values()))
    assert all(x.grad is None for x in inputs.values())
    return dict(zip(inputs, gradients, strict=True))


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("which", [(True, False), (False, True), (False, False)])
def test_inputs_without_gradients(memory: str, step: Step, which: tuple[bool, bool]) -> None:
    def partly(chain: Sequential, *bands: Tensor) -> None:
        for band, need in zip(bands, which, strict=True):
            band.requires_grad_(need)
        step(chain, *bands)
        assert [band.grad is not None for band in bands] == list(which)

    assert_trains_alike(stack(), memory, partly)


@in_saving_modes
@in_both_directions
@pytest.mark.parametrize("which", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("frozen", [(), (0,), (1,), (0, 1)])
def test_a_band_needs_a_gradient_where_it_does_in_the_plain_loop(
    memory: str, backwards: bool, which: tuple[bool, bool], frozen: tuple[int, ...]
) -> None:
    """Both couplings have the same source, which they return as it is."""
    chain = randomise_(Sequential(AdditiveCoupling(network(4, 4)), AdditiveCoupling(network(4, 4)))).double()
    for number in frozen:
        chain[number].requires_grad_(False)
    needs = []
    for mode in ("store", memory):
        bands = [band.requires_grad_(need) for band, need in zip(two_alike(), which, strict=True)]
        judged = with_memory(chain, mode)
        needs.append([y.requires_grad for y in (judged.inverse if backwards else judged)(*bands)])
    assert needs[0] == needs[1]


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("frozen", ["0.predict", "1.update", "0", "0.predict.network.0.weight"])
def test_frozen_parameters_get_no_gradient(memory: str, step: Step, frozen: str) -> None:
    chain = stack()
    for name, parameter in chain.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    assert_trains_alike(chain, memory, step)


@in_saving_modes
@pytest.mark.parametrize("first", [0, 1, 5])
def test_steps_before_the_first_that_trains_are_not_evaluated_again(memory: str, first: int) -> None:
    calls: list[int] = []
    chain = stack(6)
    for number, frozen in enumerate(chain):
        frozen.requires_grad_(number >= first)
        frozen.predict.network.register_forward_hook(lambda *_, number=number: calls.append(number))  # pyright: ignore
    outputs = with_memory(chain, memory)(*two_bands())
    calls.clear()
    loss(*outputs).backward()
    assert sorted(calls) == list(range(first, 6))


@in_every_mode
def test_everything_frozen_but_the_input(memory: str) -> None:
    assert_trains_alike(stack().requires_grad_(False), memory, forward_step)


@in_every_mode
def test_no_gradient_needed_at_all(memory: str) -> None:
    chain = stack()
    expected, judged = chain(*two_bands()), with_memory(chain, memory)
    assert all(not y.requires_grad for y in with_memory(chain, memory).requires_grad_(False)(*two_bands()))
    for switch in (torch.no_grad, torch.inference_mode):
        for mode in (True, False):
            with switch():
                outputs = judged.train(mode)(*two_bands())
            assert all(not y.requires_grad for y in outputs)
            assert_same_tensors(outputs, expected)


@in_every_mode
@pytest.mark.parametrize("reentrant", [False, True])
def test_inside_a_checkpoint(memory: str, reentrant: bool) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        y = checkpoint(chain, approx, detail, use_reentrant=reentrant)
        assert y is not None
        loss(*y).backward()

    assert_trains_alike(stack(), memory, step)
