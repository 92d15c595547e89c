"""The 1x1 convolution against torch's, in both memory layouts."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.nn._pointwise import PointwiseConv2d
from liftlayers.testing import randomise_
from tests.strategies import images, seeds, tensor

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@given(
    x=images(multiple=1, dtype=torch.float64),
    layout=st.sampled_from(list(LAYOUTS)),
    bias=st.booleans(),
    scaled=st.booleans(),
    seed=seeds(),
)
def test_is_torchs_convolution(x: Tensor, layout: str, bias: bool, scaled: bool, seed: int) -> None:
    x = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    conv = randomise_(PointwiseConv2d(x.shape[1], 5, bias=bias).double(), seed)
    scale = tensor(seed, 5, 1, 1, dtype=torch.float64).requires_grad_()
    y = conv(x, scale=scale if scaled else None)
    expected = F.conv2d(x, conv.weight, conv.bias) * (scale if scaled else 1)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    inputs = [x, *conv.parameters(), *([scale] if scaled else [])]
    gradients = (torch.autograd.grad((z * z).sum(), inputs) for z in (y, expected))
    for found, right in zip(*gradients, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keeps_the_memory_layout(layout: str) -> None:
    x = tensor(0, 2, 3, 4, 6).contiguous(memory_format=LAYOUTS[layout])
    assert PointwiseConv2d(3, 5)(x).is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_have_the_strides_of_the_weights(layout: str) -> None:  # else DistributedDataParallel warns
    conv = PointwiseConv2d(3, 5).to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]  # missing in stubs
    for image_layout in LAYOUTS.values():
        conv(tensor(0, 2, 3, 4, 6).contiguous(memory_format=image_layout)).square().sum().backward()
        assert conv.weight.grad is not None
        assert conv.weight.grad.stride() == conv.weight.stride()
        conv.zero_grad()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by the compiler
def test_compiles_in_one_graph() -> None:
    conv = PointwiseConv2d(3, 5)
    x = tensor(0, 2, 3, 4, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    results = [(y := f(x), *torch.autograd.grad(y.square().sum(), (x, conv.weight))) for f in (conv, compiled)]
    for result, expected in zip(*results, strict=True):
        torch.testing.assert_close(result, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own, while it exports
def test_is_a_convolution_in_onnx() -> None:
    pytest.importorskip("onnxscript", reason="needs the extra web")
    x = tensor(0, 2, 3, 4, 6).contiguous(memory_format=torch.channels_last)
    program = torch.onnx.export(PointwiseConv2d(3, 5).eval(), (x,), dynamo=True, verbose=False)
    assert [node.op_type for node in program.model_proto.graph.node] == ["Conv"]  # type: ignore[union-attr]
