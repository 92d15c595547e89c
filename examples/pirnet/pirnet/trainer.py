"""Training in three stages: LIH alone; LSR with LIH frozen; both together.

All random numbers of a step depend on the seed and the step alone, and each stage starts with a new optimiser, so a
resumed run takes exactly the steps that the uninterrupted run would have taken.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from liftlayers import set_memory
from pirnet.config import Config
from pirnet.data import Batch, Batches, PairCrops
from pirnet.losses import ClearStep, Images, TrainStep
from pirnet.metrics import psnr
from pirnet.model import PIRNet
from pirnet.support import distributed, precision, seeds
from pirnet.support.photos import Photos
from pirnet.support.schedule import learning_rate, update_average
from pirnet.support.settings import differences, shown
from pirnet.support.spike_guard import SpikeGuard
from pirnet.support.text import changes, counted, few
from pirnet.tasks import TASKS
from pirnet.weights import check_tensors


class Trainer:
    """Takes training steps one at a time; it can be saved and loaded between any two steps.

    The config says what is trained; the other arguments change the result only by rounding. The processes of a
    distributed run share each batch, for any number of processes.

    Args:
        config: The run's config.
        photos: Photos to train on.
        device: The device to train on.
        accumulate: The number of parts into which a process divides its share of a batch, to save memory.
        workers: The number of processes that make batches ahead of time; 0 makes them in this process.
        compiled: Whether to compile the step with torch.compile.

    Raises:
        ValueError: If photos are too small or fewer than two, the crop is not divisible by 2^K, a task is unknown, or
            the batch does not contain every task or cannot be divided.
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
        _check(config, accumulate)
        train = config.train
        self.config, self.device = config, device
        self.precision = precision.chosen_precision(train.precision, device)
        self.accumulate, self.workers = accumulate, workers
        self.crops = PairCrops(photos, crop=train.crop, seed=config.seed)
        self.tasks = sorted(train.tasks[i % len(train.tasks)] for i in range(train.batch_size))  # faster if sorted
        share = slice(distributed.rank(), None, distributed.count())
        self.batches = Batches(self.crops, self.tasks, degradation=config.degradation, blocks=train.blocks, part=share)
        self.upcoming: Iterator[Batch] | None = None
        torch.manual_seed(config.seed)
        self.model = PIRNet(config).to(device)
        self.fixed = [name for name, p in self.model.named_parameters() if not p.requires_grad]  # never trained
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        set_memory(self.model, train.memory)
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
        """The number of steps of all stages."""
        return sum(self.config.train.steps)

    @property
    def stage(self) -> int:
        """The stage, 1 to 3, of the next step."""
        return self._position()[0]

    def take_step(self) -> dict[str, object]:
        """Takes one step and returns its row of the log."""
        train, (stage, done) = self.config.train, self._position()
        if done == 0:
            self._restart(self.average.state_dict())
            self.last_good = self._weights()  # a step back must not undo an earlier stage
        self.model.train()
        self.model.lih.train(stage != 2)  # a frozen network keeps its batch statistics, too
        own = seeds.seeded_generator(self.config.seed, self.step, distributed.rank())
        torch.manual_seed(own.initial_seed())  # for z="gaussian"
        rate = self.rate_factor * learning_rate(done, train.steps[stage - 1], train.learning_rates[stage - 1], train)
        (group,) = self.optimizer.param_groups
        group["lr"] = rate
        figures = self._gradients(self._next_batch(), stage)
        norm = float(nn.utils.clip_grad_norm_(group["params"], train.clip))
        if self.guard.accepts(figures["loss"], norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not self.model:
            update_average(self.average, self.model, decay=train.ema, done=done)
        self.step += 1
        if self.guard.gave_up:  # the count of steps continues
            self.rate_factor *= 0.5
            self._restart(self.last_good)
        elif self.step % train.save_every == 0 and not self.guard.skipped_in_a_row:
            self.last_good = self._weights()
        row: dict[str, object] = {"step": self.step, "stage": stage, "loss": figures.pop("loss")}
        return row | {"rate": rate, "gradient_norm": norm, "skipped": self.guard.skipped} | figures

    def state_dict(self) -> dict[str, object]:
        """Everything that the next steps depend on."""
        return {
            "config": dataclasses.asdict(self.config),
            "photos": self.crops.photos.fingerprints(),
            "step": self.step,
            "rate_factor": self.rate_factor,
            "guard": self.guard.state_dict(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "last_good": self.last_good,
            "optimizer": self.optimizer.state_dict() if self._position()[1] else None,  # each stage has a new one
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores a result of `state_dict`.

        Raises:
            ValueError: If it is no such state, or comes from another config or other photos; the message names the
                fields that differ.
        """
        now = self.state_dict()
        if not isinstance(state, dict) or not now.keys() <= state.keys() or not isinstance(state["photos"], dict):
            raise ValueError("the checkpoint holds no state of this training")
        found = differences(now["config"], state["config"], "config")
        found += changes(self.crops.photos.fingerprints(), state["photos"])
        if found:
            raise ValueError(f"the checkpoint is of another run: {few(found, '; ')}")
        self.step, self.rate_factor = state["step"], state["rate_factor"]
        self.guard.load_state_dict(state["guard"])
        try:
            check_tensors(state["model"], self.model)
            check_tensors(state["average"], self.average)
        except ValueError as error:
            raise ValueError(f"the checkpoint is of another version: {error}") from error
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.last_good = state["last_good"]
        self.upcoming = None
        self.optimizer = self._new_optimizer()
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])

    def _position(self) -> tuple[int, int]:
        """The stage, 1 to 3, and the steps done in it."""
        done = self.step
        for stage, steps in enumerate(self.config.train.steps, 1):
            if done < steps:
                return stage, done
            done -= steps
        return 3, self.config.train.steps[2]

    def _next_batch(self) -> Batch:
        if self.upcoming is None:
            pinned = self.device.type == "cuda"
            self.upcoming = self.batches.from_step(self.step, self.total, workers=self.workers, pinned=pinned)
        return next(self.upcoming)

    def _gradients(self, batch: Batch, stage: int) -> dict[str, float]:
        """Computes the gradients of a batch's mean loss; returns the loss, and PSNRs in dB for the log."""
        tasks, low = self.tasks[self.batches.part], self.precision == "bfloat16"
        sums, seen = torch.zeros((), device=self.device), {}
        for number in range(self.accumulate):
            part = slice(number, None, self.accumulate)
            images = (x[part].to(self.device, memory_format=torch.channels_last, non_blocking=True) for x in batch)
            with distributed.sharing(self.wrapped, now=number == self.accumulate - 1):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                    loss, seen = self.wrapped(*images, tasks[part], stage)
                (loss / self.accumulate).backward()
            sums = sums + _figures(loss, seen)
        names = ["loss", *(f"{name}_psnr" for name in seen)]
        return dict(zip(names, distributed.mean(sums / self.accumulate).tolist(), strict=True))

    def _new_optimizer(self) -> torch.optim.Optimizer:
        stage, train = self.stage, self.config.train
        self.model.lih.requires_grad_(stage != 2)
        self.model.lsr.requires_grad_(stage != 1)
        for name in self.fixed:
            self.model.get_parameter(name).requires_grad_(False)
        parts = distributed.count() * self.accumulate
        some_lack_a_task = any(set(self.tasks[part::parts]) != set(TASKS) for part in range(parts))
        self.wrapped = distributed.averaging(self.train_step, unused_parameters=some_lack_a_task)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, weight_decay=train.weight_decay, fused=True)  # Adam if that is 0

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def _restart(self, weights: Mapping[str, Tensor]) -> None:
        """Continues from these weights with a new optimiser, and forgets the losses before."""
        self.model.load_state_dict(weights)
        self.average.load_state_dict(weights)
        self.optimizer = self._new_optimizer()
        self.guard.forget()


def _check(config: Config, accumulate: int) -> None:
    """Refuses a config that cannot be trained."""
    train, multiple, count = config.train, 2**config.lsr.num_scales, distributed.count()
    tasks = tuple(TASKS)[: len(config.lsr.middles)] if config.restorer == "lsr" else tuple(TASKS)
    if not sum(train.steps):
        raise ValueError(f"training needs at least one step in its three stages, got {shown(train.steps)}")
    if train.crop % multiple:
        raise ValueError(f"training needs a crop divisible by {multiple}, got {train.crop}")
    if not train.tasks or not set(train.tasks) <= set(tasks):
        raise ValueError(f"training needs tasks among {shown(tasks)}, got {shown(train.tasks)}")
    pairs = counted(train.batch_size, "pair")
    if train.batch_size < len(set(train.tasks)):
        raise ValueError(
            f"training needs a batch that holds all {len(set(train.tasks))} tasks, got {pairs}: "
            "--train.batch-size makes it larger, --accumulate divides it, --train.tasks names fewer"
        )
    if accumulate < 1 or train.batch_size % (count * accumulate):
        shared = f"that {counted(count, 'process', 'processes')} can share in {counted(accumulate, 'part')} each"
        raise ValueError(f"training needs a batch {shared}, got {pairs}")


@torch.no_grad()
def _figures(loss: Tensor, images: Images) -> Tensor:
    """The loss and the PSNR of each image for the log, on the device, so that they are transferred together."""
    return torch.stack([loss.float(), *(psnr(image, target).mean().float() for image, target in images.values())])
