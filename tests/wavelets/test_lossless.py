"""The lossless layer calls its functional form, and works in chains, pyramids and memory modes."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import Inverse, LiftingPyramid, Sequential
from liftlayers.functional.lossless import lossless_dwt2d, lossless_idwt2d
from liftlayers.memory._run import Memory
from liftlayers.wavelets.lossless import LosslessWavelet
from tests.strategies import seeds

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


def test_floats_are_refused() -> None:
    with pytest.raises(TypeError, match=r"needs integers .*, got torch.float32; for floats use the layer Wavelet"):
        LosslessWavelet()(torch.zeros(1, 1, 4, 4))
    with pytest.raises(TypeError, match=r"needs integers .*, got torch.float64; for floats use the layer Wavelet"):
        LosslessWavelet().inverse(torch.zeros(1, 1, 2, 2).double(), torch.zeros(1, 3, 2, 2).double())


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
