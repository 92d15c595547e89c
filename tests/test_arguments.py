"""Arguments of a wrong kind are refused where they are given, by an error that names them; NumPy's integers are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.swa_utils import AveragedModel

from liftlayers import (
    ActNorm,
    ConvPredictor,
    Haar,
    Invertible,
    InvertibleConv1x1,
    LearnedWavelet,
    LiftingBlock,
    LosslessWavelet,
    NAFBlock,
    NAFUNet,
    PixelUnshuffle,
    ResidualPredictor,
    Sequential,
    Split,
    ToGrid,
    UndecimatedWavelet,
    Wavelet,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.functional import dwt2d, haar_analysis, idwt2d, pad_to_multiple, unpack
from liftlayers.testing import assert_inverts
from tests.compatibility.layers import case
from tests.registry import REGISTRY

x = torch.zeros(1, 3, 8, 8)


def synthesis(size: Any) -> Tensor:
    return idwt2d(dwt2d(torch.zeros(1, 3, 7, 7), "haar", boundary="symmetric"), "haar", boundary="symmetric", size=size)


def unet(width: Any) -> NAFUNet:
    return NAFUNet(3, width, encoder=(1,), middle=1, decoder=(1,))


WHOLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "pad_to_multiple": (lambda n: pad_to_multiple(x, n), "pad_to_multiple needs a whole number as multiple"),
    "unpack": (lambda n: unpack(x, level=n), "unpack needs a whole number as level"),
    "UndecimatedWavelet": (
        lambda n: UndecimatedWavelet("haar", num_levels=n),
        "UndecimatedWavelet needs a whole number as num_levels",
    ),
    "idwt2d": (lambda n: synthesis((7, n)), "idwt2d needs a whole number as size along axis -1"),
    "Split": (lambda n: Split(1, n), "Split needs a whole number as size"),
    "PixelUnshuffle": (PixelUnshuffle, "PixelUnshuffle needs a whole number as factor"),
    "ActNorm": (ActNorm, "ActNorm needs a whole number as channels"),
    "InvertibleConv1x1": (InvertibleConv1x1, "InvertibleConv1x1 needs a whole number as channels"),
    "Haar": (lambda n: Haar(spatial_dims=n), "Haar needs a whole number as spatial_dims"),
    "haar_analysis": (lambda n: haar_analysis(x, spatial_dims=n), "haar_analysis needs a whole number as spatial_dims"),
    "ResidualPredictor": (
        lambda n: ResidualPredictor(1, 1, num_blocks=n),
        "ResidualPredictor needs a whole number as num_blocks",
    ),
    "ConvPredictor": (lambda n: ConvPredictor(3, n), "ConvPredictor needs a whole number as out_channels"),
    "NAFBlock": (NAFBlock, "NAFBlock needs a whole number as channels"),
    "NAFUNet": (unet, "NAFUNet needs a whole number as width"),
    "NAFUNet, levels": (
        lambda n: NAFUNet(3, 2, encoder=(1, n), middle=1, decoder=(1, 1)),
        r"NAFUNet needs a whole number as encoder\[1\]",
    ),
    "ToGrid": (ToGrid, "ToGrid needs a whole number as bits"),
    "exact": (lambda n: exact(Haar(), bits=n), "exact needs a whole number as bits"),
}


MOVING = {"Swap", "Sequential, empty"}  # they never look at a band


@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in MOVING])
@pytest.mark.parametrize("band", ["a", None, np.zeros((2, 3, 8, 8)), [x]], ids=["text", "None", "array", "list"])
def test_bands_are_tensors(name: str, band: Any) -> None:
    layer, bands = case(name)
    inverse = getattr(layer, "inverse", None)
    directions = [(layer, bands)] if inverse is None else [(layer, bands), (inverse, as_tuple(layer(*bands)))]
    for direction, given in directions:
        for position in range(len(given)):
            with pytest.raises(TypeError, match=r"needs .*tensors, got|needs integers"):
                direction(*given[:position], band, *given[position + 1 :])


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("number", [2.0, "2", None, True])
def test_whole_numbers(name: str, number: Any) -> None:
    call, message = WHOLE[name]
    with pytest.raises(TypeError, match=f"{message}, got {number!r}"):
        call(number)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "idwt2d"])
def test_integers_of_numpy(name: str) -> None:
    WHOLE[name][0](np.int64(2))


@pytest.mark.parametrize("chain", [ConvPredictor(1, 3), [Haar()], None])
def test_exact_needs_a_chain(chain: Any) -> None:
    with pytest.raises(TypeError, match=rf"exact needs an Invertible module.*got {type(chain).__name__}"):
        exact(chain)


@pytest.mark.parametrize("network", [3, nn.Conv2d(1, 1, 1)])
def test_learned_wavelets_make_their_networks(network: Any) -> None:
    message = f"LearnedWavelet needs a function that makes a network, got {type(network).__name__}"
    with pytest.raises(TypeError, match=message):
        LearnedWavelet("5/3", network=network)
    with pytest.raises(TypeError, match=r"a learned wavelet needs an nn\.Module as its network, got int"):
        LearnedWavelet("5/3", network=lambda inputs, outputs: inputs + outputs)  # type: ignore[arg-type, return-value]


WAVELETS: list[Invertible] = [Haar(), Wavelet("9/7"), LearnedWavelet("9/7"), LosslessWavelet("5/3")]
NAMES = [type(wavelet).__name__ for wavelet in WAVELETS]


@pytest.mark.parametrize("wavelet", WAVELETS, ids=NAMES)
@pytest.mark.parametrize("shape", [(1, 3, 0, 8), (1, 3, 8, 0)])
def test_empty_sides(wavelet: Invertible, shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.int32 if isinstance(wavelet, LosslessWavelet) else torch.float32)
    with pytest.raises(ValueError, match=r"without empty sides, got \(1, 3, [08], [08]\)"):
        wavelet(image)


@pytest.mark.parametrize("wavelet", WAVELETS, ids=NAMES)
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 0, 8, 8)])
def test_no_images_and_no_channels(wavelet: Invertible, shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.int32 if isinstance(wavelet, LosslessWavelet) else torch.float32)
    assert_inverts(wavelet, image)


def block() -> LiftingBlock:
    return LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3))


@pytest.mark.parametrize("memory", ["store", "reversible", "checkpoint"])
@pytest.mark.parametrize("wrap", [lambda chain: chain, exact], ids=["float", "exact"])
def test_tensors_without_values(memory: Any, wrap: Callable[[Sequential], Invertible]) -> None:
    """Shapes of a training step can be found on the meta device and with fake tensors."""
    with torch.device("meta"):
        chain = wrap(Sequential(Haar(), block(), memory=memory))
        image = torch.zeros(1, 3, 8, 8, requires_grad=True)
    chain(image)[0].sum().backward()
    assert image.grad is not None
    with FakeTensorMode():
        chain = wrap(Sequential(Haar(), block(), memory=memory))
        image = torch.zeros(1, 3, 8, 8, requires_grad=True)
        chain(image)[0].sum().backward()
    assert image.grad is not None


def test_averages_of_models_and_their_buffers() -> None:
    """Of two equal models, with ActNorm's flag among the buffers."""
    model, images = Sequential(ActNorm(3)), torch.rand(4, 3, 8, 8)
    averaged = AveragedModel(model, use_buffers=True)
    expected = model(images)
    for _ in range(2):
        averaged.update_parameters(model)
    assert torch.equal(averaged(images), expected)
