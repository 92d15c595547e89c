"""LiftingPyramid: repeated Haar transforms as in PyWavelets, levels of any kind, and errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import ConvPredictor, Haar, Inverse, Invertible, LiftingBlock, LiftingPyramid, Predict, Sequential
from liftlayers._bands import Bands
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
def test_haar_pyramid_is_the_haar_transform_of_each_approximation(x: Tensor, num: int) -> None:
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


def test_autocast_leaves_bands_of_one_dtype() -> None:
    pyramid, x = learned(3, 2, seed=0), tensor(0, 1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        bands = pyramid(x)
        returned = pyramid.inverse(*bands)
    assert isinstance(returned, Tensor)
    assert {band.dtype for band in (*bands, returned)} == {torch.float32}
    torch.testing.assert_close(returned, x, rtol=0, atol=16 * torch.finfo(torch.bfloat16).eps)


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
    appended = LiftingPyramid([Haar()])
    appended.levels.append(nn.Conv2d(3, 3, 1))
    with pytest.raises(TypeError, match="LiftingPyramid needs Invertible levels, got Conv2d at position 1"):
        appended(torch.zeros(1, 3, 4, 4))
    with pytest.raises(TypeError, match="LiftingPyramid needs Invertible levels, got Conv2d at position 1"):
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


@pytest.mark.parametrize(
    ("shape", "odd", "level"),
    [((1, 1, 6, 4), "3 x 2", 1), ((1, 1, 4, 2), "2 x 1", 1), ((1, 1, 3, 4), "3 x 4", 0)],
)
def test_sizes_that_cannot_be_halved_often_enough_are_refused(shape: tuple[int, ...], odd: str, level: int) -> None:
    """The error has a note with the level, after the notes of the steps inside."""
    plain, deep = LiftingPyramid([Haar(), Haar()]), LiftingPyramid([Sequential(Haar()), Sequential(Haar())])
    message = f"haar_analysis needs an even height and width, got {odd}\n"
    for function in (plain, plain.forward_and_log_det):
        with pytest.raises(ValueError, match=rf"{message}in level {level} \(Haar\)$"):
            function(torch.zeros(shape))
    with pytest.raises(ValueError, match=rf"{message}in step 0 \(Haar\)\nin level {level} \(Sequential\)$"):
        deep(torch.zeros(shape))


def test_details_in_the_wrong_order_are_refused() -> None:
    pyramid = LiftingPyramid([Haar(), Haar()])
    approx, coarse, fine = pyramid(torch.zeros(1, 1, 8, 8))
    for back in (pyramid.inverse, pyramid.inverse_and_log_det):
        message = r"needs a detail of shape \(1, 3, 2, 2\) .* got \(1, 3, 4, 4\)\nin level 1 \(Haar\)$"
        with pytest.raises(ValueError, match=message):
            back(approx, fine, coarse)


def test_levels_whose_inverse_returns_two_bands_are_refused() -> None:
    class Halves(Haar):
        """Its inverse does not join the halves."""

        def inverse(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return approx, detail

        def inverse_and_log_det(self, approx: Tensor, detail: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            return (approx, detail), torch.zeros(1)

    pyramid = LiftingPyramid([Haar(), Halves()])
    bands = pyramid(torch.zeros(1, 1, 8, 8))
    for back in (pyramid.inverse, pyramid.inverse_and_log_det):
        with pytest.raises(ValueError, match=r"whose inverse returns one band, got 2 from level 1 \(Halves\)$"):
            back(*bands)


@pytest.mark.parametrize("level", [Haar(), Sequential(Haar(), Inverse(Haar()))], ids=["layer", "chain"])
def test_a_level_instead_of_a_list_is_refused(level: Invertible) -> None:
    name = type(level).__name__
    with pytest.raises(TypeError, match=rf"LiftingPyramid needs a list of levels, got {name}: put it in a list$"):
        LiftingPyramid(level)  # type: ignore[arg-type]


# Compiled


class Dimmed(nn.Module):
    """A prediction that the condition scales."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 9, 3, padding=1)

    def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
        return condition * self.conv(x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own
def test_compiles_in_one_graph_with_a_condition_for_some_levels() -> None:
    pyramid = randomise_(LiftingPyramid([Sequential(Haar(), Predict(Dimmed())), Haar()]))
    x, condition = tensor(0, 1, 3, 8, 8), torch.tensor(0.5)

    def there_and_back(image: Tensor) -> Bands:
        return pyramid.inverse(*pyramid(image, condition=condition), condition=condition)

    torch.testing.assert_close(torch.compile(there_and_back, backend="aot_eager", fullgraph=True)(x), x)
