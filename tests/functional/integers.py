"""Shared by the tests of lossless wavelets: integers of every dtype, and the bands as a list."""

import numpy as np
import pytest
import torch
from torch import Tensor

DTYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


wavelets = pytest.mark.parametrize("wavelet", ["haar", "5/3"])


dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def integers(seed: int, *shape: int, dtype: torch.dtype = torch.int16, bits: int | None = None) -> Tensor:
    """Integers of the whole range of a dtype, or of that many bits without a sign."""
    low, high = (torch.iinfo(dtype).min, torch.iinfo(dtype).max) if bits is None else (0, 2**bits - 1)
    draw = np.random.default_rng(seed).integers(low, high, shape, dtype=np.int64, endpoint=True)
    return torch.from_numpy(draw).to(dtype)


def flat(coefficients: tuple[Tensor, tuple[Tensor, Tensor, Tensor]]) -> list[Tensor]:
    approx, details = coefficients
    return [approx, *details]
