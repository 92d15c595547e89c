"""Padding up to a multiple: zeros at the right and bottom only, and cropping undoes it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional import pad_to_multiple
from tests.strategies import images


@given(x=images(multiple=1), multiple=st.integers(1, 9))
def test_pads_as_little_as_needed_and_crops_back(x: Tensor, multiple: int) -> None:
    height, width = x.shape[-2:]
    padded = pad_to_multiple(x, multiple)
    assert torch.equal(padded[..., :height, :width], x)
    for side, before in zip(padded.shape[-2:], (height, width), strict=True):
        assert side % multiple == 0
        assert 0 <= side - before < multiple
    assert not padded[..., height:, :].any()
    assert not padded[..., width:].any()


@given(x=images(multiple=4))
def test_an_image_that_fits_is_returned_itself(x: Tensor) -> None:
    assert pad_to_multiple(x, 4) is x


@pytest.mark.parametrize("multiple", [0, -2])
def test_multiples_below_one_are_refused(multiple: int) -> None:
    with pytest.raises(ValueError, match=f"pad_to_multiple needs multiple of at least 1, got {multiple}$"):
        pad_to_multiple(torch.zeros(1, 1, 4, 4), multiple)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_integers_keep_their_dtype(dtype: torch.dtype) -> None:
    padded = pad_to_multiple(torch.full((1, 3, 3, 4), 200).to(dtype), 4)
    assert padded.dtype == dtype
    assert torch.equal(padded.sum((1, 2, 3), dtype=torch.int64), torch.full((1, 3, 3, 4), 200).to(dtype).sum()[None])


def test_other_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pad_to_multiple needs a \(B, C, H, W\) tensor, got \(3, 4, 4\)"):
        pad_to_multiple(torch.zeros(3, 4, 4), 2)
