"""Lossless colour transforms: the equations of their standards, a codec as an oracle, and every bit returns."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import Inverse, LosslessColour, LosslessWavelet, Sequential
from liftlayers.functional.lossless import lossless_dwt2d
from tests.functional.integers import dtypes, integers
from tests.strategies import seeds

names = pytest.mark.parametrize("name", ["rct", "ycocg-r"])


def equations(name: str, red: int, green: int, blue: int) -> tuple[int, int, int]:
    """As printed in the standards, in Python's integers."""
    if name == "rct":
        return (red + 2 * green + blue) // 4, blue - green, red - green
    orange = red - blue
    difference = green - (blue + orange // 2)
    return blue + orange // 2 + difference // 2, orange, difference


@names
@given(colours=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1))
def test_channels_are_those_of_the_equations(name: str, colours: list[tuple[int, int, int]]) -> None:
    colours += [(0, 0, 0), (255, 255, 255), (255, 0, 255), (0, 255, 0), (255, 0, 0), (0, 0, 255)]
    x = torch.tensor(colours, dtype=torch.int16)
    y = LosslessColour(name)(x)
    assert y.tolist() == [list(equations(name, *colour)) for colour in colours]
    assert int(y[:, 0].min()) >= 0
    assert int(y[:, 0].max()) <= 255
    assert int(y[:, 1:].abs().max()) <= 255


@dtypes
@names
@given(batch=st.integers(0, 3), size=st.lists(st.integers(1, 4), max_size=3), seed=seeds(), extreme=st.booleans())
def test_every_bit_returns_at_any_rank(
    name: str, dtype: torch.dtype, batch: int, size: list[int], seed: int, extreme: bool
) -> None:
    limits, layer = torch.iinfo(dtype), LosslessColour(name)
    x = integers(seed, batch, 3, *size, dtype=dtype)
    x = torch.where(x % 2 == 0, limits.max, limits.min).to(dtype) if extreme else x
    before = x.clone()
    for first, second in ((layer.forward, layer.inverse), (layer.inverse, layer.forward)):
        between = first(x)
        assert between.dtype == dtype
        assert torch.equal(second(between), before)
    assert torch.equal(x, before)


@names
def test_every_colour_of_four_bits_has_a_place_of_its_own(name: str) -> None:
    values = torch.arange(16)
    colours = torch.cartesian_prod(values, values, values)
    assert len(LosslessColour(name)(colours).unique(dim=0)) == 16**3


def test_colours_are_those_of_a_jpeg_2000_codec() -> None:
    """A codec that decodes at half the size inverts the colour transform of its approximations."""
    features = pytest.importorskip("PIL.features", reason="needs Pillow, from the extra `test`")
    if not features.check("jpg_2000"):
        pytest.skip("needs Pillow built with OpenJPEG")
    from PIL import Image

    x = integers(3, 1, 3, 16, 24, bits=8)
    file = io.BytesIO()
    photo = Image.fromarray(x[0].permute(1, 2, 0).numpy().astype(np.uint8))
    photo.save(file, "JPEG2000", irreversible=False, num_resolutions=2, mct=1)
    with Image.open(file) as image:
        image.reduce = 1  # type: ignore[attr-defined]
        decoded = np.asarray(image)
    colour = LosslessColour("rct")
    approx, _ = lossless_dwt2d(colour(x), "5/3")
    np.testing.assert_array_equal(colour.inverse(approx).clamp(0, 255)[0].permute(1, 2, 0).numpy(), decoded)


@names
def test_chains_invert_and_keep_volume(name: str) -> None:
    x = integers(0, 2, 3, 4, 6, dtype=torch.uint8)
    chain = Sequential(LosslessColour(name), LosslessWavelet(), Inverse(LosslessWavelet("haar")))
    returned = chain.inverse(chain(x))
    assert isinstance(returned, Tensor)
    assert torch.equal(returned, x)
    assert LosslessColour(name).forward_and_log_det(x)[1].tolist() == [0, 0]


@names
def test_vmap_and_layout_change_nothing(name: str) -> None:
    layer, x = LosslessColour(name), integers(0, 4, 2, 3, 5, 6)
    expected = torch.stack([layer(image) for image in x])
    assert torch.equal(torch.func.vmap(layer)(x), expected)
    assert torch.equal(layer(x[0].contiguous(memory_format=torch.channels_last)), expected[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own warnings
@names
def test_compiles_and_exports(name: str) -> None:
    layer, x = LosslessColour(name), integers(0, 2, 3, 5, 6)
    assert torch.equal(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x))
    sizes: Any = {"x": dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)}
    exported = torch.export.export(layer, (x,), dynamic_shapes=sizes).module()
    other = integers(1, 4, 3, 7, 8)
    assert torch.equal(exported(other), layer(other))


def test_repr() -> None:
    assert repr(LosslessColour("ycocg-r")) == "LosslessColour('ycocg-r')"


def test_unknown_names_dtypes_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^LosslessColour needs 'rct' or 'ycocg-r', got 'ycbcr'$"):
        LosslessColour("ycbcr")
    with pytest.raises(TypeError, match=r"^LosslessColour needs integers \(uint8, .*\), got torch.float32$"):
        LosslessColour()(torch.zeros(1, 3, 2, 2))
    message = r"^LosslessColour\.inverse needs a \(B, 3, \.\.\.\) tensor, got "
    with pytest.raises(ValueError, match=message + r"\(1, 4, 2, 2\)$"):
        LosslessColour().inverse(torch.zeros(1, 4, 2, 2).int())
    with pytest.raises(ValueError, match=message + r"\(3,\)$"):
        LosslessColour().inverse(torch.zeros(3).int())
