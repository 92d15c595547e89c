"""All bands in one tensor: PyWavelets' layout, every size and number of axes, and what does not tile."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liftlayers.functional import pack, unpack, wavedec, wavedec2, waverec
from tests.functional.wavelets import NON_EXPANSIVE, assert_equals, flat
from tests.strategies import tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")


@given(num_axes=st.integers(1, 3), level=st.integers(1, 3), name=st.sampled_from(["haar", "db2"]))
@pytest.mark.filterwarnings("ignore:Level value")
def test_the_layout_is_that_of_pywavelets(num_axes: int, level: int, name: str) -> None:
    x = tensor(0, *[8, 16, 8][:num_axes], dtype=torch.float64)
    axes = tuple(range(num_axes))
    theirs, _ = pywt.coeffs_to_array(pywt.wavedecn(x.numpy(), name, "periodization", level), axes=axes)
    assert_equals(pack(wavedec(x, name, axes=axes, level=level), axes=axes), theirs)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    level=st.integers(1, 4),
    boundary=st.sampled_from(NON_EXPANSIVE),
    data=st.data(),
)
def test_bands_of_every_size_come_back(sizes: list[int], level: int, boundary: str, data: st.DataObject) -> None:
    axes = data.draw(st.permutations(range(len(sizes))))
    x = tensor(0, *sizes, 2, dtype=torch.float64)
    packed = pack(wavedec(x, "9/7", axes=axes, boundary=boundary, level=level), axes=axes)
    assert packed.shape == x.shape
    levels = unpack(packed, level=level, axes=axes)
    again = waverec(levels, "9/7", axes=axes, boundary=boundary)
    torch.testing.assert_close(again, x, rtol=0, atol=1e-12)
    assert torch.equal(pack(levels, axes=axes), packed)


def test_both_nests_are_packed_and_missing_bands_are_zero() -> None:
    x = tensor(0, 3, 9, 13)
    levels: list[Any] = wavedec2(x, "5/3", level=2)
    approx, coarse, fine = levels
    packed = pack(levels)
    assert torch.equal(packed, pack(wavedec(x, "5/3", axes=(1, 2), level=2), axes=(-2, -1)))
    assert torch.equal(packed[:, :3, :4], approx)
    horizontal, vertical, diagonal = fine
    assert torch.equal(packed[:, 5:, 7:], diagonal)
    without: Any = pack([approx, coarse, (horizontal, None, diagonal)])
    assert torch.equal(without, pack([approx, coarse, (horizontal, torch.zeros_like(vertical), diagonal)]))


def test_gradients_flow_through_both_directions() -> None:
    x = tensor(0, 5, 6).requires_grad_()
    pack(unpack(x, level=2)).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))


def test_bands_that_do_not_tile_are_refused() -> None:
    x = torch.zeros(4, 4)
    with pytest.raises(ValueError, match=r"pack needs bands that fit together, got shapes"):
        pack(wavedec2(torch.zeros(8, 8), "db2", boundary="zero", level=2))
    with pytest.raises(ValueError, match="pack needs as many details as approximations or one fewer, got 2 for 4"):
        pack([x, {"d": x[:, :2]}], axes=(-1,))
    with pytest.raises(TypeError, match="pack needs the details of a level as a mapping from da, ad, dd, got Tensor"):
        pack([x, x])
    with pytest.raises(ValueError, match="pack needs an approximation and at least one level of details, got 1"):
        pack([x])
    with pytest.raises(TypeError, match="unpack needs a whole number as level, got None"):
        unpack(x, level=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unpack needs level of at least 1, got 0"):
        unpack(x, level=0)
    with pytest.raises(ValueError, match=r"unpack needs different axes of a tensor of 2 axes, got \(0, 0\)"):
        unpack(x, level=1, axes=(0, 0))
    assert len(flat(wavedec2(torch.zeros(8, 8), "haar", level=1))) == 4
