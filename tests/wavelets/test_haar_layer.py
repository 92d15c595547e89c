"""The Haar layer calls its functional form."""

import pytest
import torch
from hypothesis import given
from torch import Tensor

from liftlayers import Haar, Inverse
from liftlayers.functional import haar_analysis, haar_synthesis
from tests.laws import flat_jacobian
from tests.strategies import images, tensor


@given(x=images())
def test_layer_equals_function(x: Tensor) -> None:
    bands = Haar()(x)
    for band, expected in zip(bands, haar_analysis(x), strict=True):
        assert torch.equal(band, expected)
    assert torch.equal(Haar().inverse(*bands), haar_synthesis(*bands))


def test_matrix_is_orthogonal_and_its_inverse_the_transpose() -> None:
    x = tensor(0, 1, 2, 4, 4, dtype=torch.float64)
    matrix, inverse = flat_jacobian(Haar(), x), flat_jacobian(Inverse(Haar()), *Haar()(x))
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(32).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(inverse, matrix.T, rtol=0, atol=1e-12)


def test_has_no_parameters_and_no_state() -> None:
    assert list(Haar().parameters()) == []
    assert Haar().state_dict() == {}


def test_bad_input_is_refused_by_the_function() -> None:
    with pytest.raises(ValueError, match="haar_analysis needs an even height and width, got 3 x 4"):
        Haar()(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match=r"needs a detail of shape \(1, 3, 2, 2\) .*, got \(1, 4, 2, 2\)"):
        Haar().inverse(torch.zeros(1, 1, 2, 2), torch.zeros(1, 4, 2, 2))
