"""Shared by the tests of ActNorm: layers and batches, and the ways to copy or load a layer."""

import pickle

import torch
from torch import Tensor

from liftlayers.mixing.actnorm import ActNorm
from liftlayers.testing import randomise_
from tests.strategies import tensor


def initialised(channels: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> ActNorm:
    """A layer that has seen a batch and was then trained."""
    norm = ActNorm(channels).to(dtype)
    norm(tensor(seed, 2, channels, 4, 4, dtype=dtype))
    return randomise_(norm, seed)


def batch(seed: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """Channels with different means and variances."""
    scales, means = torch.arange(1, channels + 1).view(-1, 1, 1), torch.arange(channels).view(-1, 1, 1)
    return (tensor(seed, 4, channels, 5, 6, dtype=torch.float64) * scales + means).to(dtype)


def repickled(norm: ActNorm) -> ActNorm:
    return pickle.loads(pickle.dumps(norm))


def loaded_from(state: dict[str, Tensor]) -> ActNorm:
    fresh = ActNorm(3)
    fresh.load_state_dict(state)
    return fresh


def loaded(norm: ActNorm) -> ActNorm:
    return loaded_from(norm.state_dict())


def assigned(norm: ActNorm) -> ActNorm:
    with torch.device("meta"):
        fresh = ActNorm(3)
    fresh.load_state_dict(norm.state_dict(), assign=True)
    return fresh
