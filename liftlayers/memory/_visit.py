"""One step of a reversible pass: what its backward pass needs, and its second evaluation there."""

import warnings
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from liftlayers._bands import is_differentiable
from liftlayers._graphs import leaves_of_graph
from liftlayers.memory._drift import Sample
from liftlayers.memory._inventory import Inventory, stored_tensors
from liftlayers.memory._leaves import Bands, Leaf
from liftlayers.memory._recompute import Rebuilt, Record, rebuild, repeat


class _Mark:
    """Is stored in a node of a graph, and lives as long as the node."""


@dataclass
class Visit:
    """What the backward pass needs to know of one step, besides the tensors that autograd saves.

    `shared` says where its parameters, and then the condition if it takes one, are in the list of tensors that the
    steps of the chain share. `needs` says which inputs need a gradient. `kept` is the place of the inputs among all
    that are kept, if they are, and `anchor` a sample of the bands before the step. `strides` are those of the outputs
    if the step drew random numbers: dropout and its like fill memory with them in the order in which their input lies
    there.
    """

    leaf: Leaf
    inventory: Inventory
    shared: list[int] = field(default_factory=list)
    record: Record = field(init=False)
    needs: tuple[bool, ...] = ()
    kept: slice | None = None
    anchor: Sample | None = None
    strides: list[tuple[int, ...]] | None = None
    marks: list[weakref.ref[_Mark]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"step {self.leaf.number} ({type(self.leaf.step).__name__})"

    def again(self, bands: Bands, tensors: Sequence[Tensor]) -> Rebuilt:
        """Returns the inputs of the step, as leaves, and its outputs with a graph.

        Args:
            bands: The outputs, or the inputs if they were kept.
            tensors: All that the steps of the chain share.
        """
        if self.strides and self.kept is None:
            bands = tuple(_laid_out(x, strides) for x, strides in zip(bands, self.strides, strict=True))
        evaluate = rebuild if self.kept is None else repeat
        # If there are as many outputs as inputs, each requires a gradient if its input does: see `own_rebuild`.
        needs = self.needs if len(self.needs) == len(bands) else (True,) * len(bands)
        shared = [tensors[position] for position in self.shared]
        parameters = shared[: len(self.inventory.parameters)]
        options = self.leaf.options(shared[-1] if shared else None)
        ready = self.record.is_ready(parameters)
        stored = not ready and any(stored_tensors(*each) for each in self.inventory.changed())
        bands = tuple(map(_as_leaf, bands, (True,) * len(bands) if stored else needs))
        with nullcontext() if ready else self.record.again(parameters):
            inputs, outputs = evaluate(self.leaf, bands, options)
            if stored:
                self._warn_of_activations(inputs)
        nodes = self._require_known(outputs, [*inputs, *shared])
        if not (stored or is_in_torch_dispatch_mode()):  # counters of FLOPs keep the graph for a while
            self.marks = [_marked(nodes[id(x)]) for x in inputs if id(x) in nodes]
        return inputs, outputs

    def warn_of_kept_graph(self) -> None:
        """Warns if anything but this chain holds a part of the graph of `again`, whose outputs are gone by now."""
        if any(mark() is not None for mark in self.marks):
            warnings.warn(
                f"{self}: a tensor that depends on its inputs is kept outside its modules, as in a list, a closure or "
                "by a hook. It had no graph in this pass with memory='reversible'. If a loss uses it, a part of the "
                "gradient is missing: use memory='checkpoint' or 'store'. If none does, keep it detached",
                RuntimeWarning,
                stacklevel=2,
            )

    def _warn_of_activations(self, inputs: Bands) -> None:
        """Warns of tensors that a module has stored and that depend on the inputs: the forward pass made no graph."""
        of_inputs = {id(x) for x in inputs}
        needing = {id(x) for x, need in zip(inputs, self.needs, strict=True) if need}
        for module, attributes in self.inventory.changed():
            for name, value in stored_tensors(module, attributes).items():
                found = {id(leaf) for _, leaf in leaves_of_graph([value])} if value.grad_fn else {id(value)}
                if found & of_inputs and (found & needing or found - of_inputs):
                    warnings.warn(
                        f"{self}: {type(module).__name__} has stored an activation as {name}, which had no graph in "
                        "this pass with memory='reversible'. If a loss uses it, a part of the gradient is missing: use "
                        "memory='checkpoint' or 'store'. If none does, store it detached",
                        RuntimeWarning,
                        stacklevel=2,
                    )

    def _require_known(self, outputs: Bands, known: Sequence[Tensor]) -> dict[int, Node]:
        """Returns the nodes of the leaves that the graph of the outputs leads to.

        Raises:
            RuntimeError: If there are other leaves among them, whose gradients would be lost.
        """
        own, nodes = {id(tensor) for tensor in known}, {}
        for node, leaf in leaves_of_graph(outputs, {tensor.grad_fn for tensor in known}):
            if id(leaf) in own:
                nodes[id(leaf)] = node
                continue
            # A checkpoint around the chain unpacks other tensors, which share a node with the original ones.
            if node not in {get_gradient_edge(tensor).node for tensor in known if tensor.requires_grad}:
                raise RuntimeError(
                    f"memory='reversible' finds no gradient for a tensor of shape {tuple(leaf.shape)}, which {self} "
                    "uses without holding it: register it as a parameter or an attribute of the network that uses it, "
                    "or use memory='checkpoint'"
                )
        return nodes


def _marked(node: Node) -> weakref.ref[_Mark]:
    """Stores a mark in a node, and returns a reference that shows whether the node still exists."""
    node.metadata["mark"] = mark = _Mark()  # type: ignore[index]  # a property, which torch declares as a method
    return weakref.ref(mark)


def _as_leaf(x: Tensor, needs: bool) -> Tensor:
    """Returns a band as a leaf that needs a gradient or not, as long as its dtype can have one."""
    if x.requires_grad == needs and x.is_leaf:
        return x
    return x.detach().requires_grad_(needs and is_differentiable(x))


def _laid_out(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Returns a band in memory of the given strides, or as it is if these repeat numbers."""
    return x if x.stride() == strides or 0 in strides else x.new_empty_strided(x.shape, strides).copy_(x)


def without_hooks(tensor: Tensor) -> Tensor:
    """Returns a tensor, or a leaf of the same values if it has hooks, which autograd is to call only for the total."""
    hooked = tensor._backward_hooks or tensor.retains_grad
    return tensor.detach().requires_grad_(tensor.requires_grad) if hooked else tensor


def differentiate(
    inputs: Bands, outputs: Bands, gradients: Sequence[Tensor | None], parameters: list[Tensor]
) -> tuple[list[Tensor | None], Sequence[Tensor | None]]:
    """Returns the gradients of inputs, which are leaves, and of parameters, from those of the outputs."""
    wanted = [x for x in inputs if x.requires_grad]
    passed: dict[int, Tensor | None] = {id(x): None for x in wanted}
    reached: list[tuple[Tensor, Tensor]] = []
    for y, gradient in zip(outputs, gradients, strict=True):
        if id(y) in passed:  # an input that is returned as it is: to ask autograd takes ten times as long
            passed[id(y)] = add(passed[id(y)], gradient)
        elif gradient is not None and y.requires_grad:
            reached.append((y, gradient))
    found: Sequence[Tensor | None] = [None] * (len(wanted) + len(parameters))
    if reached and found:
        targets = [*wanted, *parameters]
        found = torch.autograd.grad([y for y, _ in reached], targets, [g for _, g in reached], allow_unused=True)
    of_inputs = iter(found)
    return [add(passed[id(x)], next(of_inputs)) if x.requires_grad else None for x in inputs], found[len(wanted) :]


def add(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    """Returns the sum of two gradients; None is zero."""
    return gradient if total is None else total if gradient is None else total + gradient
