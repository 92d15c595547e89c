"""The paper's other systems in the place of LIH or LSR, imported from `reproduce/` only when they are named.

This module does not import torch: train.py reads its command line with it.
"""

import importlib
from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from pirnet.config import Config

if TYPE_CHECKING:
    from torch import nn

OWN = {"hider": "lih", "restorer": "lsr"}


def reproduction(module: str, *, needed_for: str) -> ModuleType:
    """A module of the folder `reproduce/`. Without that folder, the example does all else.

    Raises:
        ValueError: If the folder is missing.
    """
    try:
        return importlib.import_module(f"reproduce.{module}")
    except ModuleNotFoundError as error:
        if error.name not in ("reproduce", f"reproduce.{module}"):
            raise
        raise ValueError(f"{needed_for} needs the folder examples/pirnet/reproduce, which is missing") from error


def with_baseline_rates(config: Config) -> Config:
    """The same config with the learning rates of the baselines in it; stage 3 has a third of the lower one.

    Raises:
        ValueError: If there is no baseline of a name in the config, or `reproduce/` is missing.
    """
    others = [f"--{kind} {name}" for kind, own in OWN.items() if (name := getattr(config, kind)) != own]
    if not others:
        return config
    rates = reproduction("learning_rates", needed_for=others[0])
    names = (config.hider, config.restorer)
    for kind, name, known in zip(OWN, names, (rates.HIDERS, rates.RESTORERS), strict=True):
        if name != OWN[kind] and name not in known:
            raise _unknown(kind, name, known)
    first, second, _ = config.train.learning_rates
    first, second = rates.HIDERS.get(names[0], first), rates.RESTORERS.get(names[1], second)
    return replace(config, train=replace(config.train, learning_rates=(first, second, min(first, second) / 3)))


def baseline(kind: Literal["hider", "restorer"], name: str) -> "nn.Module":
    """A new network of one of the paper's other systems.

    Raises:
        ValueError: If there is none of that name, or `reproduce/` is missing.
    """
    baselines = reproduction("baselines", needed_for=f"--{kind} {name}")
    builders = {"hider": baselines.HIDERS, "restorer": baselines.RESTORERS}[kind]
    if name not in builders:
        raise _unknown(kind, name, builders)
    return builders[name]()


def _unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    return ValueError(f"--{kind} needs one of {', '.join([OWN[kind], *known])}, got {name!r}")
