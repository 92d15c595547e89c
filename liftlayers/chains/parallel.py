"""Steps side by side, one for each band."""

__all__ = ["Parallel"]

from collections.abc import Sequence

import torch
from torch import Tensor

from liftlayers._bands import Bands, as_tuple, bare
from liftlayers.invertible import Invertible, Rebuilt


class Parallel(Invertible):
    r"""One step for each band, side by side.

    .. math:: (b_1, \dots, b_n) \mapsto (f_1(b_1), \dots, f_n(b_n))

    Log-determinants add. A condition goes to the steps that take one. ``Sequential()``, the empty chain, is the step
    that leaves its band as it is.

    Args:
        steps: The steps :math:`f_1, \dots, f_n`, each from one band to one band.

    Shape:
        - As the steps take and return them, of any dtype and range that they take.

    Raises:
        TypeError: If a step is not `Invertible`.
        ValueError: If there is no step, the number of bands is not that of the steps, a step returns several bands,
            or there is a condition and no step takes one.

    References:
        :math:`H \oplus H` in equation :eq:`lih` of :doc:`/mathematics`; [Deng2023]_.

    Example:
        >>> a, b = Parallel(PixelUnshuffle(2), Sequential())(torch.rand(1, 1, 4, 4), torch.rand(1, 4, 2, 2))
        >>> a.shape, b.shape
        (torch.Size([1, 4, 2, 2]), torch.Size([1, 4, 2, 2]))
    """

    def __init__(self, *steps: Invertible) -> None:
        super().__init__()
        if not steps:
            raise ValueError("Parallel needs at least one step, got none")
        for position, step in enumerate(steps):
            if not isinstance(step, Invertible):
                raise TypeError(f"Parallel needs Invertible steps, got {type(step).__name__} at position {position}")
            self.add_module(str(position), step)
        self._conditional = [step.conditional for step in steps]

    @property
    def conditional(self) -> bool:
        return any(self._conditional)

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return self._one_each([step(x, **o) for step, x, o in self._pairs(bands, condition)])

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return self._one_each([step.inverse(x, **o) for step, x, o in self._pairs(bands, condition)])

    def forward_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        results = [step.forward_and_log_det(x, **o) for step, x, o in self._pairs(bands, condition)]
        return self._one_each([y for y, _ in results]), torch.stack([log_det for _, log_det in results]).sum(0)

    def inverse_and_log_det(self, *bands: Tensor, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        results = [step.inverse_and_log_det(x, **o) for step, x, o in self._pairs(bands, condition)]
        return self._one_each([y for y, _ in results]), torch.stack([log_det for _, log_det in results]).sum(0)

    def rebuild(self, *outputs: Tensor, condition: Tensor | None = None) -> Rebuilt:
        return _joined([step.rebuild(y, **o) for step, y, o in self._pairs(outputs, condition)])

    def rebuild_inverse(self, *outputs: Tensor, condition: Tensor | None = None) -> Rebuilt:
        return _joined([step.rebuild_inverse(y, **o) for step, y, o in self._pairs(outputs, condition)])

    def _pairs(
        self, bands: tuple[Tensor, ...], condition: Tensor | None
    ) -> list[tuple[Invertible, Tensor, dict[str, Tensor]]]:
        """Every step with its band and its keywords."""
        if len(bands) != len(self):
            raise ValueError(f"Parallel needs {len(self)} band(s), one for each step, got {len(bands)}")
        if condition is not None and not self.conditional:
            raise ValueError(f"Parallel got a condition, but none of its {len(self)} steps takes one")
        used = [{} if condition is None or not takes else {"condition": condition} for takes in self._conditional]
        return list(zip(self._modules.values(), bands, used, strict=True))  # type: ignore[arg-type]

    def _one_each(self, outputs: Sequence[Bands]) -> Bands:
        for position, (step, output) in enumerate(zip(self._modules.values(), outputs, strict=True)):
            if len(as_tuple(output)) != 1:
                raise ValueError(
                    f"Parallel needs steps that return one band, got {len(as_tuple(output))} "
                    f"from step {position} ({type(step).__name__})"
                )
        return bare(tuple(as_tuple(output)[0] for output in outputs))

    def __len__(self) -> int:
        return len(self._modules)


def _joined(rebuilt: list[Rebuilt]) -> Rebuilt:
    """Inputs and outputs of all steps, in order."""
    return tuple(x for inputs, _ in rebuilt for x in inputs), tuple(y for _, outputs in rebuilt for y in outputs)
