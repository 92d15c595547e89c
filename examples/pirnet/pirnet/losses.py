"""PIRNet's losses, equations (4) to (11) of the paper, as means over pixels and channels, and the loss of a step.

The paper sums where we average; with Adam that changes only the meaning of a clipping threshold. The loss of a step is
the `forward` of a module, so that wrappers for distributed training and compilation see all of it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from liftlayers.functional import haar_analysis
from pirnet.config import Config, LossConfig
from pirnet.model import PIRNet

Images = dict[str, tuple[Tensor, Tensor]]
"""The images of a step by name, each with its target."""

StepLoss = tuple[Tensor, Images]
"""The loss of a step, and its images."""


def hiding_loss(stego: Tensor, cover: Tensor, revealed: Tensor, secret: Tensor, weights: LossConfig) -> Tensor:
    r"""The loss of hiding.

    .. math::

        \lambda_C \lVert s - c \rVert^2 + \lambda_R \lVert r - d \rVert^2 + \lambda_F \lVert LL(s) - LL(c) \rVert^2

    Args:
        stego: :math:`s`, (B, 3, H, W).
        cover: :math:`c`.
        revealed: :math:`r`, from the stego image without restoration.
        secret: :math:`d`, the degraded secret that was hidden.
        weights: :math:`\lambda_C, \lambda_R, \lambda_F` are `conceal`, `reveal` and `low_frequency`.

    Returns:
        A scalar.
    """
    low_frequency = haar_analysis(stego - cover)[0].square().mean()  # LL is linear
    loss = weights.conceal * _mean_square(stego, cover) + weights.reveal * _mean_square(revealed, secret)
    return loss + weights.low_frequency * low_frequency


def restoration_loss(stego: Tensor, cover: Tensor, restored: Tensor, truth: Tensor, weights: LossConfig) -> Tensor:
    r"""The loss of restoring.

    .. math::

        \lambda_1 \lVert x - t \rVert^2 + \lambda_2 \max(\lVert s' - c \rVert^2 - 10^{-q / 10}, 0)

    with the maximum taken for each image of the batch: one that is q dB from its cover need not come closer.

    Args:
        stego: :math:`s'`, the restored stego image, (B, 3, H, W).
        cover: :math:`c`.
        restored: :math:`x`, revealed from the restored stego.
        truth: :math:`t`, the secret before it was degraded.
        weights: :math:`\lambda_1, \lambda_2` are `secret` and `stego`, and :math:`q` is `stego_enough`; without it,
            nothing is subtracted.

    Returns:
        A scalar.
    """
    distance = _mean_square(stego, cover)
    if weights.stego_enough:
        distance = (_mean_squares(stego, cover) - 10 ** (-weights.stego_enough / 10)).relu().mean()
    return weights.secret * _mean_square(restored, truth) + weights.stego * distance


def _mean_squares(x: Tensor, y: Tensor) -> Tensor:
    """The mean square error of each image; its gradient has the layout of the images, unlike that of a mean."""
    return (x - y).square().sum(dim=(1, 2, 3)) / x[0].numel()


def _mean_square(x: Tensor, y: Tensor) -> Tensor:
    return _mean_squares(x, y).mean()


class TrainStep(nn.Module):
    """Hiding in stage 1, restoring in stage 2, both in stage 3.

    Args:
        model: The network.
        config: The run's config; `loss` is read.
    """

    def __init__(self, model: PIRNet, config: Config) -> None:
        super().__init__()
        self.model = model
        self.weights = config.loss

    def forward(self, cover: Tensor, truth: Tensor, secret: Tensor, tasks: Sequence[str], stage: int) -> StepLoss:
        """The loss of a stage, 1 to 3, for cover, true and degraded secret (B, 3, H, W), and the images in it."""
        output = self.model(cover, secret, tasks, revealing=stage != 2, restoring=stage != 1)
        images = {"stego": (output.stego, cover)}
        hiding = restoration = torch.zeros((), device=cover.device)
        if output.revealed is not None:
            images["revealed"] = (output.revealed, secret)
            hiding = hiding_loss(output.stego, cover, output.revealed, secret, self.weights)
        if output.restored_stego is not None and output.restored is not None:
            images |= {"restored_stego": (output.restored_stego, cover), "restored": (output.restored, truth)}
            restoration = restoration_loss(output.restored_stego, cover, output.restored, truth, self.weights)
        return (restoration + self.weights.hiding * hiding if stage == 3 else restoration + hiding), images


class ClearStep(nn.Module):
    """The cloud's network on the degraded secret itself: the quality that it reaches if nothing is hidden.

    Args:
        model: The network, of which only `lsr` is used.
    """

    def __init__(self, model: PIRNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, cover: Tensor, truth: Tensor, secret: Tensor, tasks: Sequence[str], stage: int) -> StepLoss:
        """As in `TrainStep`; cover and stage are not used."""
        del cover, stage
        restored = self.model.lsr(secret, tasks)
        return _mean_square(restored, truth), {"restored": (restored, truth)}
