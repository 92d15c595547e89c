"""assert_log_det: what it accepts, and the wrong log-determinants that it catches."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import AffineCoupling, Coupling, Haar, Invertible, Sequential, Swap, VolumePreserving
from liftlayers.testing import assert_log_det, randomise_
from tests.laws import flat_jacobian
from tests.strategies import seeds, tensor


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    return tensor(seed, 3, 2, dtype=torch.float64), tensor(seed + 1, 3, 2, dtype=torch.float64)


class Scaled(Coupling):
    """Scales the target; `sign` is that of its log-determinant."""

    sign = 1

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return target * value.exp()

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return target * (-value).exp()

    def log_det(self, target: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002
        return self.sign * value.sum(1)


def coupling(kind: type[Coupling] = Scaled) -> Coupling:
    return randomise_(kind(nn.Linear(2, 2))).double()


@given(seed=seeds(), size=st.integers(1, 3))
def test_agrees_with_the_whole_jacobian(seed: int, size: int) -> None:
    step = randomise_(AffineCoupling(nn.Linear(size, 4)), seed).double()
    bands = tensor(seed, 1, size, dtype=torch.float64), tensor(seed + 1, 1, 2, dtype=torch.float64)
    assert_log_det(step, *bands)
    expected = torch.linalg.slogdet(flat_jacobian(step, *bands)).logabsdet
    assert torch.allclose(step.forward_and_log_det(*bands)[1], expected, atol=1e-12)


def test_accepts_chains_conditions_and_bands_without_gradients() -> None:
    class Conditional(nn.Linear):
        def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:  # pyright: ignore
            return super().forward(x) * condition

    with torch.no_grad():
        assert_log_det(Sequential(coupling(), Swap(), coupling()), *pair())
    assert_log_det(Haar().double(), tensor(0, 2, 1, 4, 2, dtype=torch.float64))
    assert_log_det(Scaled(Conditional(2, 2).double()), *pair(), condition=torch.ones(3, 1).double())


class WrongSign(Scaled):
    sign = -1


class OneNumberForAll(Scaled):
    def log_det(self, target: Tensor, value: Tensor) -> Tensor:
        return super().log_det(target, value)[:1].expand(len(target))


@pytest.mark.parametrize("kind", [WrongSign, OneNumberForAll])
def test_catches_wrong_log_determinants(kind: type[Coupling]) -> None:
    with pytest.raises(
        AssertionError, match=rf"log-determinant of {kind.__name__} is off by .* where 4e-06 is allowed"
    ):
        assert_log_det(coupling(kind), *pair())


class Doubles(VolumePreserving):
    """Promises what it does not do."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def inverse(self, x: Tensor) -> Tensor:
        return x / 2


def test_catches_volume_that_is_not_preserved() -> None:
    with pytest.raises(AssertionError, match=r"log-determinant of Doubles is off by 1\.39"):
        assert_log_det(Doubles(), pair()[0])


class OtherBands(Invertible):
    """Returns other bands with the log-determinant, in one direction."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def inverse(self, x: Tensor) -> Tensor:
        return x / 2

    def forward_and_log_det(self, x: Tensor) -> Any:  # pyright: ignore
        return 2 * x, torch.full((len(x),), 2 * torch.log(torch.tensor(2.0)).item())

    def inverse_and_log_det(self, x: Tensor) -> Any:  # pyright: ignore
        return x / 3, torch.full((len(x),), -2 * torch.log(torch.tensor(2.0)).item())


def test_catches_other_bands_in_the_inverse() -> None:
    with pytest.raises(AssertionError, match="with the log-determinant, the inverse of OtherBands returns other bands"):
        assert_log_det(OtherBands(), pair()[0])


class KeepsAxes(OtherBands):
    def forward_and_log_det(self, x: Tensor) -> Any:  # pyright: ignore
        return 2 * x, torch.zeros(len(x), 1)


def test_catches_a_log_determinant_of_another_shape_and_so_do_chains() -> None:
    message = r"KeepsAxes needs a log-determinant of shape \(B,\), got \(3, 1\) for bands of 3 samples"
    with pytest.raises(ValueError, match=message):
        assert_log_det(KeepsAxes(), pair()[0])
    with pytest.raises(ValueError, match=message):
        Sequential(Doubles(), KeepsAxes()).forward_and_log_det(pair()[0])


class Constant(OtherBands):
    def forward_and_log_det(self, x: Tensor) -> Any:  # pyright: ignore
        return 2 * x, 0.0


def test_a_number_is_no_log_determinant() -> None:
    with pytest.raises(ValueError, match=r"Constant needs a log-determinant of shape \(B,\), got float"):
        assert_log_det(Constant(), pair()[0])


def test_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(TypeError, match="assert_log_det needs an Invertible module, got Linear"):
        assert_log_det(nn.Linear(2, 2), pair()[0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="assert_log_det needs"):
        assert_log_det(Haar(), torch.ones(1, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_judges_where_autograd_is_off(context: Any) -> None:
    step, bands = randomise_(AffineCoupling(nn.Linear(2, 4))).double(), (tensor(0, 2, 2), tensor(1, 2, 2))
    with context():
        assert_log_det(step, *(band.double() for band in bands))
        with pytest.raises(AssertionError, match="log-determinant of Half is off by"):
            assert_log_det(Half(), tensor(0, 2, 2).double())


def test_bands_without_a_jacobian_to_compare() -> None:
    with pytest.raises(ValueError, match="assert_log_det needs at least one sample, got an empty batch"):
        assert_log_det(Haar(), torch.ones(0, 1, 2, 2))
    with pytest.raises(AssertionError, match="Repeated has 4 outputs a sample for 2 inputs"):
        assert_log_det(Repeated(), tensor(0, 2, 2).double())


class Half(VolumePreserving):
    """Is not."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x / 2

    def inverse(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * x


class Repeated(VolumePreserving):
    """Is not, either."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x, x

    def inverse(self, x: Tensor, _y: Tensor) -> Tensor:  # type: ignore[override]
        return x
