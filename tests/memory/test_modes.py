"""How a memory mode is chosen, and what a chain refuses in the same words in every mode."""

from typing import Any

import pytest
import torch
from torch import Tensor

from liftlayers import Haar, Inverse, LiftingBlock, Sequential
from tests.memory.helpers import MODES, block, in_every_mode, leaves, network, stack
from tests.strategies import tensor


def test_memory_may_be_set_later_and_names_do_not_depend_on_it() -> None:
    chain = stack()
    assert chain.memory == "store"
    names = list(chain.state_dict())
    for memory in MODES:
        chain.memory = memory
        assert chain.memory == memory
        assert list(chain.state_dict()) == names
        assert [name for name, _ in chain.named_parameters()] == names
        assert chain[:1].memory == memory
        assert Sequential(*chain, memory=memory).memory == memory


def test_other_memory_is_refused() -> None:
    refusal = "Sequential needs a memory of 'store', 'reversible' or 'checkpoint', got 'none'"
    with pytest.raises(ValueError, match=refusal):
        Sequential(memory="none")  # type: ignore[arg-type]
    chain = stack()
    with pytest.raises(ValueError, match=refusal):
        chain.memory = "none"  # type: ignore[assignment]
    assert chain.memory == "store"


@in_every_mode
def test_wrong_channels_are_named(memory: Any) -> None:
    chain = Sequential(LiftingBlock(network(1, 2), network(3, 1)), memory=memory)
    for run in (chain, chain.inverse):
        with pytest.raises(
            ValueError, match=r"Predict needs a network output of shape \(2, 3, 5, 5\), got \(2, 2, 5, 5\)"
        ):
            run(*leaves())


@in_every_mode
def test_wrong_numbers_of_bands_are_named(memory: Any) -> None:
    """With the positions of the steps in the chain that the user wrote."""
    x, step = tensor(0, 1, 1, 4, 4).requires_grad_(), block()
    halves = torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2)
    cases: list[tuple[Sequential, bool, tuple[Tensor, ...], str]] = [
        (Sequential(step), False, (x,), r"step 0 \(LiftingBlock\) takes 2 band\(s\), got 1 from the caller"),
        (
            Sequential(Haar(), step, Haar()),
            False,
            (x,),
            r"step 2 \(Haar\) takes 1 band\(s\), got 2 from step 1 \(LiftingBlock\)",
        ),
        (
            Sequential(Haar(), step, Sequential(Inverse(step), Haar())),
            False,
            (x,),
            r"step 1 \(Haar\) takes 1 band\(s\), got 2 from step 0 \(Inverse\)",
        ),
        (
            Sequential(Haar(), step),
            True,
            (x,),
            r"step 1 \(LiftingBlock\) takes back 2 band\(s\), got 1 from the caller",
        ),
        (
            Sequential(Haar(), Inverse(Haar()), step),
            True,
            halves,
            r"step 1 \(Inverse\) takes back 1 band\(s\), got 2 from step 2 \(LiftingBlock\)",
        ),
    ]
    for chain, backwards, bands, message in cases:
        chain.memory = memory
        with pytest.raises(ValueError, match="Sequential " + message):
            (chain.inverse if backwards else chain)(*bands)
