"""NAFUNet: the published sizes, an identity start, any image size, local skips, errors."""

import re
from typing import Any, TypedDict

import pytest
import torch
from hypothesis import given
from torch import Tensor

from liftlayers import NAFUNet
from liftlayers.testing import randomise_
from tests.devices import on_each_device
from tests.strategies import images, seeds, tensor


class Depths(TypedDict):
    encoder: tuple[int, ...]
    middle: int
    decoder: tuple[int, ...]


SIDD = Depths(encoder=(2, 2, 4, 8), middle=12, decoder=(2, 2, 2, 2))
GOPRO = Depths(encoder=(1, 1, 1, 28), middle=1, decoder=(1, 1, 1, 1))
LIKE_SRM = Depths(encoder=(2, 2, 4), middle=2, decoder=(2, 2, 2))


def small(channels: int = 3, width: int = 4) -> NAFUNet:
    return NAFUNet(channels, width, encoder=(1, 1), middle=1, decoder=(1, 1))


@pytest.mark.parametrize(
    ("width", "depths", "expected"),
    [
        (32, SIDD, 29_159_715),
        (64, SIDD, 115_982_915),
        (32, GOPRO, 17_111_907),
        (64, GOPRO, 67_888_835),
        (32, LIKE_SRM, 2_150_179),
    ],
    ids=["SIDD w32", "SIDD w64", "GoPro w32", "GoPro w64", "like SRM"],
)
def test_has_the_published_size(width: int, depths: Depths, expected: int) -> None:
    with torch.device("meta"):
        net = NAFUNet(3, width, **depths)
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


@on_each_device
@given(x=images(multiple=1))
def test_starts_as_the_identity_at_any_size(device: str, x: Tensor) -> None:
    x = x.to(device)
    assert torch.equal(small(x.shape[1]).to(x)(x), x)


@given(x=images(multiple=1), seed=seeds())
def test_keeps_any_size_and_dtype(x: Tensor, seed: int) -> None:
    y = randomise_(small(x.shape[1]), seed).to(x.dtype)(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert not torch.equal(y, x)


def test_pads_with_zeros_and_crops() -> None:
    net, x = randomise_(small().double()), tensor(0, 2, 3, 5, 7, dtype=torch.float64)
    padded = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    padded[..., :5, :7] = x
    assert torch.equal(net(x), net(padded)[..., :5, :7])


def test_correction_is_made_of_encoder_middle_and_decoder() -> None:
    net, x = randomise_(small()), tensor(0, 1, 3, 8, 8)
    features, skips = net.encoder(x)
    assert features.shape == (1, 16, 2, 2)
    assert [tuple(skip.shape) for skip in skips] == [(1, 4, 8, 8), (1, 8, 4, 4)]
    assert torch.equal(net(x), x + net.decoder(net.middle(features), skips))


def test_treats_images_of_a_batch_on_their_own() -> None:
    net, x = randomise_(small().double()), tensor(0, 3, 3, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([net(image[None]) for image in x]), rtol=1e-12, atol=1e-12)


def test_every_parameter_learns_once_moved_from_its_start() -> None:
    net = randomise_(small())
    net(tensor(0, 1, 3, 8, 8)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


# Errors


@pytest.mark.parametrize(("encoder", "decoder"), [((1, 1), (1,)), ((1,), (1, 1)), ((), ()), ((), (1,))])
def test_other_numbers_of_levels_are_refused(encoder: tuple[int, ...], decoder: tuple[int, ...]) -> None:
    message = f"NAFUNet needs as many encoder as decoder levels, at least one, got {len(encoder)} and {len(decoder)}$"
    with pytest.raises(ValueError, match=message):
        NAFUNet(3, 4, encoder=encoder, middle=1, decoder=decoder)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("encoder[1]", ((1, -1), 1, (1, 1))), ("middle", ((1,), -1, (1,))), ("decoder[0]", ((1,), 1, (-1,)))],
)
def test_negative_numbers_of_blocks_are_refused(name: str, blocks: tuple[Any, ...]) -> None:
    encoder, middle, decoder = blocks
    with pytest.raises(ValueError, match=f"^NAFUNet needs {re.escape(name)} of at least 0, got -1$"):
        NAFUNet(3, 4, encoder=encoder, middle=middle, decoder=decoder)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8), (8,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    numbers = re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"NAFUNet needs a \(B, 3, H, W\) tensor, got {numbers}$"):
        small()(torch.zeros(shape))


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"NAFUNet needs floating-point tensors, got torch\.uint8"):
        small()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
