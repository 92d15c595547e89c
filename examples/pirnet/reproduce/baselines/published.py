r"""Weights that others published, in our networks: the same layers under other names.

Each file is one safetensors file with the names of its source; the tables below say which layer is which of ours:

========================= ===================== ============================================
file                      source                network
========================= ===================== ============================================
`kair_dncnn_color_blind`  cszn/KAIR, MIT        `DnCNN(3, 20)`, merged
`kair_dncnn_25`           cszn/KAIR, MIT        `DnCNN(1, 17)`, merged, for noise of sigma 25
`rlfn_x4`                 bytedance/RLFN,       `RLFN(4)`
                          Apache-2.0
`rlfn_s_x4`               bytedance/RLFN,       `RLFN(4, 48)`
                          Apache-2.0
`fmen_x4`                 NJU-Jet/FMEN,         `FMEN(4)`, deployed
                          Apache-2.0
========================= ===================== ============================================
"""

__all__ = ["load_dncnn", "load_fmen", "load_rlfn"]

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from pirnet.weights import CheckpointError
from safetensors import SafetensorError
from torch import Tensor, nn

from reproduce.baselines.dncnn import DnCNN
from reproduce.baselines.fmen import FMEN
from reproduce.baselines.rlfn import RLFN

N = TypeVar("N", bound=nn.Module)

DNCNN = {f"model.{2 * number}": f"convs.{number}" for number in range(20)}  # ReLUs have the odd numbers
"""KAIR's names of DnCNN's layers and ours; a net of fewer layers has the first of them."""

_IN_RLFN_BLOCK = {
    "c1_r": "convs.0",
    "c2_r": "convs.1",
    "c3_r": "convs.2",
    "c5": "mix",
    "esa.conv1": "attention.squeeze",
    "esa.conv2": "attention.halve",
    "esa.conv3": "attention.around",
    "esa.conv_f": "attention.here",
    "esa.conv4": "attention.excite",
}
RLFN_LAYERS = {"conv_1": "head", "conv_2": "body.6", "upsampler.0": "tail"} | {
    f"block_{number + 1}.{theirs}": f"body.{number}.{ours}"
    for number in range(6)
    for theirs, ours in _IN_RLFN_BLOCK.items()
}
"""RLFN's published names of its layers, and ours."""


def _fmen_block(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.conv1.rep_conv": f"{ours}.first", f"{theirs}.conv2.rep_conv": f"{ours}.second"}


def _fmen_attention(theirs: str, ours: str, *, count: int) -> dict[str, str]:
    layers = {f"{theirs}.squeeze": f"{ours}.squeeze", f"{theirs}.excitate": f"{ours}.excite"}
    for number in range(count):
        layers |= _fmen_block(f"{theirs}.convs.{number}", f"{ours}.blocks.{number}")
    return layers


FMEN_LAYERS = {"head": "head", "warmup.0": "body.0", "lr_conv": "body.10", "tail.0": "tail"}
"""FMEN's published names of its layers, and ours."""
FMEN_LAYERS |= _fmen_attention("warmup.1", "body.1", count=2)
for _number in range(4):
    FMEN_LAYERS |= _fmen_block(f"ERBs.{_number}", f"body.{2 * _number + 2}")
    FMEN_LAYERS |= _fmen_attention(f"HFABs.{_number}", f"body.{2 * _number + 3}", count=1)


def load_dncnn(path: Path) -> DnCNN:
    """Reads a published DnCNN, of any number of layers up to 20, for gray or colour.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds anything more, less or else.
    """
    tensors = _read(path, "DnCNN", DNCNN)
    channels = tensors["convs.0.weight"].shape[1] if "convs.0.weight" in tensors else 3
    return _filled(DnCNN(channels, max(2, (len(tensors) + 1) // 2), batch_norm=False), tensors, path)


def load_rlfn(path: Path) -> RLFN:
    """Reads a published RLFN or RLFN-S for scale 4; errors as for `load_dncnn`."""
    tensors = _read(path, "RLFN", RLFN_LAYERS)
    channels = len(tensors["head.bias"]) if "head.bias" in tensors else 52
    return _filled(RLFN(4, channels), tensors, path)


def load_fmen(path: Path) -> FMEN:
    """Reads the published FMEN for scale 4, in its deployed form; errors as for `load_dncnn`."""
    return _filled(FMEN(4).deployed(), _read(path, "FMEN", FMEN_LAYERS), path)


def _read(path: Path, network: str, layers: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of a file, renamed."""
    if not path.is_file():
        raise CheckpointError(f"no {network} weights at {path}")
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"cannot read the {network} weights {path}: {error}") from error
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in layers.items() for kind in ("weight", "bias")}
    if unknown := sorted(tensors.keys() - names):
        raise CheckpointError(f"{path} holds what {network} has not: {len(unknown)} tensors, such as {unknown[0]}")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _filled(network: N, tensors: Mapping[str, Tensor], path: Path) -> N:
    """The network with these weights, all of which it needs and no others, for use without training."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted({name for name, _ in expected.items() ^ found.items()}):
        raise CheckpointError(
            f"{path} does not hold {type(network).__name__}: {len(wrong)} tensors are missing or of another shape, "
            f"such as {wrong[0]}"
        )
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
