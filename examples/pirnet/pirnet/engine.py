"""Training in three stages: LIH alone; LSR with LIH frozen; both together.

All that is random in a step is drawn from its seed and number, and the optimiser starts afresh with every stage: a
resumed run goes exactly the way it would have gone.
"""

__all__ = ["TrainStep", "Trainer"]

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from liftlayers import Sequential
from pirnet.config import Config, TrainConfig
from pirnet.data import PairCrops
from pirnet.degrade import TASKS, degrade
from pirnet.guard import SpikeGuard
from pirnet.losses import hiding_loss, restoration_loss
from pirnet.metrics import psnr
from pirnet.model import PIRNet, PIRNetOutput
from pirnet.photos import Photos
from pirnet.seeds import seeded_generator


class TrainStep(nn.Module):
    """One step's loss as the `forward` of a module, so that a distributed wrapper sees all of it.

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
    ) -> tuple[Tensor, PIRNetOutput]:
        """Loss of a stage, 1 to 3, for cover, true and degraded secret (B, 3, H, W), and the images behind it."""
        output = self.model(cover, secret, tasks, revealing=stage != 2, restoring=stage != 1)
        hiding = restoration = torch.zeros((), device=cover.device)
        if output.revealed is not None:
            hiding = hiding_loss(output.stego, cover, output.revealed, secret, self.weights)
        if output.restored_stego is not None and output.restored is not None:
            restoration = restoration_loss(output.restored_stego, cover, output.restored, truth, self.weights)
        return (restoration + self.weights.hiding * hiding if stage == 3 else restoration + hiding), output


class Trainer:
    """Takes training steps, one at a time, and can be saved and loaded between any two.

    Args:
        config: The run's config.
        photos: Photos to train on.
        device: Where to train.

    Raises:
        ValueError: If a photo is smaller than the crop, there are fewer than two, the crop is not divisible by 2^K, or
            a task is unknown.
    """

    def __init__(self, config: Config, photos: Photos, *, device: torch.device) -> None:
        multiple, tasks = 2**config.lsr.num_scales, config.train.tasks
        if config.train.crop % multiple:
            raise ValueError(f"training needs a crop divisible by {multiple}, got {config.train.crop}")
        if not tasks or not set(tasks) <= set(TASKS):
            raise ValueError(f"training needs tasks among {', '.join(TASKS)}, got {', '.join(tasks) or 'none'}")
        self.config = config
        self.device = device
        self.crops = PairCrops(photos, crop=config.train.crop, seed=config.seed)
        self.tasks = sorted(tasks[i % len(tasks)] for i in range(config.train.batch_size))  # neighbours are cheaper
        torch.manual_seed(config.seed)
        self.model = PIRNet(config).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        for module in self.model.modules():
            if isinstance(module, Sequential):
                module.memory = config.train.memory
        self.train_step = TrainStep(self.model, config)
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
            self.optimizer = self._new_optimizer()
            self.last_good = self._weights()  # a step back must not undo an earlier stage
        generator = seeded_generator(self.config.seed, self.step)
        torch.manual_seed(generator.initial_seed())  # for z="gaussian"
        cover, truth = self.crops.batch(self.step, train.batch_size)
        secret = torch.empty_like(truth)
        for task in sorted(set(self.tasks)):
            chosen = [i for i, name in enumerate(self.tasks) if name == task]
            secret[chosen] = degrade(truth[chosen], task, self.config.degradation, generator=generator)
        cover, truth, secret = (
            image.to(self.device, memory_format=torch.channels_last) for image in (cover, truth, secret)
        )
        rate = self.rate_factor * learning_rate(done, train.steps[stage - 1], train.learning_rates[stage - 1], train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=train.bf16):
            loss, output = self.train_step(cover, truth, secret, self.tasks, stage)
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, train.clip))
        if self.guard.accepts(loss.item(), norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.guard.gave_up:
            self._step_back()
        elif self.step % train.save_every == 0 and not self.guard.skipped_in_a_row:
            self.last_good = self._weights()
        row: dict[str, object] = {"step": self.step, "stage": stage, "loss": loss.item()}
        row |= {"rate": rate, "gradient_norm": norm, "skipped": self.guard.skipped}
        return row | _psnrs(output, cover, truth, secret)

    def state_dict(self) -> dict[str, object]:
        """Everything that the next steps depend on."""
        return {
            "config": dataclasses.asdict(self.config),
            "photos": list(self.crops.photos.names),
            "step": self.step,
            "rate_factor": self.rate_factor,
            "guard": self.guard.state_dict(),
            "model": self.model.state_dict(),
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
        self.model.load_state_dict(cast(dict, state["model"]))
        self.last_good = cast(dict, state["last_good"])
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
        stage = self.stage
        self.model.lih.requires_grad_(stage != 2)
        self.model.lsr.requires_grad_(stage != 1)
        return torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], fused=True)

    def _load_optimizer(self, state: Mapping[str, object]) -> None:
        self.optimizer = self._new_optimizer()
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(cast(dict, state["optimizer"]))

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def _step_back(self) -> None:
        """Takes back the last good weights, with half the step size; the count of steps goes on."""
        self.rate_factor *= 0.5
        self.model.load_state_dict(self.last_good)
        self.optimizer = self._new_optimizer()
        self.guard.forget()


def learning_rate(done: int, steps: int, largest: float, train: TrainConfig) -> float:
    """Step size after `done` of `steps` steps: linear warm-up, then half a cosine down to the final share."""
    warm = min(1.0, (done + 1) / max(1, train.warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * done / max(1, steps)))
    return largest * warm * (train.final_rate + (1 - train.final_rate) * cosine)


@torch.no_grad()
def _psnrs(output: PIRNetOutput, cover: Tensor, truth: Tensor, secret: Tensor) -> dict[str, object]:
    """PSNRs of a training batch in dB, for the log."""
    pairs = {
        "stego_psnr": (output.stego, cover),
        "revealed_psnr": (output.revealed, secret),
        "restored_stego_psnr": (output.restored_stego, cover),
        "restored_psnr": (output.restored, truth),
    }
    return {name: float(psnr(image, target).mean()) for name, (image, target) in pairs.items() if image is not None}


def _differences(now: object, then: object, name: str = "") -> list[str]:
    """The leaves in which two nested dicts differ, in words."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        keys = sorted(now.keys() | then.keys())
        return [line for key in keys for line in _differences(now.get(key), then.get(key), f"{name}.{key}".lstrip("."))]
    return [] if _plain(now) == _plain(then) else [f"{name} is {then} there and {now} here"]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
