"""Training without storing the activations of every step.

A container of steps has a `memory` mode that says what is kept for the gradient, in either direction:

============== ===================================== ============================================
mode           kept                                  computed in the backward pass
============== ===================================== ============================================
"store"        what autograd keeps                   gradients only
"checkpoint"   the bands between steps               each step again, from its inputs
"reversible"   the bands that leave the container    the inputs of each step, from its outputs
============== ===================================== ============================================
"""

__all__ = ["set_memory"]

from typing import TypeVar

from torch import nn

from liftlayers.memory.container import Memory, WithMemory, require_mode

M = TypeVar("M", bound=nn.Module)


def set_memory(module: M, mode: Memory) -> M:
    r"""Sets the memory mode of every container inside a module.

    Containers are `Sequential`, `Parallel`, `LiftingPyramid` and exact chains, which compose steps:

    .. math:: f_n \circ \dots \circ f_1

    ``"store"`` leaves to autograd what
    is kept for the gradient, ``"checkpoint"`` keeps the bands between steps and computes each step again, and
    ``"reversible"`` keeps the last bands and rebuilds the others from them. :doc:`/memory` compares the modes.

    Networks that depend on state which PyTorch does not track, such as random numbers of Python, need ``"store"``.
    Networks that pass activations on to a loss need ``"store"`` or ``"checkpoint"``.

    Args:
        module: Any module; containers are found at any depth, the module itself included. Modules without one are left
            as they are.
        mode: ``"store"``, ``"reversible"`` or ``"checkpoint"``.

    Shape:
        - The mode changes neither shapes nor the names of parameters; outputs and gradients differ by rounding at most.

    Returns:
        The same module.

    Raises:
        ValueError: If `mode` is none of the three; then nothing is set.

    References:
        [Gomez2017]_, who rebuild activations; [Chen2016]_, who compute them again.

    Example:
        >>> pyramid = LiftingPyramid([Sequential(Haar()), Sequential(Haar())])
        >>> set_memory(pyramid, "reversible").memory, pyramid.levels[0].memory
        ('reversible', 'reversible')
    """
    require_mode("set_memory", mode)
    for container in module.modules():
        if isinstance(container, WithMemory):
            container.memory = mode
    return module
