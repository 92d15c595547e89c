"""Training in three stages: LIH alone; LSR with LIH frozen; both together.

All that is random in a step is drawn from its seed and number, and the optimiser starts afresh with every stage: a
resumed run goes exactly the way it would have gone.
"""

__all__ = ["Trainer"]

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from liftlayers import Sequential
from pirnet.batches import Batch, Batches
from pirnet.config import Config, TrainConfig
from pirnet.data import PairCrops
from pirnet.degrade import TASKS
from pirnet.metrics import psnr
from pirnet.model import PIRNet
from pirnet.steps import ClearStep, Images, TrainStep
from pirnet.support import distributed
from pirnet.support.photos import Photos
from pirnet.support.precision import chosen_precision
from pirnet.support.seeds import seeded_generator
from pirnet.support.spike_guard import SpikeGuard


class Trainer:
    """Takes training steps, one at a time, and can be saved and loaded between any two.

    The config says what is trained; how a step is computed is said here, and changes its result by rounding alone. The
    processes of a distributed run share each batch among them, whatever their number.

    Args:
        config: The run's config.
        photos: Photos to train on.
        device: Where to train.
        accumulate: Parts that a process takes its share of a batch in, one after the other, to save memory.
        workers: Processes that make batches ahead of time; 0 makes them in this one.
        compiled: Whether to compile the step with torch.compile.

    Raises:
        ValueError: If a photo is smaller than the crop, there are fewer than two, the crop is not divisible by 2^K, a
            task is unknown, or the batch does not hold every task or cannot be shared out.
    """

    def __init__(
        self,
        config: Config,
        photos: Photos,
        *,
        device: torch.device,
        accumulate: int = 1,
        workers: int = 0,
        compiled: bool = False,
    ) -> None:
        train = config.train
        multiple, parts = 2**config.lsr.num_scales, distributed.count() * accumulate
        if train.crop % multiple:
            raise ValueError(f"training needs a crop divisible by {multiple}, got {train.crop}")
        if not train.tasks or not set(train.tasks) <= set(TASKS):
            raise ValueError(f"training needs tasks among {', '.join(TASKS)}, got {', '.join(train.tasks) or 'none'}")
        if train.batch_size < len(set(train.tasks)):
            raise ValueError(
                f"training needs a batch that holds all {len(set(train.tasks))} tasks, got {train.batch_size} pairs: "
                "--train.batch-size makes it larger, --accumulate shares it out, --train.tasks names fewer"
            )
        if accumulate < 1 or train.batch_size % parts:
            raise ValueError(
                f"training needs a batch that {distributed.count()} processes can share in {accumulate} parts each, "
                f"got {train.batch_size} pairs"
            )
        self.config = config
        self.device = device
        self.precision = chosen_precision(train.precision, device)
        self.accumulate = accumulate
        self.workers = workers
        self.crops = PairCrops(photos, crop=train.crop, seed=config.seed)
        # neighbours are cheaper
        self.tasks = sorted(train.tasks[i % len(train.tasks)] for i in range(train.batch_size))
        self.batches = Batches(
            self.crops,
            self.tasks,
            degradation=config.degradation,
            part=slice(distributed.rank(), None, distributed.count()),
        )
        self.upcoming: Iterator[Batch] | None = None
        torch.manual_seed(config.seed)
        self.model = PIRNet(config).to(device)
        # a network may have parameters that are never trained
        self.fixed = [name for name, p in self.model.named_parameters() if not p.requires_grad]
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        for module in self.model.modules():
            if isinstance(module, Sequential):
                module.memory = train.memory
        self.average = copy.deepcopy(self.model) if train.ema else self.model
        self.average.requires_grad_(self.average is self.model)
        self.train_step = ClearStep(self.model) if config.in_the_clear else TrainStep(self.model, config)
        if compiled:
            self.train_step.compile()
        self.guard = SpikeGuard()
        self.step = 0
        self.rate_factor = 1.0
        self.optimizer = self._new_optimizer()
        self.last_good = self._weights()

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return sum(self.config.train.steps)

    @property
    def stage(self) -> int:
        """The stage, 1 to 3, that the next step belongs to."""
        return self._position()[0]

    def take_step(self) -> dict[str, object]:
        """Takes one step and returns what is to be logged of it."""
        train, (stage, done) = self.config.train, self._position()
        if done == 0:
            self.guard.forget()
            self.model.load_state_dict(self.average.state_dict())
            self.optimizer = self._new_optimizer()
            self.last_good = self._weights()  # a step back must not undo an earlier stage
        self.model.train()
        self.model.lih.train(stage != 2)  # frozen, it keeps its statistics too, where it has some
        torch.manual_seed(
            seeded_generator(self.config.seed, self.step, distributed.rank()).initial_seed()
        )  # z="gaussian"
        rate = self.rate_factor * learning_rate(done, train.steps[stage - 1], train.learning_rates[stage - 1], train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        figures = self._gradients(self._next_batch(), stage)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, train.clip))
        if self.guard.accepts(figures["loss"], norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average(done)
        self.step += 1
        if self.guard.gave_up:
            self._step_back()
        elif self.step % train.save_every == 0 and not self.guard.skipped_in_a_row:
            self.last_good = self._weights()
        row: dict[str, object] = {"step": self.step, "stage": stage, "loss": figures.pop("loss")}
        return row | {"rate": rate, "gradient_norm": norm, "skipped": self.guard.skipped} | figures

    def _next_batch(self) -> Batch:
        if self.upcoming is None:
            pinned = self.device.type == "cuda"
            self.upcoming = self.batches.from_step(self.step, self.total, workers=self.workers, pinned=pinned)
        return next(self.upcoming)

    def _gradients(self, batch: Batch, stage: int) -> dict[str, float]:
        """Leaves the gradients of a batch's mean loss; returns the loss, and PSNRs in dB for the log."""
        tasks, low = self.tasks[self.batches.part], self.precision == "bfloat16"
        sums = torch.zeros(())
        names: list[str] = []
        for number in range(self.accumulate):
            part = slice(number, None, self.accumulate)
            images = (
                image[part].to(self.device, memory_format=torch.channels_last, non_blocking=True) for image in batch
            )
            with self._sharing(number == self.accumulate - 1):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                    loss, seen = self.wrapped(*images, tasks[part], stage)
                (loss / self.accumulate).backward()
            names, values = _figures(loss, seen)
            sums = sums.to(values) + values
        return dict(zip(names, distributed.mean(sums / self.accumulate).tolist(), strict=True))

    def state_dict(self) -> dict[str, object]:
        """Everything that the next steps depend on."""
        return {
            "config": dataclasses.asdict(self.config),
            "photos": list(self.crops.photos.names),
            "step": self.step,
            "rate_factor": self.rate_factor,
            "guard": self.guard.state_dict(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "last_good": self.last_good,
            "optimizer": self.optimizer.state_dict() if self._position()[1] else None,  # each stage starts a new one
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Takes back what `state_dict` gave.

        Raises:
            ValueError: If it is no such state, or comes from another config or other photos; the fields that differ
                are named.
        """
        if not isinstance(state, Mapping) or not self.state_dict().keys() <= state.keys():
            raise ValueError("the checkpoint holds no state of this training")
        now = {"config": dataclasses.asdict(self.config), "photos": list(self.crops.photos.names)}
        then = {key: state[key] for key in now}
        if differences := _differences(now, then):
            raise ValueError(f"the checkpoint is of another run: {'; '.join(differences)}")
        self.step, self.rate_factor = cast(int, state["step"]), cast(float, state["rate_factor"])
        self.guard.load_state_dict(cast(dict, state["guard"]))
        try:
            self.model.load_state_dict(cast(dict, state["model"]))
            self.average.load_state_dict(cast(dict, state["average"]))
        except RuntimeError as error:
            raise ValueError(f"the checkpoint is of another version: {error}") from error
        self.last_good = cast(dict, state["last_good"])
        self.upcoming = None
        self._load_optimizer(state)

    def _position(self) -> tuple[int, int]:
        """Stage, 1 to 3, and steps done in it."""
        done = self.step
        for stage, steps in enumerate(self.config.train.steps, 1):
            if done < steps:
                return stage, done
            done -= steps
        return 3, self.config.train.steps[2]

    def _new_optimizer(self) -> torch.optim.Optimizer:
        stage, train = self.stage, self.config.train
        self.model.lih.requires_grad_(stage != 2)
        self.model.lsr.requires_grad_(stage != 1)
        for name in self.fixed:
            self.model.get_parameter(name).requires_grad_(False)
        self.wrapped = self._wrapped()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, weight_decay=train.weight_decay, fused=True)  # Adam where that is 0

    def _sharing(self, last: bool) -> AbstractContextManager[object]:
        """Has gradients averaged over all processes once a batch, after its last part."""
        if isinstance(self.wrapped, DistributedDataParallel) and not last:
            return self.wrapped.no_sync()
        return nullcontext()

    def _wrapped(self) -> nn.Module:
        """The step, with its gradients averaged over all processes."""
        if distributed.count() == 1:
            return self.train_step
        parts = distributed.count() * self.accumulate
        some_lack_a_task = any(set(self.tasks[part::parts]) != set(TASKS) for part in range(parts))
        return DistributedDataParallel(self.train_step, find_unused_parameters=some_lack_a_task)

    def _load_optimizer(self, state: Mapping[str, object]) -> None:
        self.optimizer = self._new_optimizer()
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(cast(dict, state["optimizer"]))

    @torch.no_grad()
    def _update_average(self, done: int) -> None:
        """The average forgets its start quickly: after n steps of a stage it keeps no more than (1 + n) / (10 + n)."""
        if self.average is not self.model:
            keep = min(self.config.train.ema, (1 + done) / (10 + done))
            for mean, parameter in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(parameter, 1 - keep)
            for statistic, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                statistic.copy_(buffer)

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def _step_back(self) -> None:
        """Takes back the last good weights, with half the step size; the count of steps goes on."""
        self.rate_factor *= 0.5
        self.model.load_state_dict(self.last_good)
        self.average.load_state_dict(self.last_good)
        self.optimizer = self._new_optimizer()
        self.guard.forget()


def learning_rate(done: int, steps: int, largest: float, train: TrainConfig) -> float:
    """Step size after `done` of `steps` steps: linear warm-up, then half a cosine down to the final share."""
    warm = min(1.0, (done + 1) / max(1, train.warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * done / max(1, steps)))
    return largest * warm * (train.final_rate + (1 - train.final_rate) * cosine)


@torch.no_grad()
def _figures(loss: Tensor, images: Images) -> tuple[list[str], Tensor]:
    """Names and values of what the log says of a batch; on the device, so that they are fetched all at once."""
    psnrs = {f"{name}_psnr": psnr(image, target).mean() for name, (image, target) in images.items()}
    return ["loss", *psnrs], torch.stack([loss.detach().float(), *(value.float() for value in psnrs.values())])


def _differences(now: object, then: object, name: str = "") -> list[str]:
    """The leaves in which two nested dicts differ, in words."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        keys = sorted(now.keys() | then.keys())
        return [line for key in keys for line in _differences(now.get(key), then.get(key), f"{name}.{key}".lstrip("."))]
    return [] if _plain(now) == _plain(then) else [f"{name} is {then} there and {now} here"]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
