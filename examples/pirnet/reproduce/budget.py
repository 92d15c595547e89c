"""What one row of a comparison may cost: the same minutes for every system, turned into whole steps beforehand."""

__all__ = ["BUDGETS", "Budget", "scheduled", "steps_within"]

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pirnet.config import Config
from pirnet.trainer import Trainer

SHARES = (0.4, 0.3, 0.3)  # of the minutes: hiding, restoring, both
TRIAL = 0.05  # of a stage's minutes: how long its steps are timed for, and
LEAST = 2  # steps at least; the first is left out, since it also allocates
ENDLESS = 10**9  # steps of a stage that is only timed


@dataclass(frozen=True)
class Budget:
    """The same for every row of a comparison; the defaults finish Table 1 within 20 minutes on two CPU cores.

    Raises:
        ValueError: If it leaves nothing to do, or sizes that not every system takes.
    """

    budget: Literal["tiny", "hour", "day"] = "tiny"
    """Budget that this started from."""
    minutes: float = 0.5
    """Minutes to train a row for: 4 tenths hiding, 3 restoring, 3 both. Timing steps and testing come on top."""
    preset: Literal["quick", "base", "paper"] = "quick"
    """Preset with PIRNet's networks; its losses and the rest of its recipe are every row's."""
    crop: int = 48
    """Side of the training crops, in pixels."""
    batch_size: int = 4
    """Pairs of cover and secret in a step."""
    pairs: int = 2
    """Pairs to test on at most, the first by name."""
    side: int = 128
    """Greatest side of the tested centre crops, in pixels."""

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ValueError(f"--minutes needs more than 0, got {self.minutes}")
        for name in ("crop", "side"):
            if (size := getattr(self, name)) < 16 or size % 16:
                raise ValueError(f"--{name} needs a multiple of 16, which every system takes, got {size}")
        for name in ("batch_size", "pairs"):
            if (number := getattr(self, name)) < 1:
                raise ValueError(f"--{name.replace('_', '-')} needs at least 1, got {number}")


BUDGETS = {
    "tiny": Budget(),
    "hour": Budget("hour", minutes=2.0, preset="base", crop=128, batch_size=8, pairs=24, side=256),  # on a GPU
    "day": Budget("day", minutes=50.0, preset="base", crop=224, batch_size=8, pairs=50, side=1024),  # on a GPU
}


def scheduled(config: Config, new_trainer: Callable[[Config], Trainer], *, minutes: float) -> Config:
    """The config with as many steps of each stage as fill its share of the minutes.

    Steps are chosen before training and not counted off by a clock, so that each stage's schedule is whole and a row
    can be repeated from its config. Each stage is tried for a twentieth of its time, from fresh networks. Warm-up takes
    a tenth of a mean stage, but no more than the config says.

    Args:
        config: What is to be trained; stages that have no steps in it get none, and in the clear there is one stage.
        new_trainer: Builds the trainer of a config; those that are tried are thrown away.
        minutes: Minutes of all stages together.
    """
    first, second, third = (
        steps_within(60 * minutes * share, _seconds_a_step(new_trainer(_alone(config, stage)), 60 * minutes * share))
        if share
        else 0
        for stage, share in enumerate(_shares(config), 1)
    )
    steps = (first, second, third)
    warmup = min(config.train.warmup, max(1, sum(steps) // (10 * sum(map(bool, steps)))))
    return replace(config, train=replace(config.train, steps=steps, warmup=warmup))


def steps_within(seconds: float, each: float) -> int:
    """Whole steps that fit, at least one.

    Example:
        >>> steps_within(10.0, 3.0), steps_within(1.0, 3.0)
        (3, 1)
    """
    return max(1, int(seconds / each))


def _shares(config: Config) -> Sequence[float]:
    """Each stage's share of the minutes."""
    if config.in_the_clear:
        return 0.0, 1.0, 0.0
    shares = [share if steps else 0.0 for share, steps in zip(SHARES, config.train.steps, strict=True)]
    return [share / sum(shares) for share in shares]


def _alone(config: Config, stage: int) -> Config:
    """The config with one of its stages, without an end."""
    first, second, third = (ENDLESS if number == stage else 0 for number in (1, 2, 3))
    return replace(config, train=replace(config.train, steps=(first, second, third)))


def _seconds_a_step(trainer: Trainer, budget: float) -> float:
    """The mean time of a step, the first one left out."""
    times: list[float] = []
    begun = time.monotonic()
    while len(times) < LEAST or time.monotonic() - begun < TRIAL * budget:
        started = time.monotonic()
        trainer.take_step()
        times.append(time.monotonic() - started)
    return statistics.fmean(times[1:])
