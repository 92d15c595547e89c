"""The paper's other systems in the place of LIH or LSR, imported from `reproduce/` only when they are named."""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Literal

from torch import Tensor, nn

from pirnet.config import Config
from pirnet.tasks import TASKS

OWN = {"hider": "lih", "restorer": "lsr"}


def reproduction(module: str, *, needed_for: str) -> ModuleType:
    """A module of the folder `reproduce/`, which the example otherwise works without.

    Raises:
        ValueError: If the folder is missing.
    """
    try:
        return importlib.import_module(f"reproduce.{module}")
    except ModuleNotFoundError as error:
        if error.name not in ("reproduce", f"reproduce.{module}"):
            raise
        raise ValueError(f"{needed_for} needs the folder examples/pirnet/reproduce, which is missing") from error


class Taskless(nn.Module):
    """A restorer that is not given the task, in the place of LSR.

    Args:
        name: Its name among the baselines.

    Raises:
        ValueError: If there is none of that name, or `reproduce/` is missing.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = baseline("restorer", name)
        self.tasks = tuple(TASKS)

    def forward(self, stego: Tensor, task: str | Sequence[str]) -> Tensor:
        del task
        return self.network(stego)


def with_baseline_rates(config: Config) -> Config:
    """The same config with the learning rates of the baselines in it; stage 3 has a third of the lower one."""
    others = [f"--{kind} {name}" for kind, own in OWN.items() if (name := getattr(config, kind)) != own]
    if not others:
        return config
    known = reproduction("baselines", needed_for=others[0]).LEARNING_RATES
    names = (config.hider, config.restorer)
    first, second = (known.get(name, own) for name, own in zip(names, config.train.learning_rates, strict=False))
    return replace(config, train=replace(config.train, learning_rates=(first, second, min(first, second) / 3)))


def baseline(kind: Literal["hider", "restorer"], name: str) -> nn.Module:
    """A new network of one of the paper's other systems.

    Raises:
        ValueError: If there is none of that name, or `reproduce/` is missing.
    """
    baselines = reproduction("baselines", needed_for=f"--{kind} {name}")
    builders = {"hider": baselines.HIDERS, "restorer": baselines.RESTORERS}[kind]
    if name not in builders:
        raise ValueError(f"--{kind} needs one of {', '.join([OWN[kind], *builders])}, got {name!r}")
    return builders[name]()
