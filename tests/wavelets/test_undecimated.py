"""The UndecimatedWavelet module: the bands of its functional form, stacked, and what it refuses."""

import pytest
import torch

from liftlayers import Invertible
from liftlayers.functional import swt
from liftlayers.functional._axes import stacked
from liftlayers.wavelets.undecimated import UndecimatedWavelet
from tests.strategies import tensor


@pytest.mark.parametrize("spatial_dims", [1, 2, 3])
def test_layer_equals_function_and_is_inverted_from_the_left(spatial_dims: int) -> None:
    x = tensor(0, 2, 3, *[3, 6, 5][-spatial_dims:], dtype=torch.float64)
    layer = UndecimatedWavelet("db2", num_levels=2, norm=True, spatial_dims=spatial_dims)
    bands = layer(x)
    approx, *details = swt(x, "db2", axes=range(2, x.ndim), level=2, norm=True)
    expected = stacked(approx, details)  # type: ignore[arg-type]
    assert all(map(torch.equal, bands, expected))
    torch.testing.assert_close(layer.inverse(*bands), x, rtol=0, atol=1e-13)


def test_it_is_redundant_and_no_invertible_layer() -> None:
    layer, zeros = UndecimatedWavelet("haar"), torch.zeros(1, 1, 4, 4)
    assert not isinstance(layer, Invertible)
    again = layer(layer.inverse(zeros, tensor(0, 1, 3, 4, 4)))
    assert float(again[0].abs().max()) > 0.1  # bands that belong to no image do not come back


def test_repr_and_state() -> None:
    layer = UndecimatedWavelet("9/7", num_levels=3)
    assert repr(layer) == "UndecimatedWavelet('bior4.4', num_levels=3, norm=False, spatial_dims=2)"
    assert layer.state_dict() == {}


def test_bands_and_options_that_do_not_fit_are_refused() -> None:
    layer, image = UndecimatedWavelet("haar", num_levels=2), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"UndecimatedWavelet\.inverse needs 2 details, got 1"):
        layer.inverse(image, torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"UndecimatedWavelet\.inverse needs a detail of shape \(1, 3, 4, 4\) for an"):
        layer.inverse(image, torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"UndecimatedWavelet needs a \(B, C, H, W\) tensor, got \(4, 4\)"):
        layer(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="UndecimatedWavelet needs num_levels of at least 1, got 0"):
        UndecimatedWavelet("haar", num_levels=0)
    with pytest.raises(ValueError, match="UndecimatedWavelet needs spatial_dims of 1, 2 or 3, got 4"):
        UndecimatedWavelet("haar", spatial_dims=4)
    with pytest.raises(ValueError, match=r"UndecimatedWavelet needs a wavelet that .*, got 'db99'"):
        UndecimatedWavelet("db99")
