"""Exact chains of integer networks: the same numbers wherever they are computed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Exact,
    Haar,
    IntegerConv2d,
    IntegerPredictor,
    Inverse,
    Invertible,
    LearnedWavelet,
    LiftingBlock,
    LosslessWavelet,
    Sequential,
    Swap,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_same_integers, randomise_
from tests.exact.exact_chains import assert_exact, gradients, same
from tests.strategies import part_of_the_examples, seeds, tensor


def predictor(in_channels: int, out_channels: int) -> IntegerPredictor:
    return IntegerPredictor(in_channels, out_channels, hidden_channels=8, bits=8)


def chain(seed: int, *, bits: int = 16) -> Exact:
    """Two Haar transforms, with blocks between and after them; its outputs are bands."""
    block = LiftingBlock(predictor(1, 3), nn.Sequential(predictor(3, 1)))
    inner = Sequential(Haar(), block, Inverse(Haar()), Haar(), LiftingBlock(predictor(1, 3), predictor(3, 1)), Swap())
    return exact(randomise_(inner, seed), bits=bits, anywhere=True)


@part_of_the_examples(4, least=8)
@given(seed=seeds(), bits=st.sampled_from([8, 12, 16]), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_all_paths_agree_in_both_directions(seed: int, bits: int, dtype: torch.dtype) -> None:
    module, x = chain(seed, bits=bits), tensor(seed, 2, 1, 8, 6, dtype=dtype, positive=True)
    assert_exact(module, x, bits=bits)
    assert_same_integers(module, x)
    assert_same_integers(Inverse(module), *as_tuple(module(x)))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["compiled", "onnxruntime"])
def test_compilers_agree(path: str) -> None:
    block = LiftingBlock(predictor(1, 3), predictor(3, 1))
    small = exact(randomise_(Sequential(Haar(), block)), anywhere=True)
    assert_same_integers(small, tensor(0, 1, 1, 16, 12, positive=True), paths=[path])


def test_machines_may_differ_between_the_directions() -> None:
    """Forward on one thread, in batches of two and contiguous; back with other threads, alone and in channels last."""
    module, x = chain(0), tensor(0, 2, 1, 64, 64, positive=True)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        bands = as_tuple(module(x))
        torch.set_num_threads(2)
        alone = (band[:1].contiguous(memory_format=torch.channels_last) for band in bands)
        with torch.autocast("cpu", torch.bfloat16):
            returned = module.inverse(*alone)
    finally:
        torch.set_num_threads(threads)
    assert same(returned, module.to_grid(x[:1]))


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_gradients_are_the_same_in_all_modes(memory: str) -> None:
    stored, kept, x = chain(0), chain(0), tensor(0, 2, 1, 8, 8)
    kept.memory = memory  # type: ignore[assignment]
    assert same(tuple(gradients(stored, (x,), None)), tuple(gradients(kept, (x,), None)))


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (AdditiveCoupling(nn.Conv2d(1, 1, 1)), "got Conv2d in AdditiveCoupling, step 1"),
        (LiftingBlock(IntegerConv2d(1, 1), nn.Sequential(IntegerConv2d(1, 1), nn.ReLU())), "got Sequential in Update"),
        (Sequential(Inverse(Haar()), LearnedWavelet(scale=None)), r"got \w+ in AdditiveCoupling, step 3"),
    ],
)
def test_networks_of_floats_are_refused(inner: Invertible, message: str) -> None:
    with pytest.raises(
        TypeError, match=f"exact with anywhere=True needs networks that are an IntegerNetwork, {message}"
    ):
        exact(Sequential(Swap(), inner), anywhere=True)


def test_a_network_of_floats_that_is_assigned_later_is_refused() -> None:
    module = chain(0)
    module.chain[1].predict.network = nn.Conv2d(1, 3, 1)  # type: ignore[index]
    with pytest.raises(TypeError, match="needs networks that are an IntegerNetwork, got Conv2d in Predict, step 1"):
        module(torch.zeros(1, 1, 4, 4))


def test_lossless_wavelets_need_no_exact() -> None:
    with pytest.raises(
        TypeError, match="got LosslessWavelet as step 0; with networks of integers, a chain of it is exact"
    ):
        exact(LosslessWavelet(), anywhere=True)


def test_the_promise_is_shown() -> None:
    assert "anywhere=True" in repr(chain(0))


def test_chains_of_floats_break_the_promise() -> None:
    """So that the promise of integer networks is not trivial: another batch gives other bits."""

    def last(bands: Tensor | tuple[Tensor, ...]) -> Tensor:
        return torch.cat([band[:1].flatten() for band in as_tuple(bands)])

    blocks = (LiftingBlock(nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 1, 3, padding=1)) for _ in range(24))
    floats, x = exact(randomise_(Sequential(Haar(), *blocks)), bits=16), tensor(0, 1, 1, 64, 64, positive=True)
    with torch.no_grad():
        expected = last(floats(x))
        assert not torch.equal(last(floats.double()(x.double())).float(), expected)
