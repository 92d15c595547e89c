r"""Weights published by the authors of other systems, for our networks: the same layers with other names.

Each file is one safetensors file with the names of its source; the tables below map its layers to ours:

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

from collections.abc import Mapping
from pathlib import Path

from pirnet.weights import CheckpointError, fill, read_tensors
from torch import Tensor

from reproduce.baselines.dncnn import DnCNN
from reproduce.baselines.fmen import FMEN
from reproduce.baselines.rlfn import RLFN

DNCNN = {f"model.{2 * number}": f"convs.{number}" for number in range(20)}  # the odd numbers are ReLUs
"""KAIR's names of DnCNN's layers and ours; a network with fewer layers has the first of them."""

_RLFN_BLOCK = {"c1_r": "convs.0", "c2_r": "convs.1", "c3_r": "convs.2", "c5": "mix"}
_RLFN_BLOCK |= {"esa.conv1": "attention.squeeze", "esa.conv2": "attention.halve", "esa.conv3": "attention.around"}
_RLFN_BLOCK |= {"esa.conv_f": "attention.here", "esa.conv4": "attention.excite"}
RLFN_LAYERS = {"conv_1": "head", "conv_2": "body.6", "upsampler.0": "tail"}
"""RLFN's published names of its layers, and ours."""
for _number in range(6):
    RLFN_LAYERS |= {f"block_{_number + 1}.{theirs}": f"body.{_number}.{ours}" for theirs, ours in _RLFN_BLOCK.items()}


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
    """Reads a published DnCNN, of any number of layers up to 20, for grey or colour.

    Raises:
        CheckpointError: If the file is missing or damaged, or its tensors are not exactly those of the network.
    """
    tensors = _read(path, "DnCNN", DNCNN)
    channels = tensors["convs.0.weight"].shape[1] if "convs.0.weight" in tensors else 3
    return fill(DnCNN(channels, max(2, (len(tensors) + 1) // 2), batch_norm=False), tensors, path)


def load_rlfn(path: Path) -> RLFN:
    """Reads a published RLFN or RLFN-S for scale 4; errors as in `load_dncnn`."""
    tensors = _read(path, "RLFN", RLFN_LAYERS)
    channels = len(tensors["head.bias"]) if "head.bias" in tensors else 52
    return fill(RLFN(4, channels), tensors, path)


def load_fmen(path: Path) -> FMEN:
    """Reads the published FMEN for scale 4, in its deployed form; errors as in `load_dncnn`."""
    return fill(FMEN(4).deployed(), _read(path, "FMEN", FMEN_LAYERS), path)


def _read(path: Path, network: str, layers: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of a file, renamed."""
    tensors, _ = read_tensors(path, f"{network} weights")
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in layers.items() for kind in ("weight", "bias")}
    if unknown := sorted(tensors.keys() - names):
        raise CheckpointError(f"{path} holds tensors that {network} lacks: {len(unknown)}, such as {unknown[0]}")
    return {names[name]: tensor for name, tensor in tensors.items()}
