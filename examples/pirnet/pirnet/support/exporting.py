"""LIH as ONNX graphs on 8-bit images, which onnxruntime runs without PyTorch, also in a browser."""

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from pirnet.model import LIH
from pirnet.pixels import to_uint8

OPSET = 20
EXAMPLE, OTHER = (64, 96), (200, 158)  # height and width while exporting, and of the comparison
MOST_LEVELS, MOST_SHARE = 1, 1e-3  # that a graph may differ from PyTorch: rounding at the border of two grey levels


class Conceal(nn.Module):
    """Hides: cover and scrambled secret (1, 3, H, W), uint8, to the stego image, uint8."""

    inputs, outputs = ("cover", "secret"), ("stego",)

    def __init__(self, lih: LIH) -> None:
        super().__init__()
        self.lih = lih

    def forward(self, cover: Tensor, secret: Tensor) -> Tensor:
        return to_uint8(self.lih.conceal(cover.float() / 255, secret.float() / 255))


class Reveal(nn.Module):
    """Reveals: stego (1, 3, H, W), uint8, to the secret, uint8, and to its values before clamping and rounding.

    A client with a key needs the values: jumps at the borders of blocks are smoothed before rounding.
    """

    inputs, outputs = ("stego",), ("secret", "values")

    def __init__(self, lih: LIH) -> None:
        super().__init__()
        self.lih = lih

    def forward(self, stego: Tensor) -> tuple[Tensor, Tensor]:
        values = self.lih.reveal(stego.float() / 255)
        return to_uint8(values), values


def exported(network: Conceal | Reveal) -> bytes:
    """The ONNX file of a network for images of any even size; names of inputs and outputs are those of the class."""
    sides = {2: 2 * Dim("half_height"), 3: 2 * Dim("half_width")}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it lists operators of packages that are not installed
    try:
        with warnings.catch_warnings(action="ignore"):  # about names of axes, and of torch's own
            program = torch.onnx.export(
                network.eval(),
                _images(EXAMPLE, len(network.inputs)),
                dynamo=True,
                dynamic_shapes=[sides] * len(network.inputs),
                input_names=network.inputs,
                output_names=network.outputs,
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # lines of source code, with the folders of this machine
    return model.SerializeToString()


@torch.inference_mode()
def difference(graph: bytes, network: Conceal | Reveal) -> tuple[int, float]:
    """How far the 8-bit output of a graph is from that of its network: in grey levels, and the share of values.

    Raises:
        ValueError: If that is more than rounding.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    errors = []
    for size in (EXAMPLE, OTHER):
        images = _images(size, len(network.inputs))
        feeds = {name: image.numpy() for name, image in zip(network.inputs, images, strict=True)}
        (found,) = session.run([network.outputs[0]], feeds)
        output = network(*images)
        expected = (output if isinstance(output, Tensor) else output[0]).numpy()
        errors.append(np.abs(np.asarray(found, int) - expected).flatten())
    error = np.concatenate(errors)
    levels, share = int(error.max()), float(np.mean(error > 0))
    if levels > MOST_LEVELS or share > MOST_SHARE:
        raise ValueError(
            f"{type(network).__name__} needs a graph within {MOST_LEVELS} grey level of PyTorch in all but "
            f"{MOST_SHARE:.1%} of values, got {levels} levels and {share:.1%}"
        )
    return levels, share


def _images(size: Sequence[int], count: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(256, (1, 3, *size), dtype=torch.uint8, generator=generator) for _ in range(count))
