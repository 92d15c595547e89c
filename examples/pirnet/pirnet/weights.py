"""Weights and resume states on disk: written to a temporary file, then renamed, so nothing is ever half-written."""

__all__ = ["CheckpointError", "load_lih", "load_lsr", "load_other", "load_state", "save_state", "save_weights"]

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pirnet.config import LIHConfig, LSRConfig, from_dict
from pirnet.images import atomic_path
from pirnet.model import LIH, LSR
from pirnet.support.registry import Taskless

N = TypeVar("N", LIH, LSR)


class CheckpointError(ValueError):
    """A file of weights or a resume state that cannot be used."""


def save_weights(path: Path, network: nn.Module, config: LIHConfig | LSRConfig | None) -> None:
    """Writes a network's weights as safetensors, with its kind and its config, if it has one, in the metadata."""
    network = network.network if isinstance(network, Taskless) else network
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"network": type(network).__name__, "config": json.dumps(config and dataclasses.asdict(config))}
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))  # save_file would make it private


def load_lih(path: Path) -> LIH:
    """Reads the client's network from `lih.safetensors`.

    Raises:
        CheckpointError: If the file is missing, not such a file, damaged, or holds another network.
    """
    return _load(path, "LIH", lambda config: LIH(from_dict(LIHConfig, config)))


def load_lsr(path: Path) -> LSR:
    """Reads the cloud's network from `lsr.safetensors`; errors as for `load_lih`."""
    return _load(path, "LSR", lambda config: LSR(from_dict(LSRConfig, config)))


def load_other(path: Path, network: nn.Module) -> None:
    """Reads the weights of one of the paper's other systems into it; errors as for `load_lih`."""
    tensors = _tensors(path, type(network).__name__)[0]
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {path} do not fit {type(network).__name__}: {error}") from error


def _load(path: Path, kind: str, build: Callable[[dict[str, object]], N]) -> N:
    tensors, metadata = _tensors(path, kind)
    try:
        network = build(json.loads(metadata["config"]))
        network.load_state_dict(tensors)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the weights in {path} do not fit their own config: {error}") from error
    return network.eval()


def _tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a file of weights, and its metadata, once it is known to be of that kind of network."""
    if path.parent.is_file():
        raise CheckpointError(f"{path.parent} is a file, but weights are named by their folder")
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}: train with train.py, or name another folder with --weights")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"cannot read the weights {path}: {error}") from error
    if metadata.get("network") != kind:
        raise CheckpointError(f"{path} needs to hold the weights of {kind}, got {metadata.get('network', 'no PIRNet')}")
    return tensors, metadata


def save_state(path: Path, state: dict[str, object]) -> None:
    """Writes a resume state."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path) -> dict[str, object]:
    """Reads a resume state, as tensors and plain values only.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: there is nothing to resume")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
