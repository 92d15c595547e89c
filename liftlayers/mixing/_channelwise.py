"""What steps that do the same to the channels of every place have in common: their log-determinant."""

__all__ = ["Channelwise"]

import math
from abc import abstractmethod

from torch import Tensor, nn

from liftlayers.invertible import Invertible


class Channelwise(Invertible):
    r"""Base of the steps that map the channels of each of :math:`N` places alike.

    .. math:: \log |\det| = N \sum_c \lambda_c

    with the logarithmic scales :math:`\lambda` that the step has in ``log_scale``.
    """

    log_scale: nn.Parameter

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...
    @abstractmethod
    def inverse(self, x: Tensor) -> Tensor: ...

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self(x), self._log_det(x)

    def inverse_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(x), -self._log_det(x)

    def _log_det(self, x: Tensor) -> Tensor:
        """One for each of the batch, in memory of their own, so that others may be added in place."""
        return (math.prod(x.shape[2:]) * self.log_scale.sum()).repeat(x.shape[0])
