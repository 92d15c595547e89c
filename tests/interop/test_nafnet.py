"""Published NAFNet weights, compared with a second implementation from the paper, under the published names."""

import math
import re
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from liftlayers.interop import load_nafnet
from tests.strategies import seeds, tensor

Weights = dict[str, Tensor]


class Sizes(NamedTuple):
    width: int
    encoder: tuple[int, ...]  # blocks a level, finest first
    middle: int
    decoder: tuple[int, ...]  # blocks a level, coarsest first


def sidd(width: int) -> Sizes:
    return Sizes(width, (2, 2, 4, 8), 12, (2, 2, 2, 2))


def gopro(width: int) -> Sizes:
    return Sizes(width, (1, 1, 1, 28), 1, (1, 1, 1, 1))


SMALL = Sizes(4, (1, 2), 1, (2, 1))


def block_shapes(c: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"beta": (1, c, 1, 1), "gamma": (1, c, 1, 1)}
    shapes |= {f"norm{number}.{kind}": (c,) for number in (1, 2) for kind in ("weight", "bias")}
    convolutions = {"conv1": (2 * c, c, 1, 1), "conv2": (2 * c, 1, 3, 3), "conv3": (c, c, 1, 1)}
    convolutions |= {"sca.1": (c, c, 1, 1), "conv4": (2 * c, c, 1, 1), "conv5": (c, c, 1, 1)}
    for name, shape in convolutions.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def published_shapes(sizes: Sizes, channels: int = 3) -> dict[str, tuple[int, ...]]:
    w, levels = sizes.width, len(sizes.encoder)
    shapes: dict[str, tuple[int, ...]] = {"intro.weight": (w, channels, 3, 3), "intro.bias": (w,)}
    shapes |= {"ending.weight": (channels, w, 3, 3), "ending.bias": (channels,)}
    rows = [(f"encoders.{level}", num, w * 2**level) for level, num in enumerate(sizes.encoder)]
    rows += [("middle_blks", sizes.middle, w * 2**levels)]
    rows += [(f"decoders.{level}", num, w * 2 ** (levels - 1 - level)) for level, num in enumerate(sizes.decoder)]
    for row, num, c in rows:
        shapes |= {f"{row}.{b}.{name}": shape for b in range(num) for name, shape in block_shapes(c).items()}
    for level in range(levels):
        c = w * 2**level
        shapes |= {f"downs.{level}.weight": (2 * c, c, 2, 2), f"downs.{level}.bias": (2 * c,)}
        shapes |= {f"ups.{levels - 1 - level}.0.weight": (4 * c, 2 * c, 1, 1)}
    return shapes


def random_weights(sizes: Sizes, channels: int = 3, seed: int = 0) -> Weights:
    """Of order one after every layer; beta, gamma and the ending, which start at zero in training, are not zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in published_shapes(sizes, channels).items():
        scale = math.prod(shape[1:]) ** -0.5 if name.endswith("weight") and len(shape) == 4 else 0.5
        weights[name] = scale * torch.randn(shape, generator=generator)
    return weights


def convolve(weights: Weights, name: str, x: Tensor, *, padding: int = 0, stride: int = 1, groups: int = 1) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)


def normalise(weights: Weights, name: str, x: Tensor) -> Tensor:
    mean = x.mean(dim=1, keepdim=True)
    variance = (x - mean).square().mean(dim=1, keepdim=True)
    weight, bias = (weights[f"{name}.{kind}"].view(1, -1, 1, 1) for kind in ("weight", "bias"))
    return weight * (x - mean) / (variance + 1e-6).sqrt() + bias


def gate(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return x[:, :half] * x[:, half:]


def published_block(weights: Weights, name: str, x: Tensor) -> Tensor:
    y = convolve(weights, f"{name}.conv1", normalise(weights, f"{name}.norm1", x))
    y = gate(convolve(weights, f"{name}.conv2", y, padding=1, groups=y.shape[1]))
    y = y * convolve(weights, f"{name}.sca.1", y.mean(dim=(2, 3), keepdim=True))
    x = x + weights[f"{name}.beta"] * convolve(weights, f"{name}.conv3", y)
    y = gate(convolve(weights, f"{name}.conv4", normalise(weights, f"{name}.norm2", x)))
    return x + weights[f"{name}.gamma"] * convolve(weights, f"{name}.conv5", y)


def published(weights: Weights, sizes: Sizes, x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    multiple = 2 ** len(sizes.encoder)
    image = x.new_zeros(*x.shape[:2], -(-height // multiple) * multiple, -(-width // multiple) * multiple)
    image[..., :height, :width] = x
    y, skips = convolve(weights, "intro", image, padding=1), []
    for level, num in enumerate(sizes.encoder):
        for b in range(num):
            y = published_block(weights, f"encoders.{level}.{b}", y)
        skips.append(y)
        y = convolve(weights, f"downs.{level}", y, stride=2)
    for b in range(sizes.middle):
        y = published_block(weights, f"middle_blks.{b}", y)
    for level, num in enumerate(sizes.decoder):
        y = F.pixel_shuffle(convolve(weights, f"ups.{level}.0", y), 2) + skips.pop()
        for b in range(num):
            y = published_block(weights, f"decoders.{level}.{b}", y)
    return (convolve(weights, "ending", y, padding=1) + image)[..., :height, :width]


def assert_same_network(sizes: Sizes, channels: int, seed: int, *shape: int) -> None:
    weights = random_weights(sizes, channels, seed)
    x = tensor(seed, *shape, dtype=torch.float64, positive=True)
    expected = published({name: weight.double() for name, weight in weights.items()}, sizes, x)
    with torch.no_grad():
        restored = load_nafnet(weights).double()(x)
    assert (expected - x).abs().max() > 0.1
    torch.testing.assert_close(restored, expected, rtol=1e-11, atol=1e-11)


depths = st.integers(1, 2).flatmap(lambda levels: st.tuples(*[st.integers(0, 2)] * levels))


@given(width=st.integers(1, 5), encoder=depths, middle=st.integers(0, 2), channels=st.integers(1, 4), seed=seeds())
def test_computes_the_same_as_the_published_network(
    width: int, encoder: tuple[int, ...], middle: int, channels: int, seed: int
) -> None:
    decoder = tuple((num + 1) % 3 for num in encoder)
    assert_same_network(Sizes(width, encoder, middle, decoder), channels, seed, 2, channels, 5, 11)


@pytest.mark.parametrize("sizes", [sidd(8), gopro(8)], ids=["SIDD", "GoPro"])
def test_computes_the_same_at_the_published_depths(sizes: Sizes) -> None:
    assert_same_network(sizes, 3, 0, 1, 3, 19, 33)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [(sidd(32), 29_159_715), (sidd(64), 115_982_915), (gopro(32), 17_111_907), (gopro(64), 67_888_835)],
    ids=["SIDD width 32", "SIDD width 64", "GoPro width 32", "GoPro width 64"],
)
def test_every_published_model_fits(sizes: Sizes, expected: int) -> None:
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in published_shapes(sizes).items()}
        net = load_nafnet({"params": weights})
    assert sum(weight.numel() for weight in weights.values()) == expected
    assert sum(parameter.numel() for parameter in net.parameters()) == expected
    assert [len(level) for level in net.encoder.levels] == list(sizes.encoder)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["params", "params_ema", "state_dict"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.", "net_g.", "_orig_mod.module.net.", ""])
def test_wrappers_around_the_weights_are_removed(key: str, prefix: str) -> None:
    weights = random_weights(SMALL)
    wrapped = {key: {prefix + name: weight for name, weight in weights.items()}}
    found, expected = load_nafnet(wrapped).state_dict(), load_nafnet(weights).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())


def test_weights_are_copies() -> None:
    weights = random_weights(SMALL)
    kept = {name: weight.clone() for name, weight in weights.items()}
    net = load_nafnet(weights)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7)
    assert all(torch.equal(weight, kept[name]) for name, weight in weights.items())


# Errors


def refused(weights: Weights) -> str:
    with pytest.raises(ValueError, match="load_nafnet needs the weights of a NAFNet, but ") as caught:
        load_nafnet(weights)
    return str(caught.value)


def test_missing_weights_are_named() -> None:
    weights = random_weights(SMALL)
    del weights["encoders.1.0.conv2.bias"], weights["ending.weight"]
    message = refused(weights)
    assert "encoders.1.0.conv2.bias is missing" in message
    assert "ending.weight is missing" in message


def test_unknown_weights_are_named() -> None:
    assert refused(random_weights(SMALL) | {"decoders.0.0.conv6.bias": torch.zeros(8)}).endswith(
        "but decoders.0.0.conv6.bias is unknown"
    )


def test_weights_of_other_shapes_are_named() -> None:
    assert refused(random_weights(SMALL) | {"middle_blks.0.beta": torch.zeros(16)}).endswith(
        "but middle_blks.0.beta has shape (16,) instead of (1, 16, 1, 1)"
    )


def test_a_long_list_is_cut() -> None:
    weights = {name: w for name, w in random_weights(SMALL).items() if not name.startswith("encoders.1.0.conv")}
    message = refused(weights)
    assert message.count("is missing") == 5
    assert message.endswith("; and 5 more")


@pytest.mark.parametrize(("encoder", "decoder"), [((1, 1), (1,)), ((1,), (1, 1))])
def test_halves_of_different_depth_are_refused(encoder: tuple[int, ...], decoder: tuple[int, ...]) -> None:
    weights = random_weights(Sizes(4, (1,) * 2, 1, (1,) * 2))
    for part, kept in (("downs", len(encoder)), ("ups", len(decoder))):
        weights = {name: w for name, w in weights.items() if not name.startswith(f"{part}.{kept}")}
    with pytest.raises(ValueError, match=f"as many encoder as decoder levels.*got {len(encoder)} and {len(decoder)}"):
        load_nafnet(weights)


@pytest.mark.parametrize(
    ("weights", "got"),
    [
        ({}, "0 other names"),
        ({"model": torch.zeros(1), "step": torch.zeros(1)}, "2 other names"),
        ({"intro.weight": torch.zeros(4)}, re.escape("shape (4,)")),
    ],
)
def test_other_files_are_refused(weights: Weights, got: str) -> None:
    with pytest.raises(ValueError, match=rf"needs intro.weight of shape \(width, channels, 3, 3\), got {got}"):
        load_nafnet(weights)


def test_a_file_name_is_refused() -> None:
    with pytest.raises(TypeError, match="load_nafnet needs a dict of weights by name, got str"):
        load_nafnet("NAFNet-SIDD-width32.pth")  # type: ignore[arg-type]
