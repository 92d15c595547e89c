"""check_inverse: the error of an inverse in units of rounding, and the growth of the bands."""

import math

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    Haar,
    Inverse,
    InverseCheck,
    Invertible,
    Sequential,
    check_inverse,
)
from liftlayers.testing import assert_inverts
from tests.steps import Scale, Shift, block
from tests.strategies import tensor

# check_inverse


def test_values_of_a_case_computed_by_hand() -> None:
    """x = (1, -2) in float32: there x * 3 = (3, -6), back / 3 + 1/1024. So e = 2^-10 and A = 6, where max|x| = 2."""
    chain = Sequential(Shift(0.0, -(2.0**-10)), Scale(3.0))
    check = check_inverse(chain, torch.tensor([1.0, -2.0]))
    assert check == InverseCheck(error=2.0**-10, units=2.0**-10 / (2.0**-24 * 6), growth=3.0)


def test_units_are_those_of_the_dtype() -> None:
    for dtype, roundoff in ((torch.float32, 2.0**-24), (torch.float64, 2.0**-53)):
        check = check_inverse(Shift(0.0, 2.0**-7), torch.ones(3, dtype=dtype))
        assert check == InverseCheck(2.0**-7, 2.0**-7 / roundoff, 1.0)


def test_amplitude_is_the_largest_of_all_intermediate_bands() -> None:
    chain = Sequential(Scale(8.0), Scale(0.125), Shift(0.0, 2.0**-10))
    assert check_inverse(chain, torch.ones(2)) == InverseCheck(2.0**-10, 2.0**-10 / (2.0**-24 * 8), 8.0)
    nested = Sequential(Sequential(Scale(8.0), Scale(0.125)), Shift(0.0, 2.0**-10))
    assert check_inverse(nested, torch.ones(2)) == check_inverse(chain, torch.ones(2))


def test_amplitude_counts_the_intermediate_bands_of_an_inverted_chain() -> None:
    """The forward map of an Inverse is the inverse of the module that it holds."""
    chain = Inverse(Sequential(Scale(0.125), Scale(8.0)))
    assert check_inverse(chain, torch.ones(2)) == InverseCheck(0.0, 0.0, 1.0)  # / 8, then x 8
    chain = Inverse(Sequential(Scale(8.0), Scale(0.125)))
    assert check_inverse(chain, torch.ones(2)) == InverseCheck(0.0, 0.0, 8.0)  # x 8, then / 8
    assert check_inverse(Sequential(chain, Shift(0.0)), torch.ones(2)) == InverseCheck(0.0, 0.0, 8.0)


def test_the_worst_of_several_bands_counts() -> None:
    class Pair(Invertible):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a, b

        def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a + 0.25, b - 0.5

    assert check_inverse(Pair(), torch.ones(2), torch.full((3,), 4.0)) == InverseCheck(0.5, 0.5 / (2.0**-24 * 4), 1.0)


def test_an_exact_inverse_has_no_error() -> None:
    assert check_inverse(Haar(), torch.ones(1, 1, 2, 2)) == InverseCheck(0.0, 0.0, 2.0)
    assert check_inverse(Sequential(), torch.ones(1)) == InverseCheck(0.0, 0.0, 1.0)


def test_zero_input_has_no_scale() -> None:
    assert check_inverse(Haar(), torch.zeros(1, 1, 4, 4)) == InverseCheck(0.0, 0.0, 1.0)
    assert check_inverse(Shift(0.0, 1.0), torch.zeros(2)) == InverseCheck(1.0, math.inf, 1.0)


def test_empty_bands_are_measured_as_zero() -> None:
    assert check_inverse(Haar(), torch.zeros(0, 1, 4, 4)) == InverseCheck(0.0, 0.0, 1.0)


class Spoils(Invertible):
    """Sends one band of two to nan on the way back."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, b

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return (a * math.nan, b) if self.position == 0 else (a, b * math.nan)


@pytest.mark.parametrize("position", [0, 1])
def test_nan_is_never_an_inverse(position: int) -> None:
    check = check_inverse(Spoils(position), torch.ones(2), torch.ones(2))
    assert math.isnan(check.error)
    assert math.isnan(check.units)


def test_hooks_are_removed_also_after_an_error() -> None:
    chain = Sequential(Haar(), block())
    check_inverse(chain, tensor(0, 1, 3, 4, 4))
    with pytest.raises(ValueError, match="even height and width, got 3 x 4"):
        check_inverse(chain, tensor(0, 1, 3, 3, 4))
    assert not any(module._forward_hooks for module in chain.modules())
    assert not any("inverse" in vars(module) for module in chain.modules())


def test_gradients_are_unchanged() -> None:
    chain, x = Sequential(Haar(), block()), tensor(0, 1, 3, 4, 4).requires_grad_()
    check_inverse(chain, x)
    assert x.grad is None
    assert torch.is_grad_enabled()


class Halves(Invertible):
    """Loses size on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> Tensor:
        return x[..., ::2]


class Doubles(Invertible):
    """Returns a band too many on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_an_inverse_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"returns bands of shapes \[\(2, 4\)\], got \[\(2, 2\)\]"):
        check_inverse(Halves(), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"returns bands of shapes \[\(2, 4\)\], got \[\(2, 4\), \(2, 4\)\]"):
        check_inverse(Doubles(), torch.zeros(2, 4))


def test_other_modules_are_not_checked() -> None:
    with pytest.raises(TypeError, match="check_inverse needs an Invertible module, got Linear"):
        check_inverse(nn.Linear(2, 2), torch.ones(2))  # type: ignore[arg-type]


def test_complex_bands_are_measured() -> None:
    """By their absolute values: 3 + 4i has 5."""
    z = torch.tensor([3 + 4j])
    assert check_inverse(Sequential(), z) == InverseCheck(0.0, 0.0, 1.0)
    assert check_inverse(Scale(2.0, 4.0), z) == InverseCheck(2.5, 2.5 / (2.0**-24 * 10), 2.0)


def test_no_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="check_inverse needs at least one band, got none"):
        check_inverse(Haar())


class AddsAtMost100(Invertible):
    """Inverts small integers only."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 100

    def inverse(self, x: Tensor) -> Tensor:
        return (x - 100).clamp(max=100)


def test_integer_bands_have_no_roundoff() -> None:
    whole = torch.tensor([-(2**63), 0, 2**63 - 1])
    assert check_inverse(Sequential(), whole) == (0.0, 0.0, 1.0)
    assert check_inverse(AddsAtMost100(), torch.tensor([50])).units == 0
    photo = torch.tensor([50, 101], dtype=torch.uint8)
    assert check_inverse(AddsAtMost100(), photo) == (1.0, math.inf, 201 / 101)


class Labelled(Invertible):
    """Passes an image and its label on; the label comes back wrong, or in a float."""

    def __init__(self, error: int, dtype: torch.dtype = torch.int64) -> None:
        super().__init__()
        self.error, self.dtype = error, dtype

    def forward(self, label: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        return label, 2 * image

    def inverse(self, label: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        return (label + self.error).to(self.dtype), image / 2 + 2.0**-10


def test_integers_are_measured_apart_from_floats() -> None:
    """A label of 2^24 neither allows for an error of its own nor for larger errors of the image."""
    label, image = torch.tensor([2**24 + 1]), torch.ones(2)
    assert check_inverse(Labelled(0), label, image) == InverseCheck(2.0**-10, 2.0**-10 / (2.0**-24 * 2), 2.0)
    assert check_inverse(Labelled(1), label, image) == InverseCheck(1.0, math.inf, 2.0)
    assert check_inverse(Labelled(0, torch.float32), label, image) == InverseCheck(1.0, math.inf, 2.0)
    assert check_inverse(Inverse(Labelled(1)), label, image).units == math.inf
    with pytest.raises(AssertionError, match="off by 1, inf units of eps A"):
        assert_inverts(Labelled(1), label, image)
