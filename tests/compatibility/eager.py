"""Columns of the compatibility matrix for layouts, low precision and derivatives; docstrings go into the docs."""

__all__ = [
    "batches_under_vmap",
    "has_a_second_derivative",
    "has_forward_derivatives",
    "keeps_channels_last",
    "runs_in_bfloat16",
    "runs_in_channels_last",
    "runs_in_float16",
    "runs_under_autocast",
]

import copy

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from liftlayers import Invertible
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts
from tests.compatibility.layers import ThereAndBack, case
from tests.strategies import tensor

Bands = tuple[Tensor, ...]


def runs_in_channels_last(name: str) -> None:
    """channels-last inputs give the same results as contiguous ones, and the inverse is correct."""
    layer, bands = case(name)
    expected = as_tuple(layer(*bands))
    layer, last = channels_last(layer, bands)
    torch.testing.assert_close(as_tuple(layer(*last)), expected, rtol=1e-5, atol=1e-6)
    if isinstance(layer, Invertible):
        assert_inverts(layer, *last)


def keeps_channels_last(name: str) -> None:
    """for channels-last inputs, `forward` and `inverse` return channels-last bands."""
    layer, bands = channels_last(*case(name))
    outputs = ThereAndBack(layer)(*bands)
    kept = [y.stride(1) == 1 for y in outputs]
    assert all(kept), f"{kept.count(False)} of {len(kept)} bands came out in another layout"


def runs_in_bfloat16(name: str) -> None:
    """bands keep their dtype; bands and inverse are correct up to rounding (see *Low precision*)."""
    inverts_in(torch.bfloat16, name)


def runs_in_float16(name: str) -> None:
    """the same for float16."""
    inverts_in(torch.float16, name)


def inverts_in(dtype: torch.dtype, name: str) -> None:
    layer, bands = case(name, dtype=dtype)
    layer.requires_grad_(False)
    exactly = copy.deepcopy(layer).double()(*(band.double() for band in bands))
    outputs = as_tuple(layer(*bands))
    assert {y.dtype for y in outputs} == {dtype}
    for y, expected in zip(outputs, as_tuple(exactly), strict=True):
        assert float((y.double() - expected).abs().max()) <= 4 * torch.finfo(dtype).eps * float(expected.abs().max())
    if isinstance(layer, Invertible):
        assert_inverts(layer, *bands, bound=4)


def runs_under_autocast(name: str) -> None:
    """networks in bfloat16, bands in float32; 8-bit images return within the float32 bound (see {doc}`exactness`)."""
    layer, bands = case(name)
    with torch.autocast("cpu", torch.bfloat16):
        assert {y.dtype for y in as_tuple(layer(*bands))} == {torch.float32}
        if isinstance(layer, Invertible):
            assert_inverts(layer, *bands)


def batches_under_vmap(name: str) -> None:
    """`torch.func.vmap` returns the same as a loop."""
    layer, _ = case(name, dtype=torch.float64)
    several = [case(name, dtype=torch.float64)[1], case(name, dtype=torch.float64)[1]]
    stacked = tuple(torch.stack(pair) for pair in zip(*several, strict=True))
    module = ThereAndBack(layer)
    one_by_one = [module(*bands) for bands in several]
    expected = tuple(torch.stack(pair) for pair in zip(*one_by_one, strict=True))
    torch.testing.assert_close(vmap(module)(*stacked), expected, rtol=1e-12, atol=1e-12)


def has_forward_derivatives(name: str) -> None:
    """`torch.func.jvp` is the transpose of `torch.func.vjp`."""
    module, bands = differentiable(name)
    outputs, back, *_ = vjp(module, *bands)
    tangents = tuple(tensor(10 + i, *x.shape, dtype=x.dtype) for i, x in enumerate(bands))
    cotangents = tuple(tensor(20 + i, *y.shape, dtype=y.dtype) for i, y in enumerate(outputs))
    _, pushed, *_ = jvp(module, bands, tangents)
    forwards = sum(float((w * y).sum().detach()) for w, y in zip(cotangents, pushed, strict=True))
    backwards = sum(float((v * x).sum().detach()) for v, x in zip(tangents, back(cotangents), strict=True))
    assert abs(forwards - backwards) <= 1e-10 * abs(backwards)


def has_a_second_derivative(name: str) -> None:
    """it agrees with finite differences of the first derivative (`gradgradcheck`)."""
    module, bands = differentiable(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the check draws directions, and one of few hides a wrong derivative
        assert torch.autograd.gradgradcheck(module, bands, fast_mode=True)


def differentiable(name: str) -> tuple[nn.Module, Bands]:
    layer, bands = case(name, 2, 4, 4, dtype=torch.float64)
    return ThereAndBack(layer.requires_grad_(False)), tuple(band.requires_grad_() for band in bands)


def channels_last(layer: nn.Module, bands: Bands) -> tuple[nn.Module, Bands]:
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs forget it
    return layer, tuple(band.contiguous(memory_format=torch.channels_last) for band in bands)
