"""How a list of steps is evaluated in each memory mode."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils import parametrize

from liftlayers._bands import as_tuple
from liftlayers.memory._leaves import Leaf
from liftlayers.memory._recompute import checkpointed
from liftlayers.memory.reversible import reversible

Memory = Literal["store", "reversible", "checkpoint"]
Bands = tuple[Tensor, ...]
Observe = Callable[[int, Bands, Bands], None]


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


def run(
    leaves: Sequence[Leaf],
    bands: Bands,
    options: Sequence[dict[str, Any]],
    *,
    mode: Memory,
    observe: Observe | None = None,
) -> Bands:
    """Maps bands through steps, one after the other.

    Args:
        leaves: The steps.
        bands: What the first of them is given.
        options: The keywords of each step.
        mode: What is kept for the gradient; one that `effective_mode` returned.
        observe: Is called after each step, with its number, its inputs and its outputs, but not when a step is
            computed again in the backward pass.
    """
    if mode == "reversible":
        return reversible(leaves, bands, options, observe)
    for number, (leaf, keywords) in enumerate(zip(leaves, options, strict=True)):
        function = checkpointed(leaf) if mode == "checkpoint" else leaf.function
        outputs = as_tuple(leaf.call(function, bands, keywords))
        if observe is not None:
            observe(number, leaf.taken(bands), outputs)
        bands = leaf.put(bands, outputs)
    return bands
