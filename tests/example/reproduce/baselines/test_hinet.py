"""HiNet: its number of parameters, its inverse on random weights, and its equations."""

import copy
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.hinet import HiNet

from liftlayers import set_memory
from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.example.reproduce.baselines.helpers import (
    dense,
    images,
    num_parameters,
)


@pytest.fixture(scope="module")
def hinet() -> HiNet:
    """A network with random weights in double precision."""
    return randomise_(HiNet().double())


def test_it_is_of_the_published_size(hinet: HiNet) -> None:
    assert num_parameters(hinet) == 4_050_240
    assert num_parameters(hinet.blocks[0]) == 253_140


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_it_inverts(hinet: HiNet, seed: int, rows: int, columns: int) -> None:
    drawn = randomise_(copy.deepcopy(hinet), seed)
    assert_inverts(drawn, *images(2, 1, 3, 2 * rows, 2 * columns, seed=seed))


def test_it_is_what_the_paper_writes(hinet: HiNet) -> None:
    """The output equals the paper's equations, block by block, with :math:`c = 2` and the logistic function."""
    cover, secret = images(2, 2, 3, 8, 10)
    weights = hinet.state_dict()
    x1, x2 = (torch.cat(haar_analysis(image), dim=1) for image in (cover, secret))
    for block in range(16):
        phi, rho, eta = (f"blocks.{block}.{part}" for part in ("0.network", "1.network.scale", "1.network.shift"))
        y1 = x1 + dense(weights, phi, x2)
        scale = torch.exp(2.0 * 2 * (torch.sigmoid(dense(weights, rho, y1)) - 0.5))
        x1, x2 = y1, x2 * scale + dense(weights, eta, y1)
    stego, lost = (haar_synthesis(x[:, :3], x[:, 3:]) for x in (x1, x2))
    torch.testing.assert_close(hinet(cover, secret), (stego, lost))
    assert (stego - cover).abs().mean() > 0.01  # so that the identity does not pass


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_saving_memory_changes_no_gradient(hinet: HiNet, memory: Literal["reversible", "checkpoint"]) -> None:
    frugal = set_memory(copy.deepcopy(hinet), memory)
    assert_same_gradients(hinet, frugal, *images(2, 1, 3, 8, 8))


def test_odd_sides_are_refused(hinet: HiNet) -> None:
    odd = torch.zeros(1, 3, 8, 7, dtype=torch.float64)
    with pytest.raises(ValueError, match="even height and width, got 8 x 7"):
        hinet.conceal(odd, odd)
    with pytest.raises(ValueError, match="even height and width, got 8 x 7"):
        hinet.reveal(odd)
