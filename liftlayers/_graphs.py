"""What the graph of a tensor leads to."""

__all__ = ["leaves_of_graph", "temporary_leaf"]

from collections.abc import Container, Iterator, Sequence

from torch import Tensor
from torch.autograd.graph import Node


def temporary_leaf(x: Tensor) -> Tensor:
    """Returns the same numbers as a leaf that needs a gradient, which nobody will ask for."""
    leaf = x.detach().requires_grad_()
    leaf.is_temporary = True  # type: ignore[attr-defined]
    return leaf


def leaves_of_graph(tensors: Sequence[Tensor], ends: Container[Node | None] = ()) -> Iterator[tuple[Node, Tensor]]:
    """Yields the leaves that need a gradient, with their nodes; the search goes no further than to the nodes `ends`."""
    seen: set[Node] = set()
    nodes = [tensor.grad_fn for tensor in tensors]
    for node in nodes:
        if node is None or node in seen or node in ends:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and not hasattr(leaf, "is_temporary"):
            yield node, leaf
        nodes += [following for following, _ in node.next_functions]
