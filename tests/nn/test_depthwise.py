"""The depthwise convolution: torch's own, and gradients that are right in every layout, dtype and transform."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from liftlayers.nn._depthwise import DepthwiseConv2d
from tests.strategies import seeds, tensor

Function = Callable[[Tensor, Tensor], Tensor]
sides, dilations = st.sampled_from([1, 3, 5, 7, 9]), st.integers(1, 3)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def ours(layer: DepthwiseConv2d) -> Function:
    return lambda x, weight: torch.func.functional_call(layer, {"weight": weight}, (x,))


def torchs(side: int, dilation: int) -> Function:
    padding = dilation * (side // 2)
    return lambda x, weight: F.conv2d(x, weight, padding=padding, dilation=dilation, groups=len(weight))


def pulled_back(function: Function, x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    return torch.autograd.grad(function(x, weight), (x, weight), gradient)


def error(result: Tensor, expected: Tensor) -> float:
    return float((result - expected).abs().max() / expected.abs().max())


@given(seed=seeds(), shape=st.tuples(*[st.integers(1, 12)] * 4), side=sides, dilation=dilations)
@layouts
def test_is_torchs_convolution(
    layout: torch.memory_format, seed: int, shape: tuple[int, ...], side: int, dilation: int
) -> None:
    x, gradient = (tensor(seed + k, *shape).double().contiguous(memory_format=layout) for k in range(2))
    layer = DepthwiseConv2d(shape[1], side, dilation=dilation).double()
    function = torchs(side, dilation)
    assert torch.equal(layer(x), function(x, layer.weight))
    for result, expected in zip(
        pulled_back(ours(layer), x, layer.weight, gradient),
        pulled_back(function, x, layer.weight, gradient),
        strict=True,
    ):
        assert torch.allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize(
    ("size", "dilation"),  # by which oneDNN chooses its kernels
    [
        pytest.param(size, dilation, marks=[pytest.mark.slow] * (size == 65 and dilation > 1))
        for size in (16, 32, 65)
        for dilation in (1, 2, 3)
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@layouts
def test_gradients_are_right_where_torchs_may_not_be(
    layout: torch.memory_format, dtype: torch.dtype, size: int, side: int, dilation: int
) -> None:
    x, gradient = (tensor(k, 2, 32, size, size - 1).to(dtype).contiguous(memory_format=layout) for k in range(2))
    layer = DepthwiseConv2d(32, side, dilation=dilation).to(dtype)
    exact = pulled_back(torchs(side, dilation), x.double(), layer.weight.double(), gradient.double())
    for result, expected in zip(pulled_back(ours(layer), x, layer.weight, gradient), exact, strict=True):
        assert error(result.double(), expected) <= {torch.float32: 1e-5, torch.bfloat16: 2.0**-7}[dtype]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, for forward mode
@pytest.mark.filterwarnings("ignore:Please use .torch.vmap.:FutureWarning")  # torch's own, in gradcheck of torch 2.6
@pytest.mark.parametrize(("side", "dilation"), [(5, 2), (3, 1)])
def test_derivatives_of_every_kind(side: int, dilation: int) -> None:
    layer = DepthwiseConv2d(2, side, dilation=dilation).double()
    x, weight = (
        tensor(seed, *shape).double().requires_grad_() for seed, shape in enumerate([(1, 2, 4, 3), (2, 1, side, side)])
    )
    function = ours(layer)
    assert gradcheck(
        function, (x, weight), check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert gradgradcheck(function, (x, weight), check_fwd_over_rev=True, check_rev_over_rev=True)


def test_many_kernels_at_a_time() -> None:
    layer, x = DepthwiseConv2d(3, 5), tensor(0, 2, 3, 8, 9)
    weights = tensor(1, 4, 3, 1, 5, 5)

    def gradient(function: Function) -> Callable[[Tensor], Tensor]:
        return torch.func.grad(lambda weight: function(x, weight).square().sum())

    expected = torch.stack([gradient(torchs(5, 1))(weight) for weight in weights])
    assert torch.allclose(torch.vmap(gradient(ours(layer)))(weights), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frozen", [0, 1])
def test_gives_only_the_gradients_asked_for(frozen: int) -> None:
    layer, x = DepthwiseConv2d(3, 5), tensor(0, 1, 3, 8, 8).requires_grad_()
    both = (x, layer.weight)
    both[frozen].requires_grad_(False)
    layer(x).sum().backward()
    assert both[frozen].grad is None
    assert both[1 - frozen].grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_casts_as_it_does_for_torch(dtype: torch.dtype) -> None:
    layer, x = DepthwiseConv2d(3, 5).to(dtype), tensor(0, 1, 3, 8, 8).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = layer(x), torchs(5, 1)(x, layer.weight)
    assert y.dtype == expected.dtype
    assert torch.equal(y, expected)
    y.sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert x.grad.dtype == layer.weight.grad.dtype == dtype


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by the compiler
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_compiles_in_one_graph_and_exports() -> None:
    layer, x = DepthwiseConv2d(3, 5, dilation=2), tensor(0, 1, 3, 8, 8).requires_grad_()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    gradients = [torch.autograd.grad(f(x).square().sum(), (x, layer.weight)) for f in (layer, compiled)]
    for result, expected in zip(*gradients, strict=True):
        assert torch.allclose(result, expected, atol=1e-5)
    expected = layer(x)
    assert torch.equal(torch.export.export(layer, (x,)).module()(x), expected)
    assert torch.equal(torch.jit.trace(layer, (x,))(x), expected)  # pyright: ignore[reportCallIssue]
