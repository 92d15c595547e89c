"""DeepMIH: its size, its laws on random weights, its equations written once more, its training."""

import copy
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.deepmih import DeepMIH
from torch import Tensor

from liftlayers import Sequential
from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.example.baselines.helpers import (
    assert_a_hundred_steps_teach,
    assert_every_weight_has_a_finite_gradient,
    assert_it_saves_and_loads,
    dense,
    images,
    num_parameters,
)


@pytest.fixture(scope="module")
def deepmih() -> DeepMIH:
    """On random weights, in double precision."""
    return randomise_(DeepMIH().double())


def test_it_is_of_the_published_size() -> None:
    assert num_parameters(DeepMIH) == 5_400_320
    assert num_parameters(lambda: DeepMIH().blocks[0]) == 337_520


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_it_inverts(deepmih: DeepMIH, seed: int, rows: int, columns: int) -> None:
    drawn = randomise_(copy.deepcopy(deepmih), seed)
    assert_inverts(drawn, *images(2, 1, 3, 2 * rows, 2 * columns, seed=seed))


def test_it_starts_as_the_identity() -> None:
    cover, secret = images(2, 1, 3, 6, 8)
    stego, lost = DeepMIH().double()(cover, secret)
    torch.testing.assert_close(stego, cover)
    torch.testing.assert_close(lost, secret)


def clamped(r: Tensor) -> Tensor:
    return torch.exp(2.0 * 2 * (torch.sigmoid(r) - 0.5))


def test_it_is_what_the_paper_writes(deepmih: DeepMIH) -> None:
    """Block by block, from the equations alone: :math:`c` is 2 and the logistic stands as it is printed."""
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
    assert (stego - cover).abs().mean() > 0.01  # else the identity would pass


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_saving_memory_changes_no_gradient(deepmih: DeepMIH, memory: Literal["reversible", "checkpoint"]) -> None:
    frugal = copy.deepcopy(deepmih)
    for chain in (module for module in frugal.modules() if isinstance(module, Sequential)):
        chain.memory = memory  # in each chain, as training sets it
    assert_same_gradients(deepmih, frugal, *images(2, 1, 3, 8, 8))


def test_every_weight_has_a_finite_gradient() -> None:
    assert_every_weight_has_a_finite_gradient(DeepMIH(), 8, 10)


def test_it_saves_and_loads(tmp_path: Path) -> None:
    assert_it_saves_and_loads("deepmih", tmp_path)


@pytest.mark.slow
def test_a_hundred_steps_teach_it() -> None:
    assert_a_hundred_steps_teach("deepmih", crop=16, batch_size=4)


def test_odd_sides_are_refused(deepmih: DeepMIH) -> None:
    odd = torch.zeros(1, 3, 8, 7, dtype=torch.float64)
    with pytest.raises(ValueError, match="even height and width, got 8 x 7"):
        deepmih.conceal(odd, odd)
    with pytest.raises(ValueError, match="even height and width, got 8 x 7"):
        deepmih.reveal(odd)


def test_other_images_are_refused(deepmih: DeepMIH) -> None:
    good = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"DeepMIH needs two \(B, 3, H, W\) images .*, got .* and \(1, 1, 8, 8\)"):
        deepmih.conceal(good, good[:, :1])
    with pytest.raises(ValueError, match=r"DeepMIH needs two .*, got \(3, 8, 8\) and \(3, 8, 8\)"):
        deepmih.reveal(good[0])
    with pytest.raises(ValueError, match='reveal needs z="zero" or z="gaussian", got \'mean\''):
        deepmih.reveal(good, "mean")  # type: ignore[arg-type]
