"""One step for each band."""

from torch import Tensor

from liftlayers.invertible import Invertible, Part
from liftlayers.memory.container import Container, Memory


class Parallel(Container):
    r"""One step for each band.

    .. math:: (b_1, \dots, b_n) \mapsto (f_1(b_1), \dots, f_n(b_n))

    Log-determinants add. A condition goes to the steps that take one. ``Sequential()``, the empty chain, is the step
    that leaves its band as it is.

    Args:
        steps: The steps :math:`f_1, \dots, f_n`, each from one band to one band.
        memory: What is kept for the gradient, as for `Sequential`.

    Shape:
        - As the steps take and return them, of any dtype and range that they take.

    Raises:
        TypeError: If a step is not `Invertible`.
        ValueError: If there is no step, the number of bands is not that of the steps, a step returns several bands,
            `memory` is unknown, or there is a condition and no step takes one. A note on the error of a step says
            which step it came from.

    References:
        :math:`H \oplus H` in equation :eq:`lih` of :doc:`/mathematics`; [Deng2023]_.

    Example:
        >>> a, b = Parallel(PixelUnshuffle(2), Sequential())(torch.rand(1, 1, 4, 4), torch.rand(1, 4, 2, 2))
        >>> a.shape, b.shape
        (torch.Size([1, 4, 2, 2]), torch.Size([1, 4, 2, 2]))
    """

    def __init__(self, *steps: Invertible, memory: Memory = "store") -> None:
        super().__init__(memory=memory)
        for position, step in enumerate(self._checked(steps, least=1)):
            self.add_module(str(position), step)

    def steps(self) -> tuple[Part, ...]:
        last = len(self) - 1
        steps = self._checked(self._modules.values())  # `setattr` and `add_module` accept any module
        return tuple(Part(step, before=i, after=last - i) for i, step in enumerate(steps))

    def require_bands(self, bands: tuple[Tensor, ...], *, inverted: bool) -> None:  # noqa: ARG002
        if len(bands) != len(self):
            raise ValueError(f"Parallel needs {len(self)} band(s), one for each step, got {len(bands)}")

    def num_returned(self, *, inverted: bool) -> int:  # noqa: ARG002
        return 1

    def __len__(self) -> int:
        return len(self._modules)
