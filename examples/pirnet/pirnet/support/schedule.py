"""How the learning rate and the running average of the weights change within a stage."""

import math

import torch
from torch import nn

from pirnet.config import TrainConfig


def learning_rate(done: int, steps: int, largest: float, train: TrainConfig) -> float:
    """The learning rate after `done` of `steps` steps: linear warm-up, then half a cosine down to the final share."""
    warm = min(1.0, (done + 1) / max(1, train.warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * done / max(1, steps)))
    return largest * warm * (train.final_rate + (1 - train.final_rate) * cosine)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, *, decay: float, done: int) -> None:
    """Updates the running average after `done` steps n of a stage; it keeps at most (1 + n) / (10 + n) of itself.

    A stage starts from the average, so that of frozen weights are the weights themselves.
    """
    keep = min(decay, (1 + done) / (10 + done))
    for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
        if parameter.requires_grad:
            mean.lerp_(parameter, 1 - keep)
    for statistic, buffer in zip(average.buffers(), model.buffers(), strict=True):
        statistic.copy_(buffer)
