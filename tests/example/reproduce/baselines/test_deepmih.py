"""DeepMIH: its number of parameters, its inverse on random weights, and its equations."""

import copy
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.deepmih import DeepMIH
from torch import Tensor

from liftlayers import set_memory
from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.example.reproduce.baselines.helpers import (
    dense,
    images,
    num_parameters,
)


@pytest.fixture(scope="module")
def deepmih() -> DeepMIH:
    """A network with random weights in double precision."""
    return randomise_(DeepMIH().double())


def test_it_is_of_the_published_size(deepmih: DeepMIH) -> None:
    assert num_parameters(deepmih) == 5_400_320
    assert num_parameters(deepmih.blocks[0]) == 337_520


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_it_inverts(deepmih: DeepMIH, seed: int, rows: int, columns: int) -> None:
    """Every block is within the usual bound; sixteen of them, which divide in a direction, amplify the errors."""
    drawn = randomise_(copy.deepcopy(deepmih), seed)
    for block in drawn.blocks:
        assert_inverts(block, *images(2, 1, 12, rows, columns, seed=seed))
    assert_inverts(drawn, *images(2, 1, 3, 2 * rows, 2 * columns, seed=seed), bound=1024)


def clamped(r: Tensor) -> Tensor:
    return torch.exp(2.0 * 2 * (torch.sigmoid(r) - 0.5))


def test_it_is_what_the_paper_writes(deepmih: DeepMIH) -> None:
    """The output equals the paper's equations, block by block, with :math:`c = 2` and the logistic function."""
    cover, secret = images(2, 2, 3, 8, 10)
    weights = deepmih.state_dict()
    x1, x2 = (torch.cat(haar_analysis(image), dim=1) for image in (cover, secret))
    for block in range(16):
        psi, phi = (f"blocks.{block}.1.network.{part}" for part in ("scale", "shift"))
        rho, eta = (f"blocks.{block}.3.network.{part}" for part in ("scale", "shift"))
        y1 = x1 * clamped(dense(weights, psi, x2)) + dense(weights, phi, x2)
        x1, x2 = y1, x2 * clamped(dense(weights, rho, y1)) + dense(weights, eta, y1)
    stego, lost = (haar_synthesis(x[:, :3], x[:, 3:]) for x in (x1, x2))
    torch.testing.assert_close(deepmih(cover, secret), (stego, lost))
    assert (stego - cover).abs().mean() > 0.01  # so that the identity does not pass


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_saving_memory_changes_no_gradient(deepmih: DeepMIH, memory: Literal["reversible", "checkpoint"]) -> None:
    frugal = set_memory(copy.deepcopy(deepmih), memory)
    assert_same_gradients(deepmih, frugal, *images(2, 1, 3, 8, 8))


def test_odd_sides_are_refused(deepmih: DeepMIH) -> None:
    odd = torch.zeros(1, 3, 8, 7, dtype=torch.float64)
    with pytest.raises(ValueError, match="even height and width, got 8 x 7"):
        deepmih.conceal(odd, odd)
    with pytest.raises(ValueError, match="even height and width, got 8 x 7"):
        deepmih.reveal(odd)
