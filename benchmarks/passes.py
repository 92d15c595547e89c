"""The networks and passes that `pirnet.py` measures: conceal, restore, reveal and a training step of a preset.

A variant is a combination of memory format, precision, compilation and, for training, memory mode. All variants except
"float32", the baseline, use channels_last. Images are random and of one size. Every device is possible, including
"meta", which counts operations without computing.
"""

__all__ = ["INFERENCE", "PASSES", "TRAINING", "VARIANTS", "Case", "Network", "keep_memory"]

import itertools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch
from report import changes
from torch import Tensor

from liftlayers import set_memory

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "pirnet"))  # before pirnet.py in this folder

from pirnet.config import PRESETS
from pirnet.losses import TrainStep
from pirnet.model import PIRNet
from pirnet.support.allocator import keep_memory

T = TypeVar("T")

INFERENCE = ("conceal", "restore", "reveal")
PASSES = (*INFERENCE, "training")


class Variant(NamedTuple):
    """The settings with which a network runs."""

    channels_last: bool = True
    bf16: bool = False
    compiled: Literal["default", "reduce-overhead"] | None = None
    memory: Literal["store", "reversible", "checkpoint"] = "store"


VARIANTS = {
    "float32": Variant(channels_last=False),
    "channels_last": Variant(),
    "bf16": Variant(bf16=True),
    "bf16, reversible": Variant(bf16=True, memory="reversible"),
    "bf16, checkpoint": Variant(bf16=True, memory="checkpoint"),
    "bf16, compiled": Variant(bf16=True, compiled="default"),
    "bf16, CUDA graphs": Variant(bf16=True, compiled="reduce-overhead"),
}
TRAINING = tuple(name for name, variant in VARIANTS.items() if variant.compiled != "reduce-overhead")


class Case(NamedTuple):
    """A preset, a batch size and an image size, written as in paper-16x224."""

    preset: str
    batch: int
    pixels: int

    def __str__(self) -> str:
        return f"{self.preset}-{self.batch}x{self.pixels}"

    @classmethod
    def parse(cls, text: str) -> "Case":
        preset, _, size = text.partition("-")
        batch, _, pixels = size.partition("x")
        if preset not in PRESETS:
            raise ValueError(f"a case needs a preset among {', '.join(PRESETS)}, got {text!r}")
        return cls(preset, int(batch), int(pixels))


class Network:
    """The networks of a case in one variant. Each name in `PASSES` is a method.

    Args:
        case: The preset, batch size and image size.
        variant: A key of `VARIANTS`.
        device: The device of the networks and images.
    """

    def __init__(self, case: Case, variant: str, device: str) -> None:
        torch.manual_seed(0)
        self.variant, self.device = VARIANTS[variant], torch.device(device)
        config = PRESETS[case.preset]()
        layout = torch.channels_last if self.variant.channels_last else torch.contiguous_format
        self.model = PIRNet(config)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if not parameter.any():  # a trained network has no parameter that is all zeros
                    parameter.normal_(std=1e-3)
        self.model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
        set_memory(self.model, self.variant.memory)
        shape = (case.batch, 3, case.pixels, case.pixels)
        self.cover, self.secret = (torch.rand(shape).to(self.device, memory_format=layout) for _ in range(2))
        self.tasks = sorted(config.train.tasks[i % len(config.train.tasks)] for i in range(case.batch))
        self.step = self._compiled(TrainStep(self.model, config))
        self.conceals = self._compiled(self.model.conceal)
        self.restores = self._compiled(self.model.restore)
        self.reveals = self._compiled(self.model.reveal)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, fused=True)

    @torch.inference_mode()
    def conceal(self) -> None:
        with self._precision():
            self.conceals(self.cover, self.secret)

    @torch.inference_mode()
    def restore(self) -> None:
        with self._precision():
            self.restores(self.cover, self.tasks)

    @torch.inference_mode()
    def reveal(self) -> None:
        with self._precision():
            self.reveals(self.cover)

    def loss(self) -> Tensor:
        """Computes the loss of both networks, which is the forward half of a training step."""
        with self._precision():
            return self.step(self.cover, self.secret, self.secret, self.tasks, 3)[0]

    def training(self) -> None:
        """Runs a step of stage 3, which trains both networks. The learning rate is zero."""
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def peak_bytes(self, name: str) -> int:
        """Returns the peak memory of a pass: weights, images, Adam's moment estimates and temporary tensors."""
        function = getattr(self, name)
        if name == "training":
            self._start_optimizer()
        if self.device.type == "cuda" or self.variant.compiled:
            function()  # compile, and allocate the workspaces of a GPU
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            function()
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            function()
        return max(itertools.accumulate(changes(profile), initial=self._held_bytes()))

    def _start_optimizer(self) -> None:
        """Creates the moment estimates that Adam has after its first step."""
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _held_bytes(self) -> int:
        """Returns the memory of everything that persists between passes."""
        averages = [value for state in self.optimizer.state.values() for value in state.values()]
        tensors: list[Tensor] = [*self.model.parameters(), self.cover, self.secret, *averages]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def _precision(self) -> AbstractContextManager[object]:
        kind = "cuda" if self.device.type == "cuda" else "cpu"
        return torch.autocast(kind, torch.bfloat16, enabled=self.variant.bf16)

    def _compiled(self, function: Callable[..., T]) -> Callable[..., T]:
        if self.variant.compiled is None:
            return function
        return torch.compile(function, mode=self.variant.compiled, dynamic=False)
