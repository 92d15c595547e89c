"""Weights and checkpoints on disk. Files are written completely or not at all."""

import dataclasses
import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pirnet.config import Config, LIHConfig, LSRConfig, from_dict
from pirnet.model import LIH, LSR, PIRNet
from pirnet.support.files import atomic_path
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, CheckpointError
from pirnet.support.settings import check, shown
from pirnet.support.taskless import Taskless
from pirnet.support.text import counted, from_json

N = TypeVar("N", bound=nn.Module)
C = TypeVar("C", LIHConfig, LSRConfig)
P = TypeVar("P", bound=PIRNet)

USE = "config.json"
"""The file of a folder that says how its networks are used; `train.py` writes it."""


def save_weights(path: Path, network: nn.Module, config: LIHConfig | LSRConfig | None, *, run: str = "") -> None:
    """Writes a network's weights as safetensors; the metadata hold its class and, if it has them, config and run id."""
    network = network.network if isinstance(network, Taskless) else network
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"network": type(network).__name__, "config": json.dumps(config and dataclasses.asdict(config))}
    metadata |= {"run": run} if run else {}
    with atomic_path(path) as temporary:
        temporary.write_bytes(_in_order(safetensors.torch.save(tensors, metadata)))  # save_file would make it private


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical, not random order, so that equal weights are equal files."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned to eight bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def run_id(hider: nn.Module) -> str:
    """An id for weights that are saved together: sixteen digits of a hash of the network that hides."""
    digest = hashlib.sha256()
    for name, tensor in sorted(hider.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def run_warning(lih: Path, lsr: Path) -> list[str]:
    """A sentence if two existing files of weights are of different runs, else nothing; files without an id match."""
    try:
        if not (lih.is_file() and lsr.is_file()) or run_of(lih) == run_of(lsr):
            return []
    except SafetensorError:  # the script that needs the damaged file reports it
        return []
    return [f"{lih} and {lsr} are of different runs: the cloud cannot restore well what this client hides"]


def run_of(path: Path) -> str:
    """The id of the run that an existing file of weights is of; empty if it has none."""
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("run", "")


def load_lih(path: Path) -> LIH:
    """Reads the client's network from `lih.safetensors`.

    Raises:
        CheckpointError: If the file is missing or damaged, has another format, or holds another network.
    """
    return load_network(path, LIH, LIHConfig)[0].float()


def load_lsr(path: Path) -> LSR:
    """Reads the cloud's network from `lsr.safetensors`; errors as in `load_lih`."""
    return load_network(path, LSR, LSRConfig)[0].float()


def load_pirnet(folder: Path, network_class: type[P]) -> P:
    """Reads both networks of a folder. Without `config.json`, they are used as the scripts do: in 8 bit, with zeros.

    Warns:
        UserWarning: If the two files are of different runs.

    Raises:
        CheckpointError: As `load_lih`, or if `config.json` is damaged.
    """
    lih, lih_config = load_network(folder / LIH_WEIGHTS, LIH, LIHConfig)
    lsr, lsr_config = load_network(folder / LSR_WEIGHTS, LSR, LSRConfig)
    network = network_class(dataclasses.replace(_use(folder / USE), lih=lih_config, lsr=lsr_config))
    network.lih, network.lsr = lih, lsr
    for line in run_warning(folder / LIH_WEIGHTS, folder / LSR_WEIGHTS):
        warnings.warn(line, stacklevel=2)
    return network.eval()


def _use(path: Path) -> Config:
    if not path.is_file():
        return Config()
    try:
        saved = from_json(path.read_text(encoding="utf-8"))["config"]
        config = Config(stego=saved["stego"], z=saved["z"])
        check(config)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or of another version: {error}") from error
    return config


def load_other(path: Path, network: nn.Module) -> None:
    """Reads the weights of one of the paper's other systems, which is not trained further; errors as in `load_lih`."""
    fill(network, _tensors(path, type(network).__name__)[0], path)


def load_network(path: Path, network_class: type[N], config_class: type[C]) -> tuple[N, C]:
    """Reads a network with the dtype of its file, and its config; errors as in `load_lih`."""
    tensors, metadata = _tensors(path, network_class.__name__)
    try:
        config = from_dict(config_class, from_json(metadata["config"]))
        _check_counts(config, tensors)
        network = _without_values(network_class, config)
        check_tensors(tensors, network)
        network.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the weights in {path} do not fit their own config: {error}") from error
    if isinstance(network, LIH) and metadata.get("run", "") not in ("", run_id(network)):
        raise CheckpointError(f"{path} is damaged: its weights are not those that its id {metadata['run']} is made of")
    return network.eval(), config


def _check_counts(config: LIHConfig | LSRConfig, tensors: Mapping[str, Tensor]) -> None:
    """Refuses a config with more layers of one kind than tensors, which would take long to build."""
    for name, value in dataclasses.asdict(config).items():
        if name in ("num_scales", "num_blocks", "encoder", "middles", "decoder_middle", "decoder"):
            numbers = value if isinstance(value, tuple) else (value,)
            if max(numbers, default=0) > len(tensors):
                raise ValueError(f"{name} needs at most {counted(len(tensors), 'tensor')}, got {shown(value)}")


def _without_values(network_class: Callable[[C], N], config: C) -> N:
    """A network whose tensors take no memory, which a wrong config could exhaust."""
    try:
        with torch.device("meta"):
            return network_class(config)
    except RuntimeError as error:  # sizes beyond all integers
        raise ValueError(error) from error


def check_tensors(tensors: Mapping[str, Tensor], network: nn.Module) -> None:
    """Refuses tensors that do not fit a network, before any is loaded.

    Raises:
        ValueError: If a tensor is missing, unknown, has another shape, or holds integers, which torch would convert
            without notice, or values that are not finite.
    """
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wrong := sorted({name for name, _ in expected.items() ^ found.items()}):
        what = f"{'is' if len(wrong) == 1 else 'are'} missing, unknown or of another shape, such as {wrong[0]}"
        raise ValueError(f"{counted(len(wrong), 'tensor')} {what}")
    for name, own in network.state_dict().items():
        tensor = tensors[name]
        if tensor.is_floating_point() != own.is_floating_point():
            raise ValueError(f"{name} needs {own.dtype}, got {tensor.dtype}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds NaN or infinite values")


def _tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file of our own, whose network must be of that class."""
    if path.parent.is_file():
        raise CheckpointError(f"{path.parent} is a file, but --weights needs a folder")
    hint = ": train with train.py, or name another folder with --weights"
    tensors, metadata = read_tensors(path, "weights", hint=hint)
    if metadata.get("network") != kind:
        raise CheckpointError(f"{path} needs to hold the weights of {kind}, got {metadata.get('network', 'no PIRNet')}")
    return tensors, metadata


def read_tensors(path: Path, what: str, *, hint: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Args:
        path: The file.
        what: What it holds, for the messages.
        hint: What to do if the file is missing.

    Raises:
        CheckpointError: If the file is missing, damaged or has another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no {what} at {path}{hint}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return safetensors.torch.load_file(path), metadata
    except SafetensorError as error:
        raise CheckpointError(f"cannot read the {what} {path}: {error}") from error


def fill(network: N, tensors: Mapping[str, Tensor], path: Path, *, title: str = "") -> N:
    """Loads published weights into a network that is used without training.

    Raises:
        CheckpointError: If a tensor is missing, unknown or has another shape.
    """
    try:
        check_tensors(tensors, network)
    except ValueError as error:
        raise CheckpointError(f"{path} does not hold {title or type(network).__name__}: {error}") from error
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def save_state(path: Path, state: dict[str, object]) -> None:
    """Writes a checkpoint of the trainer."""
    content = BytesIO()  # torch does not say when the disk is full
    torch.save(state, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_state(path: Path) -> dict[str, object]:
    """Reads a checkpoint of the trainer: tensors and plain values only.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: there is nothing to resume")
    try:
        with zipfile.ZipFile(path) as file:
            if (part := file.testzip()) is not None:  # torch does not compare checksums
                raise ValueError(f"{part} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for damaged files
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
