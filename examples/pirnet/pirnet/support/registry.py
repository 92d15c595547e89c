"""The paper's other systems in the place of LIH or LSR. They are imported when one is asked for: PIRNet needs none."""

__all__ = ["Taskless", "hider", "suited"]

import importlib
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from pirnet.config import Config

OWN = ("lih", "lsr")


class Taskless(nn.Module):
    """A restorer that treats all tasks alike, in the place of LSR.

    Args:
        name: Its name among the baselines.

    Raises:
        ValueError: If there is none of that name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = _build("restorer", name)

    def forward(self, stego: Tensor, task: str | Sequence[str]) -> Tensor:
        del task
        return self.network(stego)


def hider(name: str) -> nn.Module:
    """A new network that hides, by its name among the baselines.

    Raises:
        ValueError: If there is none of that name.
    """
    return _build("hider", name)


def suited(config: Config) -> Config:
    """The same config with the step sizes that suit the baselines among its networks; stage 3 takes a third."""
    names = (config.hider, config.restorer)
    if names == OWN:
        return config
    known = importlib.import_module("reproduce.baselines").LEARNING_RATES
    first, second = (known.get(name, own) for name, own in zip(names, config.train.learning_rates, strict=False))
    return replace(config, train=replace(config.train, learning_rates=(first, second, min(first, second) / 3)))


def _build(kind: str, name: str) -> nn.Module:
    baselines = importlib.import_module("reproduce.baselines")
    builders = {"hider": baselines.HIDERS, "restorer": baselines.RESTORERS}[kind]
    if name not in builders:
        own = {"hider": "lih", "restorer": "lsr"}[kind]
        raise ValueError(f"--{kind} needs one of {', '.join([own, *builders])}, got {name!r}")
    return builders[name]()
