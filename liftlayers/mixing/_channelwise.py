"""The base of steps that map the channels in the same way at every position: it computes their log-determinant."""

import math

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands
from liftlayers.invertible import Invertible


class Channelwise(Invertible):
    r"""Base of steps that map the channels in the same way at each of :math:`N` positions.

    .. math:: \log |\det| = N \sum_c \lambda_c

    with the step's logarithmic scales :math:`\lambda`, its parameter ``log_scale``.
    """

    log_scale: nn.Parameter

    def forward_and_log_det(self, x: Tensor) -> tuple[Bands, Tensor]:
        self._require_stated_map("forward", (x,), {})
        return self(x), self._log_det(x)

    def inverse_and_log_det(self, x: Tensor) -> tuple[Bands, Tensor]:
        self._require_stated_map("inverse", (x,), {})
        return self.inverse(x), -self._log_det(x)

    def _log_det(self, x: Tensor) -> Tensor:
        """Returns one number per sample, in a new tensor, so that callers may add to it in place.

        In float32 at least: that of a large image is more than float16 can hold.
        """
        log_scale = self.log_scale.to(torch.promote_types(self.log_scale.dtype, torch.float32))
        return (math.prod(x.shape[2:]) * log_scale.sum()).repeat(x.shape[0])
