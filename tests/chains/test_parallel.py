"""Parallel: every step maps its own band, log-determinants add, conditions are passed on."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import (
    ActNorm,
    AdditiveCoupling,
    Haar,
    Inverse,
    Invertible,
    InvertibleConv1x1,
    LiftingPyramid,
    Parallel,
    PixelUnshuffle,
    Sequential,
    Split,
    Swap,
    set_memory,
)
from liftlayers.testing import randomise_
from tests.laws import assert_copies, assert_inverts_both_ways, assert_log_dets, assert_modes_agree
from tests.strategies import dtypes, seeds, tensor


class Shift(Invertible):
    """Adds a condition to one band, and counts the evaluations."""

    calls = 0

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        self.calls += 1
        return x if condition is None else x + condition

    def inverse(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return x if condition is None else x - condition


def mixes(first: int, second: int) -> Parallel:
    return randomise_(Parallel(InvertibleConv1x1(first), Inverse(InvertibleConv1x1(second))))


@given(seed=seeds(), widths=st.tuples(st.integers(1, 3), st.integers(1, 3)), dtype=dtypes)
def test_each_step_sees_its_band(seed: int, widths: tuple[int, int], dtype: torch.dtype) -> None:
    step = mixes(*widths).to(dtype)
    a, b = tensor(seed, 2, widths[0], 3, 4, dtype=dtype), tensor(seed + 1, 2, widths[1], 2, 2, dtype=dtype)
    first, second = step._modules.values()
    assert first is not None
    assert second is not None
    out_a, out_b = step(a, b)
    assert torch.equal(out_a, first(a))
    assert torch.equal(out_b, second(b))
    assert_inverts_both_ways(step, a, b)


def test_one_band_is_returned_bare_and_an_empty_chain_keeps_its_band() -> None:
    x = tensor(0, 1, 2, 4, 4)
    assert isinstance(Parallel(PixelUnshuffle(2))(x), Tensor)
    assert torch.equal(Parallel(PixelUnshuffle(2), Sequential())(x, x)[1], x)


def test_log_dets_add() -> None:
    step = mixes(2, 1).double()
    bands = tensor(0, 2, 2, 3, 2, dtype=torch.float64), tensor(1, 2, 1, 2, 2, dtype=torch.float64)
    total = assert_log_dets(step, *bands)
    parts = [part.forward_and_log_det(x)[1] for part, x in zip(step._modules.values(), bands, strict=True)]  # type: ignore[union-attr, operator]
    torch.testing.assert_close(total, parts[0] + parts[1])


def test_modes_agree_and_copies() -> None:
    """Also around chains that have a memory mode of their own."""

    def made() -> Sequential:
        inner = Sequential(InvertibleConv1x1(2), ActNorm(2), InvertibleConv1x1(2), memory="checkpoint")
        chain = Sequential(Parallel(inner, InvertibleConv1x1(1)), Inverse(Split(2, 1)), Split(2, 1))
        return randomise_(chain).double()

    bands = tensor(0, 2, 2, 3, 4, dtype=torch.float64), tensor(1, 2, 1, 3, 4, dtype=torch.float64)
    trained = made()
    trained(*bands)
    assert_modes_agree(trained, *bands)
    assert_copies(trained, made(), *bands)


def test_condition_goes_to_the_steps_that_take_one() -> None:
    step = Parallel(Shift(), PixelUnshuffle(1))
    a, b = tensor(0, 1, 1, 2, 2), tensor(1, 1, 1, 2, 2)
    assert step.conditional
    assert torch.equal(step(a, b, condition=torch.ones(1))[0], a + 1)
    assert torch.equal(step.inverse(a, b, condition=torch.ones(1))[0], a - 1)
    assert not Parallel(PixelUnshuffle(1)).conditional


def test_rebuilds_step_by_step() -> None:
    """The default would evaluate each step twice; here each step rebuilds its own band."""

    class Knows(Shift):
        def rebuild(self, y: Tensor, **_: object) -> tuple[tuple[Tensor], tuple[Tensor]]:
            x = y.detach().requires_grad_()
            return (x,), (x * 1,)

    step = Knows()
    y = Sequential(Parallel(step, Shift()), memory="reversible")(tensor(0, 1, 1).requires_grad_(), tensor(1, 1, 1))
    torch.stack(list(y)).sum().backward()
    assert step.calls == 1


# What it refuses


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="Parallel needs at least one step, got none"):
        Parallel()


def test_other_modules_are_refused() -> None:
    added = Parallel(PixelUnshuffle(2))
    added.add_module("1", nn.ReLU())
    with pytest.raises(TypeError, match="Parallel needs Invertible steps, got ReLU at position 1"):
        added(torch.zeros(1), torch.zeros(1))
    with pytest.raises(TypeError, match="Parallel needs Invertible steps, got ReLU at position 1"):
        Parallel(PixelUnshuffle(2), nn.ReLU())  # type: ignore[arg-type]


@pytest.mark.parametrize("num_bands", [1, 3])
def test_another_number_of_bands_is_refused(num_bands: int) -> None:
    step = Parallel(PixelUnshuffle(1), PixelUnshuffle(1))
    for direction in (step, step.inverse, step.forward_and_log_det, step.inverse_and_log_det):
        with pytest.raises(ValueError, match=rf"Parallel needs 2 band\(s\), one for each step, got {num_bands}"):
            direction(*[torch.zeros(1, 1, 2, 2)] * num_bands)


def test_steps_with_several_bands_are_refused() -> None:
    step = Parallel(PixelUnshuffle(2), Haar())
    message = r"Parallel needs steps that return one band, got 2 from step 1 \(Haar\)"
    for direction in (step, step.forward_and_log_det):
        with pytest.raises(ValueError, match=message):
            direction(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


def test_a_condition_that_no_step_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="Parallel got a condition, but none of its 2 steps takes one"):
        Parallel(PixelUnshuffle(1), Sequential())(*[torch.zeros(1, 1, 2, 2)] * 2, condition=torch.zeros(1))


def test_it_works_with_couplings_in_a_chain() -> None:
    coupling = AdditiveCoupling(nn.Conv2d(2, 1, 3, padding=1))
    chain = randomise_(Sequential(mixes(2, 1), coupling, Swap(), mixes(1, 2)))
    assert_inverts_both_ways(chain, tensor(0, 2, 2, 4, 4), tensor(1, 2, 1, 4, 4))


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
def test_inside_a_chain_it_refuses_another_number_of_bands(
    memory: Literal["store", "reversible", "checkpoint"],
) -> None:
    chain = set_memory(Sequential(Parallel(Inverse(Haar()), Sequential())), memory)
    bands = [torch.rand(1, channels, 4, 4).requires_grad_() for channels in (3, 9, 3)]
    with pytest.raises(ValueError, match=r"Parallel needs 2 band\(s\), one for each step, got 3"):
        chain(*bands)
    pyramid = set_memory(Sequential(LiftingPyramid([Haar(), Haar()])), memory)
    with pytest.raises(ValueError, match="LiftingPyramid needs 2 details, coarsest first, got 1"):
        pyramid.inverse(*bands[:2])
