"""PIRNet's losses, equations (4) to (11) of the paper, as means over pixels and channels.

The paper sums where we average: under Adam that changes only what a clipping threshold means.
"""

__all__ = ["hiding_loss", "restoration_loss"]

import torch.nn.functional as F
from torch import Tensor

from liftlayers.functional import haar_analysis
from pirnet.config import LossConfig


def hiding_loss(stego: Tensor, cover: Tensor, revealed: Tensor, secret: Tensor, weights: LossConfig) -> Tensor:
    r"""What hiding is to keep small.

    .. math::

        \lambda_C \lVert s - c \rVert^2 + \lambda_R \lVert r - d \rVert^2 + \lambda_F \lVert LL(s) - LL(c) \rVert^2

    Args:
        stego: :math:`s`, (B, 3, H, W).
        cover: :math:`c`.
        revealed: :math:`r`, from the stego as it is.
        secret: :math:`d`, the degraded secret that was hidden.
        weights: :math:`\lambda_C, \lambda_R, \lambda_F` are `conceal`, `reveal` and `low_frequency`.

    Returns:
        A scalar.
    """
    low_frequency = F.mse_loss(haar_analysis(stego)[0], haar_analysis(cover)[0])
    return (
        weights.conceal * F.mse_loss(stego, cover)
        + weights.reveal * F.mse_loss(revealed, secret)
        + weights.low_frequency * low_frequency
    )


def restoration_loss(
    restored_stego: Tensor, cover: Tensor, restored: Tensor, truth: Tensor, weights: LossConfig
) -> Tensor:
    r"""What restoring is to keep small.

    .. math:: \lambda_1 \lVert x - t \rVert^2 + \lambda_2 \lVert s' - c \rVert^2

    Args:
        restored_stego: :math:`s'`, (B, 3, H, W).
        cover: :math:`c`.
        restored: :math:`x`, revealed from the restored stego.
        truth: :math:`t`, the secret before it was degraded.
        weights: :math:`\lambda_1, \lambda_2` are `secret` and `stego`.

    Returns:
        A scalar.
    """
    return weights.secret * F.mse_loss(restored, truth) + weights.stego * F.mse_loss(restored_stego, cover)
