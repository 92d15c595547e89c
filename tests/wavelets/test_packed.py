"""The Packed layer: a pyramid as one tensor, in any number of dimensions, bit for bit."""

import pytest
import torch

from liftlayers import Haar, LiftingPyramid, Packed, Sequential, Wavelet, exact
from liftlayers.functional import pack, wavedec
from tests.laws import assert_inverts_both_ways
from tests.strategies import tensor


@pytest.mark.parametrize("spatial_dims", [1, 2, 3])
def test_a_packed_pyramid_is_a_packed_transform(spatial_dims: int) -> None:
    x = tensor(0, 2, 3, *[4, 8, 12][-spatial_dims:], dtype=torch.float64)
    levels = [Wavelet("db2", spatial_dims=spatial_dims) for _ in range(2)]
    chain = Sequential(LiftingPyramid(levels), Packed(2, spatial_dims=spatial_dims))
    axes = range(-spatial_dims, 0)
    packed = chain(x)
    assert isinstance(packed, torch.Tensor)
    assert torch.equal(packed, pack(wavedec(x, "db2", axes=axes, level=2), axes=axes))
    assert_inverts_both_ways(chain, x)


def test_it_moves_bits_and_is_exact() -> None:
    bands = tuple(tensor(i, 1, c, s, s) for i, (c, s) in enumerate([(2, 2), (6, 2), (6, 4)]))
    assert all(map(torch.equal, Packed(2).inverse(Packed(2)(*bands)), bands))
    chain, x = exact(Sequential(LiftingPyramid([Haar(), Haar()]), Packed(2))), tensor(0, 1, 1, 8, 8)
    returned = chain.inverse(chain(x))
    assert isinstance(returned, torch.Tensor)
    assert torch.equal(returned, chain.to_grid(x))


def test_bands_and_options_that_do_not_fit_are_refused() -> None:
    x = torch.zeros(1, 1, 4, 6)
    with pytest.raises(ValueError, match="Packed needs 2 details, got 1"):
        Packed(2)(x, x)
    with pytest.raises(ValueError, match=r"Packed\.inverse needs sides divisible by 4, got 4 x 6"):
        Packed(2).inverse(x)
    with pytest.raises(ValueError, match=r"Packed needs a \(B, C, H, W\) tensor, got \(4, 6\)"):
        Packed(1)(x[0, 0], x)
    with pytest.raises(ValueError, match=r"Packed needs a \(B, 3, H, W\) tensor, got \(1, 1, 4, 6\)"):
        Packed(1)(x, x)
    with pytest.raises(ValueError, match="Packed needs num_levels of at least 1, got 0"):
        Packed(0)
    with pytest.raises(ValueError, match="Packed needs spatial_dims of 1, 2 or 3, got 0"):
        Packed(1, spatial_dims=0)
    assert repr(Packed(2)) == "Packed(num_levels=2, spatial_dims=2)"
