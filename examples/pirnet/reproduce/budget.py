"""The cost of one row of a comparison: the same minutes for every system, converted into whole steps beforehand."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pirnet.config import Config
from pirnet.support.progress import progress_bar
from pirnet.support.settings import Count, Positive

if TYPE_CHECKING:
    from pirnet.trainer import Trainer

SHARES = (0.4, 0.3, 0.3)  # of the minutes: hiding, restoring, both
TRIAL = 0.05  # share of a stage's minutes in which its steps are timed
MIN_STEPS = 2  # timed steps; the first one is not counted, since it also allocates memory
ENDLESS = 10**9  # steps of a stage that is only timed


def check_side(name: str, side: int) -> None:
    """Refuses a height and width of images that some system does not take."""
    if side < 16 or side % 16:
        raise ValueError(f"{name} needs a multiple of 16, which every system takes, got {side}")


@dataclass(frozen=True)
class Budget:
    """The same for every row of a comparison; with the defaults, Table 1 takes less than 20 minutes on two CPU cores.

    Raises:
        ValueError: If nothing can be trained or tested, or a size is not supported by every system.
    """

    budget: Literal["tiny", "hour", "day"] = "tiny"
    """Budget that these settings started from."""
    minutes: Positive = 0.5
    """Minutes of training for each row: 4 tenths hiding, 3 restoring, 3 both. Timing and testing take extra time."""
    preset: Literal["quick", "base", "paper"] = "quick"
    """Preset of PIRNet's networks; its losses and other training settings apply to every row."""
    crop: Count = 48
    """Side of the training crops, in pixels."""
    batch_size: Count = 4
    """Pairs of cover and secret in a step."""
    pairs: Count = 2
    """Largest number of pairs to test on, the first by name."""
    side: Count = 128
    """Largest side of the centre crops for testing, in pixels."""

    def __post_init__(self) -> None:
        check_side("--crop", self.crop)
        check_side("--side", self.side)


BUDGETS = {
    "tiny": Budget(),
    "hour": Budget("hour", minutes=2.0, preset="base", crop=128, batch_size=8, pairs=24, side=256),  # on a GPU
    "day": Budget("day", minutes=50.0, preset="base", crop=224, batch_size=8, pairs=50, side=1024),  # on a GPU
}


def train_for(
    config: Config, new_trainer: "Callable[[Config], Trainer]", *, minutes: float, name: str
) -> "tuple[Trainer, dict[str, float]]":
    """Trains a config for some minutes; returns the trainer, and the seconds of timing and of training.

    Args:
        config: The config; `scheduled` chooses its steps.
        new_trainer: Builds the trainer of a config.
        minutes: Minutes of all stages together.
        name: What the progress bar shows.
    """
    begun = time.monotonic()
    trainer = new_trainer(scheduled(config, new_trainer, minutes=minutes))
    timed = time.monotonic()
    with progress_bar(total=trainer.total, desc=name, unit="step", leave=False) as bar:
        while trainer.step < trainer.total:
            bar.set_postfix_str(f"stage {trainer.stage}", refresh=False)
            trainer.take_step()
            bar.update()
    return trainer, {"timing": timed - begun, "training": time.monotonic() - timed}


def scheduled(config: Config, new_trainer: "Callable[[Config], Trainer]", *, minutes: float) -> Config:
    """The config with as many steps of each stage as fit into its share of the minutes.

    The steps are chosen before training instead of stopping by a clock, so that the schedule of each stage is complete
    and a row can be repeated from its config. The steps of each stage are timed for a twentieth of its time, with fresh
    networks. Warm-up takes a tenth of a mean stage, but no more than the config says.

    Args:
        config: The config to train; a stage without steps gets none, and in the clear there is only one stage.
        new_trainer: Builds the trainer of a config; the trainers for timing are discarded.
        minutes: Minutes of all stages together.
    """
    steps = [0, 0, 0]
    for number, share in enumerate(_shares(config)):
        if share:
            seconds = 60 * minutes * share
            steps[number] = steps_within(seconds, _seconds_a_step(new_trainer(_alone(config, number)), seconds))
    warmup = min(config.train.warmup, max(1, sum(steps) // (10 * sum(map(bool, steps)))))
    return replace(config, train=replace(config.train, steps=tuple(steps), warmup=warmup))


def steps_within(seconds: float, each: float) -> int:
    """The number of whole steps in a time, at least one.

    Example:
        >>> steps_within(10.0, 3.0), steps_within(1.0, 3.0)
        (3, 1)
    """
    return max(1, int(seconds / each))


def _shares(config: Config) -> Sequence[float]:
    """The share of each stage in the minutes."""
    if config.in_the_clear:
        return 0.0, 1.0, 0.0
    shares = [share if steps else 0.0 for share, steps in zip(SHARES, config.train.steps, strict=True)]
    return [share / sum(shares) for share in shares]


def _alone(config: Config, stage: int) -> Config:
    """The config with only one of its stages, 0 to 2, which does not end."""
    steps = tuple(ENDLESS * (number == stage) for number in range(3))
    return replace(config, train=replace(config.train, steps=steps))


def _seconds_a_step(trainer: "Trainer", budget: float) -> float:
    """The mean time of a step without the first one."""
    times: list[float] = []
    begun = time.monotonic()
    while len(times) < MIN_STEPS or time.monotonic() - begun < TRIAL * budget:
        started = time.monotonic()
        trainer.take_step()
        times.append(time.monotonic() - started)
    return statistics.fmean(times[1:])
