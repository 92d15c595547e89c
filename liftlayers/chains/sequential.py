"""Chains of invertible steps."""

from collections.abc import Iterable, Iterator
from typing import overload

from liftlayers.invertible import Invertible
from liftlayers.memory.container import Container, Memory


class Sequential(Container):
    r"""Invertible steps, one after the other; the inverse undoes them from the last to the first.

    .. math:: f = f_n \circ \dots \circ f_1, \qquad f^{-1} = f_1^{-1} \circ \dots \circ f_n^{-1}

    Each step receives all bands that the step before it returned. A chain is a list of its steps: ``len``, iteration,
    indices, slices, assignment, ``append``, ``insert`` and ``pop`` work as for a list; a slice is a `Sequential` of the
    same steps. Parameters are named ``0.…``, ``1.…``, as in `torch.nn`. Equation :eq:`chain-rounding` of
    :doc:`/mathematics` bounds the rounding error of a long chain, after :eq:`chain`.

    Args:
        steps: The steps :math:`f_1, \dots, f_n`, in the order of `forward`.
        memory: What is kept for the gradient, in either direction. It may be set later, and names of parameters do not
            depend on it. ``"store"`` leaves the choice to autograd. ``"reversible"`` keeps the last bands and rebuilds
            the others from them: this takes a third more computation, and gradients are equal up to rounding, which is
            monitored. Tensors that a network uses without holding them, as in a closure, get no gradient.
            ``"checkpoint"`` keeps the bands between steps and computes each step again. :doc:`/memory` compares the
            modes. Log-determinants are computed as with ``"store"``.

    Shape:
        - As the first step takes and the last one returns them.

    Raises:
        TypeError: If a step is not `Invertible`.
        ValueError: If a step takes another number of bands than the step before it returned (both are named), if
            `memory` is none of the three, or if there is a condition and no step takes one. A note on the error of a
            step says which step it came from.
        RuntimeError: With ``"reversible"``, if the backward pass is to be differentiated again, or for several
            gradients at once.

    Warns:
        RuntimeWarning: With ``"reversible"``, in the backward pass, if rebuilt inputs drift by more than 1e-3 of their
            size, or if a network keeps an activation.

    References:
        [Gomez2017]_ on rebuilding activations from outputs; [Jacobsen2018]_ on fully invertible networks;
        :doc:`/memory`.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)), memory="reversible")
        >>> approx, detail = chain(torch.rand(1, 3, 8, 8))
        >>> chain.inverse(approx, detail).shape
        torch.Size([1, 3, 8, 8])
        >>> len(chain), type(chain[0]).__name__
        (2, 'Haar')
    """

    def __init__(self, *steps: Invertible, memory: Memory = "store") -> None:
        super().__init__(memory=memory)
        self._set_steps(steps)

    def steps(self) -> tuple[Invertible, ...]:
        return tuple(self._checked(self._modules.values()))  # `setattr` and `add_module` accept any module

    def append(self, step: Invertible) -> "Sequential":
        """Adds a step at the end and returns the chain.

        Raises:
            TypeError: If `step` is not `Invertible`.
        """
        return self.insert(len(self), step)

    def insert(self, index: int, step: Invertible) -> "Sequential":
        """Adds a step in front of the one at a position and returns the chain; later steps move up by one.

        Raises:
            TypeError: If `step` is not `Invertible`.
        """
        steps = list(self)
        steps.insert(index, step)
        self._set_steps(steps)
        return self

    def pop(self, index: int = -1) -> Invertible:
        """Removes a step, the last one by default, and returns it.

        Raises:
            IndexError: If there is no step at that position.
        """
        step = list(self)[index]
        del self[index]
        return step

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Invertible]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    @overload
    def __getitem__(self, index: int) -> Invertible: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> Invertible:
        steps = list(self)
        return Sequential(*steps[index], memory=self.memory) if isinstance(index, slice) else steps[index]

    @overload
    def __setitem__(self, index: int, step: Invertible) -> None: ...
    @overload
    def __setitem__(self, index: slice, step: Iterable[Invertible]) -> None: ...
    def __setitem__(self, index: int | slice, step: Invertible | Iterable[Invertible]) -> None:
        steps = list(self)
        steps[index] = step  # type: ignore[call-overload]
        self._set_steps(steps)

    def __delitem__(self, index: int | slice) -> None:
        steps = list(self)
        del steps[index]
        self._set_steps(steps)

    def _set_steps(self, steps: Iterable[Invertible]) -> None:
        """Replaces all steps; they are named by their positions."""
        self._modules = {str(position): step for position, step in enumerate(self._checked(steps))}
