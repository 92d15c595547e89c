"""Training batches, made in the training process or by workers beside it: the same ones either way."""

__all__ = ["Batch", "Batches"]

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pirnet.data import PairCrops
from pirnet.degrade import Degradation, degrade
from pirnet.support.seeds import seeded_generator

Batch = tuple[Tensor, Tensor, Tensor]
"""Covers, true and degraded secrets, each (B, 3, crop, crop)."""


class Batches(Dataset):
    """The batch of each step, which depends on the seed and the step alone.

    Args:
        crops: Where pairs come from.
        tasks: The task of each pair in a batch.
        degradation: What spoils the secrets.
        part: Which pairs to keep, for processes that share each batch.
    """

    def __init__(
        self, crops: PairCrops, tasks: Sequence[str], *, degradation: Degradation, part: slice = slice(None)
    ) -> None:
        self.crops = crops
        self.tasks = list(tasks)
        self.degradation = degradation
        self.part = part

    def __getitem__(self, step: int) -> Batch:
        generator = seeded_generator(self.crops.seed, step)
        cover, truth = self.crops.batch(step, len(self.tasks))
        secret = torch.empty_like(truth)
        for task in sorted(set(self.tasks)):
            chosen = [i for i, name in enumerate(self.tasks) if name == task]
            secret[chosen] = degrade(truth[chosen], task, self.degradation, generator=generator)
        return cover[self.part], truth[self.part], secret[self.part]

    def from_step(self, first: int, end: int, *, workers: int, pinned: bool) -> Iterator[Batch]:
        """The batches of steps `first` to `end - 1`, made ahead by so many workers."""
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=range(first, end),
            num_workers=workers,
            pin_memory=pinned,
            # forked, since pickling would copy every photo into shared memory
            multiprocessing_context="fork" if workers else None,
            generator=torch.Generator(),  # else it would draw from the global one
        )
        return iter(loader)
