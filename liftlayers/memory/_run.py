"""How a list of steps is evaluated in each memory mode."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils import parametrize

from liftlayers.memory._leaves import Bands, Leaf
from liftlayers.memory._recompute import run_in_turn
from liftlayers.memory.reversible import reversible

Memory = Literal["store", "reversible", "checkpoint"]


def require_mode(who: str, memory: str) -> None:
    """Raises `ValueError` unless a mode is one of the three."""
    if memory not in get_args(Memory):
        raise ValueError(f"{who} needs a memory of 'store', 'reversible' or 'checkpoint', got {memory!r}")


def effective_mode(memory: Memory) -> Memory:
    """Returns the mode that can be kept at present.

    Without gradients nothing is kept anyway. In `torch.nn.utils.parametrize.cached()`, a weight is computed once for
    several passes, with a graph that autograd has to follow. `torch.func`, forward mode and `torch.compile` cannot
    follow a chain that is an autograd function of its own; torch.compile can follow checkpoints.
    """
    if memory == "store" or not torch.is_grad_enabled():
        return "store"
    if memory == "reversible" and parametrize._cache_enabled:  # a weight cached without gradients would be a constant
        return "store"
    if torch.compiler.is_compiling():
        return "checkpoint"
    return "store" if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 else memory


def run(leaves: Sequence[Leaf], bands: Bands, condition: Tensor | None, *, mode: Memory) -> Bands:
    """Maps bands through steps, one after the other.

    Args:
        leaves: The steps.
        bands: What the first of them is given.
        condition: What all steps that take a condition are given.
        mode: What is kept for the gradient; one that `effective_mode` returned.
    """
    if mode == "reversible":
        return reversible(leaves, bands, condition)
    return run_in_turn(leaves, bands, condition, twice=mode == "checkpoint")
