"""LiftingPyramid: Haar again and again, as PyWavelets has it; levels of any kind; errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import ConvPredictor, Haar, Inverse, LiftingBlock, LiftingPyramid, Sequential
from liftlayers.functional import haar_analysis
from liftlayers.testing import assert_inverts, randomise_
from tests.strategies import images, seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

levels = st.integers(1, 3)


def learned(channels: int, num_levels: int, seed: int) -> LiftingPyramid:
    def level() -> Sequential:
        predict = ConvPredictor(channels, 3 * channels, hidden_channels=4)
        update = ConvPredictor(3 * channels, channels, hidden_channels=4)
        return Sequential(Haar(), LiftingBlock(predict, update))

    return randomise_(LiftingPyramid(level() for _ in range(num_levels)), seed)


@given(x=images(multiple=8, dtype=torch.float64), num=levels)
def test_haar_pyramid_agrees_with_pywavelets(x: Tensor, num: int) -> None:
    approx, *details = LiftingPyramid([Haar()] * num)(x)
    expected, *expected_details = pywt.wavedec2(x.numpy(), "haar", "periodization", level=num)
    np.testing.assert_allclose(approx.numpy(), expected, rtol=0, atol=1e-12)
    for detail, triple in zip(details, expected_details, strict=True):  # coarsest first, both
        np.testing.assert_allclose(detail.numpy(), np.concatenate(triple, axis=1), rtol=0, atol=1e-12)


@given(x=images(multiple=8), num=levels)
def test_haar_pyramid_is_haar_again_and_again(x: Tensor, num: int) -> None:
    approx, details = x, []
    for _ in range(num):
        approx, detail = haar_analysis(approx)
        details.insert(0, detail)
    for band, expected in zip(LiftingPyramid([Haar()] * num)(x), (approx, *details), strict=True):
        assert torch.equal(band, expected)


@given(x=images(multiple=8, dtype=torch.float64), num=levels)
def test_haar_pyramid_keeps_energy(x: Tensor, num: int) -> None:
    energy = sum(float(band.square().sum()) for band in LiftingPyramid([Haar()] * num)(x))
    assert energy == pytest.approx(float(x.square().sum()), rel=1e-12)


@given(x=images(multiple=8), num=levels, seed=seeds())
def test_learned_pyramid_inverts(x: Tensor, num: int, seed: int) -> None:
    assert_inverts(learned(x.shape[1], num, seed).to(x.dtype), x)


def test_levels_run_finest_first_each_on_the_approximation_of_the_last() -> None:
    pyramid, x = learned(2, 3, seed=0), tensor(0, 1, 2, 16, 8)
    a1, d1 = pyramid.levels[0](x)
    a2, d2 = pyramid.levels[1](a1)
    a3, d3 = pyramid.levels[2](a2)
    for band, expected in zip(pyramid(x), (a3, d3, d2, d1), strict=True):
        assert torch.equal(band, expected)
    shapes = [tuple(band.shape[1:]) for band in pyramid(x)]
    assert shapes == [(2, 2, 1), (6, 2, 1), (6, 4, 2), (6, 8, 4)]


def test_levels_come_from_any_iterable_and_may_be_shared() -> None:
    haar = Haar()
    assert len(LiftingPyramid(haar for _ in range(3)).levels) == 3
    assert next(iter(learned(1, 1, 0).state_dict())) == "levels.0.1.predict.network.hidden.0.weight"


# Errors


def test_a_pyramid_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="LiftingPyramid needs at least one level, got none"):
        LiftingPyramid([])


def test_levels_that_do_not_invert_are_refused() -> None:
    with pytest.raises(TypeError, match="LiftingPyramid needs Invertible levels, got Conv2d at 1"):
        LiftingPyramid([Haar(), nn.Conv2d(3, 3, 1)])  # type: ignore[list-item]


def test_levels_that_return_other_than_two_bands_are_refused() -> None:
    one, three = Sequential(Haar(), Inverse(Haar())), LiftingPyramid([Haar(), Haar()])
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"levels that return two bands, got 1 from level 1 \(Sequential\)"):
        LiftingPyramid([Haar(), one])(x)
    with pytest.raises(ValueError, match=r"levels that return two bands, got 3 from level 0 \(LiftingPyramid\)"):
        LiftingPyramid([three])(x)


@pytest.mark.parametrize("num_details", [0, 1, 3])
def test_other_numbers_of_details_are_refused(num_details: int) -> None:
    details = [torch.zeros(1, 3, 2, 2)] * num_details
    with pytest.raises(ValueError, match=f"LiftingPyramid needs 2 details, coarsest first, got {num_details}$"):
        LiftingPyramid([Haar(), Haar()]).inverse(torch.zeros(1, 1, 2, 2), *details)


@pytest.mark.parametrize(("shape", "odd"), [((1, 1, 6, 4), "3 x 2"), ((1, 1, 4, 2), "2 x 1"), ((1, 1, 3, 4), "3 x 4")])
def test_sizes_that_cannot_be_halved_often_enough_are_refused(shape: tuple[int, ...], odd: str) -> None:
    with pytest.raises(ValueError, match=f"haar_analysis needs an even height and width, got {odd}$"):
        LiftingPyramid([Haar(), Haar()])(torch.zeros(shape))


def test_details_in_the_wrong_order_are_refused() -> None:
    pyramid = LiftingPyramid([Haar(), Haar()])
    approx, coarse, fine = pyramid(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"needs a detail of shape \(1, 3, 2, 2\) .* got \(1, 3, 4, 4\)"):
        pyramid.inverse(approx, fine, coarse)
