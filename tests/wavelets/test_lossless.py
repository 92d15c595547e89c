"""The lossless layer calls its functional form, and works in chains, pyramids and memory modes."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import Inverse, LiftingPyramid, Sequential
from liftlayers.functional.lossless import lossless_dwt1d, lossless_dwt2d, lossless_idwt2d
from liftlayers.memory.container import Memory
from liftlayers.wavelets.lossless import LosslessWavelet
from tests.strategies import seeds

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

names = pytest.mark.parametrize("name", ["haar", "5/3", "bior2.2", "db4"])
memories = pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])


@st.composite
def photos(draw: st.DrawFn, *, multiple: int = 2) -> Tensor:
    """Integers of the whole range of a dtype, of shape (B, C, H, W), H and W multiples of a number."""
    dtype = draw(st.sampled_from([torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    height, width = (multiple * draw(st.integers(1, 3)) for _ in range(2))
    limits = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(draw(seeds()))
    return torch.randint(limits.min, limits.max, (batch, channels, height, width), dtype=dtype, generator=generator)


@names
@given(x=photos())
def test_layer_equals_function(name: str, x: Tensor) -> None:
    layer, before = LosslessWavelet(name), x.clone()
    approx, detail = layer(x)
    expected, details = lossless_dwt2d(x, name)
    assert torch.equal(approx, expected)
    assert torch.equal(detail, torch.cat(details, dim=1))
    assert torch.equal(layer.inverse(approx, detail), lossless_idwt2d((expected, details), name))
    assert torch.equal(layer.inverse(approx, detail), before)
    assert torch.equal(x, before)


@memories
@given(x=photos(multiple=4))
def test_chains_and_pyramids_return_every_bit(memory: Memory, x: Tensor) -> None:
    chain = Sequential(LosslessWavelet(), Inverse(LosslessWavelet("haar")), LosslessWavelet())
    level = Sequential(LosslessWavelet("haar"))
    chain.memory = level.memory = memory
    approx, detail = chain(x)
    returned = chain.inverse(approx, detail)
    assert isinstance(returned, Tensor)
    assert torch.equal(returned, x)
    pyramid = LiftingPyramid([level, LosslessWavelet()])
    bands = pyramid(x)
    image = pyramid.inverse(*bands)
    assert isinstance(image, Tensor)
    assert torch.equal(image, x)
    assert not any(band.requires_grad for band in bands)


@names
@pytest.mark.parametrize("spatial_dims", [1, 3])
@given(seed=seeds())
@settings(max_examples=5)
def test_lines_and_volumes_are_transformed_axis_by_axis(name: str, spatial_dims: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-(2**15), 2**15, (2, 3, *[4, 2, 6][-spatial_dims:]), generator=generator)
    layer, bands = LosslessWavelet(name, spatial_dims=spatial_dims), {"": x}
    for axis in range(-spatial_dims, 0):
        pairs = {key: lossless_dwt1d(band.transpose(axis, -1), name) for key, band in bands.items()}
        bands = {
            key + letter: y.transpose(axis, -1)
            for key, two in pairs.items()
            for letter, y in zip("ad", two, strict=True)
        }
    approx, detail = layer(x)
    assert torch.equal(approx, bands.pop("a" * spatial_dims))
    assert torch.equal(detail, torch.cat(list(bands.values()), dim=1))
    assert torch.equal(layer.inverse(approx, detail), x)
    assert repr(layer) == f"LosslessWavelet({name!r}, spatial_dims={spatial_dims})"
    floats = layer(x.float().requires_grad_())
    assert torch.equal(floats[1], detail.float())


def test_an_object_of_pywavelets_is_a_name() -> None:
    layer, x = LosslessWavelet(pywt.Wavelet("db2")), torch.randint(256, (1, 3, 6, 8))
    assert repr(layer) == "LosslessWavelet('db2')"
    assert torch.equal(layer(x)[0], LosslessWavelet("db2")(x)[0])


def test_chains_are_permutations_of_all_images() -> None:
    """Any bands are those of an image, also if no camera takes it."""
    bands = LosslessWavelet()(torch.randint(-(2**31), 2**31, (1, 3, 6, 8), dtype=torch.int32))
    swapped = bands[0].flip(-1), bands[1].flip(1)
    returned = LosslessWavelet()(LosslessWavelet().inverse(*swapped))
    assert all(torch.equal(a, b) for a, b in zip(returned, swapped, strict=True))


def test_volume_is_kept() -> None:
    x = torch.randint(256, (2, 3, 4, 4))
    bands, log_det = LosslessWavelet().forward_and_log_det(x)
    assert log_det.tolist() == LosslessWavelet().inverse_and_log_det(*bands)[1].tolist() == [0, 0]


def test_copies_and_pickles_have_no_state_but_the_name() -> None:
    layer = LosslessWavelet("haar")
    assert layer.state_dict() == {}
    x = torch.randint(256, (1, 1, 4, 6), dtype=torch.uint8)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x)[1], layer(x)[1])
    assert repr(layer) == "LosslessWavelet('haar')"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own warnings
def test_compiles_without_a_break() -> None:
    layer, x = LosslessWavelet(), torch.randint(-(2**15), 2**15, (2, 3, 6, 8), dtype=torch.int16)
    bands = torch.compile(layer, fullgraph=True)(x)
    assert all(torch.equal(a, b) for a, b in zip(bands, layer(x), strict=True))
    assert torch.equal(torch.compile(layer.inverse, fullgraph=True)(*bands), x)


# Errors


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^LosslessWavelet needs a wavelet that .*, got 'dmey'$"):
        LosslessWavelet("dmey")


def test_other_floats_than_whole_numbers_are_refused() -> None:
    for value, message in ((0.5, "got 0.5;"), (2.0**21, "got 2097152"), (torch.nan, "got nan")):
        bands = torch.zeros(1, 1, 2, 2), torch.full((1, 3, 2, 2), value)
        with pytest.raises(ValueError, match=rf"LosslessWavelet needs whole numbers up to 2\^18 in floats, {message}"):
            LosslessWavelet()(bands[1])
        with pytest.raises(ValueError, match=rf"LosslessWavelet.inverse needs whole numbers .*, {message}"):
            LosslessWavelet().inverse(*bands)
    with pytest.raises(TypeError, match=r"needs integers, or whole numbers in float32 or float64, got torch.bfloat16"):
        LosslessWavelet()(torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", ["db9", "db10", "coif3"])
def test_large_numbers_in_volumes_have_the_same_bands(name: str) -> None:
    """Of these wavelets, bands grow most; the volume has the signs of the row that grows most."""
    line = LosslessWavelet(name, spatial_dims=1)
    rows = torch.cat([band[:, 0] for band in line(torch.eye(32, dtype=torch.float64)[:, None].mul(2**10).round())], 1).T
    signs = rows[rows.abs().sum(1).argmax()].sign()
    x = signs[:, None, None] * signs[:, None] * signs * (2**15 - torch.arange(32) % 7)
    x, layer = x.long()[None, None], LosslessWavelet(name, spatial_dims=3)
    bands = layer(x.float())
    assert max(band.abs().max() for band in bands) > 2**22
    assert all(torch.equal(a.float(), b) for a, b in zip(layer(x), bands, strict=True))
    volumes = x, x.repeat(1, 7, 1, 1, 1)
    assert torch.equal(layer.inverse(*volumes).float(), layer.inverse(*(band.float() for band in volumes)))
    with pytest.raises(ValueError, match=r"needs whole numbers up to 2\^15 in floats, got 32769"):
        layer(torch.full((1, 1, 2, 2, 2), 32769.0))


@names
@given(seed=seeds(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_whole_numbers_in_floats_have_the_same_bands(name: str, seed: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-(2**18), 2**18, (1, 2, 4, 6), generator=generator)
    layer, floats = LosslessWavelet(name), x.to(dtype).requires_grad_()
    bands = layer(floats)
    assert all(torch.equal(a.to(dtype), b) and b.requires_grad for a, b in zip(layer(x), bands, strict=True))
    x = x // 64  # so that the bands are within the range of floats
    bands = layer(x.to(dtype))
    assert torch.equal(layer.inverse(*bands), x.to(dtype))


@names
def test_the_gradient_is_that_of_the_transform_without_rounding(name: str) -> None:
    """One level of haar and 5/3 does not round multiples of 2^17, so differences of the transform are its derivative.

    The rounding of db4 is small in comparison.
    """
    layer, x = LosslessWavelet(name), torch.zeros(1, 1, 4, 6, dtype=torch.float64)

    def both(x: Tensor) -> Tensor:
        return torch.cat([band.flatten() for band in layer(x)])

    units = 2.0**17 * torch.eye(x.numel(), dtype=x.dtype).view(-1, 1, *x.shape[1:])
    expected = torch.stack([both(unit) for unit in units], dim=1) / 2**17
    jacobian = torch.autograd.functional.jacobian(both, x)
    assert isinstance(jacobian, Tensor)
    atol = 2.0**-10 if name == "db4" else 0.0
    torch.testing.assert_close(jacobian.view_as(expected), expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (1, 1)])
def test_odd_sizes_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"LosslessWavelet needs an even height and width, got {height} x {width}$"):
        LosslessWavelet()(torch.zeros(1, 1, height, width).int())


def test_other_objects_than_tensors_are_refused() -> None:
    with pytest.raises(TypeError, match="LosslessWavelet needs tensors, got list"):
        LosslessWavelet()([1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"LosslessWavelet\.inverse needs tensors, got list"):
        LosslessWavelet().inverse(torch.zeros(1, 1, 2, 2).int(), [1])  # type: ignore[arg-type]


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"LosslessWavelet needs a \(B, C, H, W\) tensor, got \(4, 4\)$"):
        LosslessWavelet()(torch.zeros(4, 4).int())
    with pytest.raises(ValueError, match=r"LosslessWavelet\.inverse needs a \(B, C, H, W\) tensor, got \(3, 4, 4\)$"):
        LosslessWavelet().inverse(torch.zeros(3, 4, 4).int(), torch.zeros(9, 4, 4).int())
    with pytest.raises(ValueError, match=r"a detail of shape \(1, 6, 4, 4\) .* \(1, 2, 4, 4\), got \(1, 3, 4, 4\)$"):
        LosslessWavelet().inverse(torch.zeros(1, 2, 4, 4).int(), torch.zeros(1, 3, 4, 4).int())
