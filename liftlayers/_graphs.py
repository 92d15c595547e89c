"""Helpers for graphs: the leaves that a graph of autograd leads to, and what compilers and exporters need."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import Node

F = TypeVar("F", bound=Callable[..., Any])


def constant_in_graphs(function: F) -> F:
    """Marks a function whose result the compiler computes once, as `torch.compiler.assume_constant_result` does.

    That decorator imports the whole compiler, which doubles the time to import this library.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def in_onnx_export() -> bool:
    """Whether a graph for ONNX is made; torch takes microseconds to say so."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return traced and torch.onnx.is_in_onnx_export()


def is_batch_of_gradients(x: Tensor) -> bool:
    """Whether a tensor is several gradients at once, as in ``torch.autograd.grad(is_grads_batched=True)``."""
    return torch._C._functorch.is_legacy_batchedtensor(x)  # type: ignore[attr-defined]


def temporary_leaf(x: Tensor) -> Tensor:
    """Returns the same numbers as a leaf that needs a gradient, but whose gradient is never asked for."""
    leaf = x.detach().requires_grad_()
    leaf.is_temporary = True  # type: ignore[attr-defined]
    return leaf


def version_of(tensor: Tensor) -> int:
    """Returns how often a tensor was written to; those made in inference mode do not count it."""
    return 0 if tensor.is_inference() else tensor._version


def counts_writes(tensor: Tensor) -> bool:
    """Whether `version_of` notices that a tensor is written to: not in inference mode, nor inside `torch.func`."""
    return torch.compiler.is_compiling() or not (tensor.is_inference() or torch._C._are_functorch_transforms_active())


def leaves_of_graph(tensors: Sequence[Tensor], ends: Iterable[Node | None] = ()) -> Iterator[tuple[Node, Tensor]]:
    """Yields the leaves that need a gradient, with their nodes; the search goes no further than to the nodes `ends`."""
    seen = {None, *ends}
    nodes = [tensor.grad_fn for tensor in tensors]
    for node in nodes:
        if node in seen:
            continue
        seen.add(node)
        following = node.next_functions  # type: ignore[union-attr]
        nodes += [each for each, _ in following]
        leaf = None if following else getattr(node, "variable", None)
        if leaf is not None and not hasattr(leaf, "is_temporary"):
            yield node, leaf  # type: ignore[misc]


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Returns a context that switches autocast off on the tensor's device, if it is on."""
    kind = x.device.type
    on = _has_autocast(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()


@constant_in_graphs  # the compiler of torch 2.6 cannot evaluate it
def _has_autocast(kind: str) -> bool:
    return torch.amp.is_autocast_available(kind)
