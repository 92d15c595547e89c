"""One training step's loss as the `forward` of a module, so that a distributed or compiling wrapper sees all of it."""

__all__ = ["ClearStep", "Images", "TrainStep"]

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pirnet.config import Config
from pirnet.losses import hiding_loss, restoration_loss
from pirnet.model import PIRNet

Images = dict[str, tuple[Tensor, Tensor]]
"""What a step looked at, by name: an image and its target."""


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

    def forward(
        self, cover: Tensor, truth: Tensor, secret: Tensor, tasks: Sequence[str], stage: int
    ) -> tuple[Tensor, Images]:
        """Loss of a stage, 1 to 3, for cover, true and degraded secret (B, 3, H, W), and the images behind it."""
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
    """The cloud's network on the degraded secret itself: what it can do where nothing needs to be hidden.

    Args:
        model: The network, of which only `lsr` is used.
    """

    def __init__(self, model: PIRNet) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, cover: Tensor, truth: Tensor, secret: Tensor, tasks: Sequence[str], stage: int
    ) -> tuple[Tensor, Images]:
        """As of `TrainStep`; cover and stage play no part."""
        del cover, stage
        restored = self.model.lsr(secret, tasks)
        return F.mse_loss(restored, truth), {"restored": (restored, truth)}
