"""Other ways to compute the same convolutions, and a twin of a codec's networks in ordinary floats."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Convolution = Callable[..., Tensor]
M = TypeVar("M", bound=nn.Module)


class Convolutions(TorchFunctionMode):
    """Replaces each convolution by another function of input, weight and bias."""

    def __init__(self, function: Convolution) -> None:
        super().__init__()
        self.function = function

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (self.function if func is torch.conv2d else func)(*args, **(kwargs or {}))


def in_float64(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    return F.conv2d(x.double(), weight.double(), bias.double(), padding=padding).float()


def as_products(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    columns = F.unfold(x, weight.shape[-1], padding=padding)
    return (weight.flatten(1) @ columns + bias[:, None]).unflatten(2, x.shape[2:])


def in_a_batch(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    return F.conv2d(x.repeat(8, 1, 1, 1), weight, bias, padding=padding)[: len(x)]


def channels_last(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    y = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, bias, padding=padding)
    return y.contiguous(memory_format=torch.contiguous_format)


def in_onnxruntime(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    given = {"x": x, "weight": weight, "bias": bias}
    found = _session(padding).run(None, {name: tensor.numpy() for name, tensor in given.items()})
    return torch.from_numpy(np.asarray(found[0]))


@cache
def _session(padding: int) -> Any:
    """A program of one convolution in onnxruntime."""
    import onnxruntime
    from onnx import TensorProto, helper

    names = ("x", "weight", "bias", "y")
    shapes: list[list[str]] = [["n", "i", "h", "w"], ["o", "i", "k", "k"], ["o"], ["n", "o", "h", "w"]]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)
    ]
    node = helper.make_node("Conv", names[:3], names[3:], pads=[padding] * 4)
    graph = helper.make_graph([node], "convolution", infos[:3], infos[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setting the flag mentions those of Intel's GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            yield


CONFIGURATIONS: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
    "as encoded": contextlib.nullcontext,
    "other number of threads": two_threads,
    "oneDNN off": without_onednn,
    "float64": lambda: Convolutions(in_float64),
    "matrix products": lambda: Convolutions(as_products),
    "batch of 8": lambda: Convolutions(in_a_batch),
    "channels last": lambda: Convolutions(channels_last),
    "onnxruntime": lambda: Convolutions(in_onnxruntime),
}


class FloatConv2d(nn.Module):
    """The convolution of a frozen `IntegerConv2d` without its rounding, with weights that are no integers.

    They are a third of the integers, as weights in floats are multiples of no power of two that their sums could hold.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        weight, bias, shift = layer._integers()  # pyright: ignore[reportCallIssue]
        scale = torch.exp2(-shift.float()) / 3
        self.weight, self.bias, self.lowest = weight * scale[:, None, None, None], bias * scale, -255 * layer.signed

    def forward(self, x: Tensor) -> Tensor:
        return 3 * F.conv2d(x.clamp(self.lowest, 255), self.weight, self.bias, padding=self.weight.shape[-1] // 2)


def float_twin(model: M) -> M:
    """Returns a copy of a frozen model that has the same weights and rounds nothing."""
    twin = copy.deepcopy(model)
    for name, layer in model.named_modules():
        if type(layer).__name__ == "FrozenIntegerConv2d":
            twin.set_submodule(name, FloatConv2d(layer))
    return twin
