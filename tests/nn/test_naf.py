"""NAFBlock and its parts against references written from the equations."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers import LayerNorm2d, NAFBlock, SimpleGate
from liftlayers.testing import randomise_
from tests.devices import on_each_device
from tests.strategies import images, seeds, tensor


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6) -> Tensor:
    """The equation of `LayerNorm2d`, sum by sum."""
    mean = x.sum(dim=1, keepdim=True) / x.shape[1]
    variance = (x - mean).square().sum(dim=1, keepdim=True) / x.shape[1]
    return weight.view(1, -1, 1, 1) * (x - mean) / (variance + eps).sqrt() + bias.view(1, -1, 1, 1)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution as a product of matrices."""
    return torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x) + bias.view(1, -1, 1, 1)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A depthwise 3x3 convolution as a sum of nine shifted copies."""
    height, width = x.shape[-2:]
    padded = x.new_zeros(*x.shape[:2], height + 2, width + 2)
    padded[..., 1:-1, 1:-1] = x
    shifts = (
        weight[:, 0, i, j].view(1, -1, 1, 1) * padded[..., i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    )
    return torch.stack(list(shifts)).sum(dim=0) + bias.view(1, -1, 1, 1)


def gate(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return x[:, :half] * x[:, half:]


def reference(block: NAFBlock, x: Tensor) -> Tensor:
    """The two lines of the equation."""
    w = {name: parameter.detach() for name, parameter in block.named_parameters()}

    def of(name: str) -> tuple[Tensor, Tensor]:
        return w[f"{name}.weight"], w[f"{name}.bias"]

    u = gate(depthwise(pointwise(norm(x, *of("norm1")), *of("expand1")), *of("depthwise")))
    u = u * pointwise(u.sum(dim=(2, 3), keepdim=True) / (u.shape[2] * u.shape[3]), *of("attention"))
    y = x + w["beta"] * pointwise(u, *of("project1"))
    return y + w["gamma"] * pointwise(gate(pointwise(norm(y, *of("norm2")), *of("expand2"))), *of("project2"))


def naf_block(channels: int, seed: int) -> NAFBlock:
    """In float64, with scales of order one: their zero start would hide both branches."""
    block = randomise_(NAFBlock(channels).double(), seed)
    with torch.no_grad():
        block.beta.add_(1)
        block.gamma.sub_(1)
    return block


@pytest.mark.parametrize(("channels", "expected"), [(32, 8_224), (64, 30_784), (128, 118_912), (256, 467_200)])
def test_block_has_the_published_size(channels: int, expected: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in NAFBlock(channels).parameters()) == expected


@given(x=images(multiple=1, dtype=torch.float64), seed=seeds())
def test_block_equals_its_equation(x: Tensor, seed: int) -> None:
    block = naf_block(x.shape[1], seed)
    torch.testing.assert_close(block(x), reference(block, x), rtol=1e-12, atol=1e-12)


@on_each_device
@given(x=images(multiple=1))
def test_block_starts_as_the_identity(device: str, x: Tensor) -> None:
    x = x.to(device)
    assert torch.equal(NAFBlock(x.shape[1]).to(x)(x), x)


def test_both_branches_learn_from_the_start() -> None:
    block, x = NAFBlock(4), tensor(0, 1, 4, 5, 5)
    block(x).square().sum().backward()
    for scale in (block.beta, block.gamma):
        assert scale.grad is not None
        assert scale.grad.abs().max() > 0


def test_block_treats_images_of_a_batch_on_their_own() -> None:
    block, x = naf_block(4, 0), tensor(0, 3, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(block(x), torch.cat([block(image[None]) for image in x]), rtol=1e-12, atol=1e-12)


@given(x=images(multiple=1, dtype=torch.float64), seed=seeds(), eps=st.sampled_from([1e-6, 1e-3, 1.0]))
def test_layer_norm_equals_its_equation(x: Tensor, seed: int, eps: float) -> None:
    layer = randomise_(LayerNorm2d(x.shape[1], eps=eps).double(), seed)
    expected = norm(x, layer.weight.detach(), layer.bias.detach(), eps)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_layer_norm_starts_by_making_pixels_standard() -> None:
    y = LayerNorm2d(8)(tensor(0, 2, 8, 5, 6))
    torch.testing.assert_close(y.mean(dim=1), torch.zeros(2, 5, 6), rtol=0, atol=1e-6)
    torch.testing.assert_close(y.var(dim=1, correction=0), torch.ones(2, 5, 6), rtol=0, atol=1e-3)


def test_layer_norm_is_finite_on_a_constant_pixel() -> None:
    assert torch.equal(LayerNorm2d(4)(torch.full((1, 4, 2, 2), 3.0)), torch.zeros(1, 4, 2, 2))


@given(x=images(multiple=1))
def test_gate_multiplies_the_halves(x: Tensor) -> None:
    y = tensor(1, *x.shape, dtype=x.dtype)
    assert torch.equal(SimpleGate()(torch.cat([x, y], dim=1)), x * y)


# Errors


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (1, 8, 4, 4), (4, 4, 4), (4,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    numbers = re.escape(str(shape))
    for layer in (LayerNorm2d(4), NAFBlock(4)):
        with pytest.raises(ValueError, match=rf"LayerNorm2d needs a \(B, 4, H, W\) tensor, got {numbers}$"):
            layer(torch.zeros(shape))


def test_gate_refuses_odd_channels_and_other_ranks() -> None:
    with pytest.raises(ValueError, match="SimpleGate needs an even number of channels, got 3"):
        SimpleGate()(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"SimpleGate needs a \(B, C, H, W\) tensor, got \(4, 4, 4\)$"):
        SimpleGate()(torch.zeros(4, 4, 4))


@pytest.mark.parametrize("layer", [LayerNorm2d(4), NAFBlock(4), SimpleGate()], ids=lambda layer: type(layer).__name__)
def test_integers_are_refused(layer: torch.nn.Module) -> None:
    with pytest.raises(TypeError, match=r"(LayerNorm2d|SimpleGate) needs floating-point tensors, got torch\.int64"):
        layer(torch.zeros(1, 4, 4, 4, dtype=torch.int64))
