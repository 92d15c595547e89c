"""The paper's other systems in the place of LIH or LSR, imported from `reproduce/` only when they are named.

This module does not import torch: train.py reads its command line with it.
"""

import importlib
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

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
    hider, restorer = config.hider, config.restorer
    if (hider, restorer) == tuple(OWN.values()):
        return config
    first, second, _ = config.train.learning_rates
    first = first if hider == OWN["hider"] else _found("learning_rates", "hider", hider)
    second = second if restorer == OWN["restorer"] else _found("learning_rates", "restorer", restorer)
    return replace(config, train=replace(config.train, learning_rates=(first, second, min(first, second) / 3)))


def baseline(kind: Literal["hider", "restorer"], name: str) -> "nn.Module":
    """A new network of one of the paper's other systems.

    Raises:
        ValueError: If there is none of that name, or `reproduce/` is missing.
    """
    return _found("baselines", kind, name)()


def _found(module: str, kind: str, name: str) -> Any:
    """What a module of `reproduce/` holds for one of the paper's other systems."""
    tables = reproduction(module, needed_for=f"--{kind} {name}")
    known = {"hider": tables.HIDERS, "restorer": tables.RESTORERS}[kind]
    if name not in known:
        raise ValueError(f"--{kind} needs one of {', '.join([OWN[kind], *known])}, got {name!r}")
    return known[name]
