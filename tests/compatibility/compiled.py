"""Columns of the compatibility matrix for the compiler and the exporters; docstrings go into the docs."""

__all__ = [
    "compiles_for_changing_sizes",
    "compiles_in_one_graph",
    "exports",
    "goes_to_onnx",
    "goes_to_onnx_and_back",
]

import io
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim, ShapesCollection

from liftlayers import Inverse, Invertible
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_same_gradients
from tests.compatibility.layers import ThereAndBack, case

Bands = tuple[Tensor, ...]
# All sizes differ: the compiler treats equal sizes as one.
FIRST, SECOND = (3, 12, 20), (5, 28, 16)
ROUNDING = 2.0**-15  # of other convolutions, after which `exact` may round to the next multiple: two steps of its grid


def compiles_in_one_graph(name: str) -> None:
    """forward, inverse and, unless the bands are integers, the backward pass compile without graph breaks."""
    layer, bands = case(name, dtype=torch.float64)
    plain, compiled = ThereAndBack(layer), ThereAndBack(layer)
    compiled.compile(fullgraph=True, backend="aot_eager")
    floats = [band.requires_grad_() for band in bands if band.is_floating_point()]
    torch.testing.assert_close(compiled(*bands), plain(*bands), rtol=1e-12, atol=1e-12)
    if floats:
        assert_same_gradients(plain, compiled, *bands, tolerance=1e-10)


def compiles_for_changing_sizes(name: str) -> None:
    """one compilation serves batches of 2 to 15 and all sizes that need no padding (see *torch.compile*)."""
    first = (7, *FIRST[1:]) if name == "LosslessColour" else FIRST  # a batch other than its three channels
    layer, bands = case(name, *first)
    compiled = ThereAndBack(layer)
    compiled.compile(fullgraph=True, dynamic=True, backend="eager")
    compiled(*bands)
    _, others = case(name, *SECOND)
    with torch.compiler.set_stance("fail_on_recompile"):
        actual = compiled(*others)
    torch.testing.assert_close(actual, ThereAndBack(layer)(*others))


def exports(name: str) -> None:
    """`torch.export` for all valid batch and image sizes, including saving and loading."""
    layer, bands = case(name, *FIRST)
    module, file = ThereAndBack(layer), io.BytesIO()
    torch.export.save(torch.export.export(module, bands, dynamic_shapes=any_size(module, bands)), file)
    file.seek(0)
    _, others = case(name, *SECOND)
    torch.testing.assert_close(torch.export.load(file).module()(*others), module(*others))


def goes_to_onnx(name: str) -> None:
    """export to ONNX for all valid batch and image sizes; onnxruntime computes the same as PyTorch."""
    layer, bands = case(name, *FIRST)
    _, others = case(name, *SECOND)
    torch.testing.assert_close(run(onnx(layer, bands), others), as_tuple(layer(*others)), rtol=1e-5, atol=ROUNDING)


def goes_to_onnx_and_back(name: str) -> None:
    """the same for {py:obj}`Inverse` of the layer; in onnxruntime it inverts the layer."""
    layer, bands = case(name, *FIRST)
    assert isinstance(layer, Invertible)
    back = onnx(Inverse(layer).eval(), tuple(y.detach() for y in as_tuple(layer(*bands))))
    _, others = case(name, *SECOND)
    outputs = tuple(y.detach() for y in as_tuple(layer(*others)))
    torch.testing.assert_close(run(back, outputs), others, rtol=1e-5, atol=ROUNDING)


def any_size(module: nn.Module, bands: Bands) -> dict[str, Any]:
    """Batch and sides are free; the exporter finds the relations between them."""
    sizes = ShapesCollection()
    for band in bands:
        sizes[band] = {0: Dim.DYNAMIC} | dict.fromkeys(range(2, band.ndim), Dim.DYNAMIC)
    return sizes.dynamic_shapes(module, bands)


def onnx(module: nn.Module, bands: Bands) -> bytes:
    program = torch.onnx.export(module, bands, dynamo=True, dynamic_shapes=any_size(module, bands), verbose=False)
    assert program is not None
    return program.model_proto.SerializeToString()


def run(model: bytes, bands: Bands) -> Bands:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    outputs = session.run(None, {name: band.numpy() for name, band in zip(names, bands, strict=True)})
    return tuple(torch.from_numpy(output) for output in outputs)
