"""Learned wavelets in use: bit for bit through `exact`, in low precision, and what they refuse."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from liftlayers import AffineCoupling, Haar, Inverse, Invertible, LiftingPyramid, Sequential, exact
from liftlayers.testing import randomise_
from liftlayers.wavelets.learned import BiasFreePredictor, LearnedWavelet, NonseparableLearnedWavelet
from tests.exact.exact_chains import assert_exact, autocast, blocks, casts, gradients, rounded, same
from tests.laws import assert_log_dets
from tests.strategies import tensor

Wavelet = LearnedWavelet | NonseparableLearnedWavelet
kinds = pytest.mark.parametrize("kind", [LearnedWavelet, NonseparableLearnedWavelet])
names = pytest.mark.parametrize("name", ["haar", "5/3", "9/7"])


def trained(wavelet: Wavelet, *, gain: float = 1.0) -> Wavelet:
    """Random weights, with the last weights of each network scaled."""
    randomise_(wavelet)
    with torch.no_grad():
        for name, parameter in wavelet.named_parameters():
            if ".last." in name:
                parameter.mul_(gain)
    return wavelet


# Bit for bit


@casts
@kinds
@names
@pytest.mark.parametrize("gain", [1, 4])
def test_inverts_bit_for_bit(kind: type[Wavelet], name: str, gain: float, cast: torch.dtype | None) -> None:
    wavelet = trained(kind(name, scale=None), gain=gain)
    x = tensor(0, 2, 3, 8, 12, positive=True)
    with autocast(cast):
        outputs = assert_exact(exact(wavelet), x)
        assert_exact(exact(Inverse(wavelet)), *outputs)


def test_plain_wavelets_do_not_return_every_bit() -> None:
    wavelet, (x,) = trained(LearnedWavelet("9/7", scale=None)), rounded((tensor(0, 2, 3, 8, 12, positive=True),))
    with torch.no_grad():
        assert not torch.equal(wavelet.inverse(*wavelet(x)), x)


def test_the_exact_form_at_its_start_is_the_named_wavelet_on_the_grid() -> None:
    x = tensor(0, 1, 3, 8, 8, positive=True)
    wavelet = LearnedWavelet("9/7", scale=None)
    for band, expected in zip(exact(wavelet)(x), wavelet(x), strict=True):
        torch.testing.assert_close(band, expected, rtol=0, atol=2.0**-12)
        assert torch.equal(band * 2.0**16, (band * 2.0**16).round())


CHAINS: dict[str, Callable[[], Invertible]] = {
    "pyramid": lambda: LiftingPyramid(
        [trained(LearnedWavelet("9/7", scale=None)), trained(NonseparableLearnedWavelet(scale=None))]
    ),
    "with blocks": lambda: Sequential(trained(LearnedWavelet(scale=None)), *blocks(1)),
    "there and back": lambda: Sequential(
        trained(LearnedWavelet(scale=None)), *blocks(1), Inverse(trained(LearnedWavelet("haar", scale=None)))
    ),
    "under a Haar transform": lambda: LiftingPyramid([Haar(), trained(LearnedWavelet("9/7", scale=None))]),
    "over a Haar transform": lambda: LiftingPyramid([trained(LearnedWavelet(boundary="reflect", scale=None)), Haar()]),
    "between Haar transforms": lambda: Sequential(
        LiftingPyramid([Haar(), trained(LearnedWavelet(scale=None))]), Inverse(LiftingPyramid([Haar(), Haar()]))
    ),
    "shared": lambda: trained(LearnedWavelet(shared=True, scale=None)),
}


@casts
@pytest.mark.parametrize("make", list(CHAINS.values()), ids=list(CHAINS))
def test_chains_invert_bit_for_bit(make: Callable[[], Invertible], cast: torch.dtype | None) -> None:
    chain, x = make(), tensor(0, 2, 4, 8, 12, positive=True)
    with autocast(cast):
        outputs = assert_exact(exact(chain), x)
        assert_exact(exact(Inverse(chain)), *outputs)


@casts
@kinds
def test_rebuilt_gradients_are_those_of_stored_bands_bit_for_bit(kind: type[Wavelet], cast: torch.dtype | None) -> None:
    chain, x = exact(trained(kind("9/7", scale=None))), tensor(0, 2, 2, 4, 6, positive=True)
    expected = gradients(chain, (x,), cast)
    chain.memory = "reversible"
    assert same(tuple(gradients(chain, (x,), cast)), tuple(expected))


def test_batches_may_differ_with_batch_invariant() -> None:
    chain = exact(trained(LearnedWavelet("9/7", scale=None)), batch_invariant=True)
    x = tensor(0, 3, 2, 8, 8, positive=True)
    with torch.no_grad():
        approx, detail = chain(x)
        for i in range(3):
            assert same(chain.inverse(approx[i : i + 1], detail[i : i + 1]), rounded((x[i : i + 1],)))


@pytest.mark.parametrize("scale", ["fixed", "learned"])
def test_scales_are_refused_by_name(scale: Any) -> None:
    message = r"got (Learned)?ScalePair as step 3; a learned wavelet has none with scale=None$"
    with pytest.raises(TypeError, match=message):
        exact(LearnedWavelet(scale=scale))


# Precision


@casts
@kinds
def test_autocast_casts_the_networks_alone(kind: type[Wavelet], cast: torch.dtype | None) -> None:
    """So a wavelet at its start is unchanged, and one with random weights has the error of its networks."""
    x = tensor(0, 2, 3, 8, 12, positive=True)
    start, wavelet = kind("9/7"), trained(kind("9/7"))
    with torch.no_grad():
        expected, exactly = start(x), wavelet(x)
    with torch.no_grad(), autocast(cast):
        for band, other in zip(start(x), expected, strict=True):
            assert torch.equal(band, other)
        bands = wavelet(x)
        assert {band.dtype for band in bands} == {torch.float32}
        returned = wavelet.inverse(*bands)
    eps = torch.finfo(cast or torch.float32).eps
    for band, other in zip(bands, exactly, strict=True):
        assert float((band - other).abs().max()) <= 16 * eps
    assert float((returned - x).abs().max()) <= 16 * eps


@kinds
@names
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_accuracy_in_low_precision(kind: type[Wavelet], name: str, dtype: torch.dtype) -> None:
    """For images in [0, 1], bands and returned images are within sixteen units in the last place of 1."""
    wavelet, x = trained(kind(name, scale="learned")).to(dtype), tensor(0, 2, 3, 16, 16, positive=True).to(dtype)
    eps = torch.finfo(dtype).eps
    with torch.no_grad():
        bands = wavelet(x)
        assert {band.dtype for band in bands} == {dtype}
        returned = wavelet.inverse(*bands)
        exactly = wavelet.double()(x.double())
    for band, other in zip(bands, exactly, strict=True):
        assert float((band.double() - other).abs().max()) <= 16 * eps
    assert float((returned.double() - x.double()).abs().max()) <= 16 * eps


# What is refused


@kinds
@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (1, 1)])
def test_odd_sizes_are_refused(kind: type[Wavelet], height: int, width: int) -> None:
    message = f"^{kind.__name__} needs an even height and width, got {height} x {width}$"
    with pytest.raises(ValueError, match=message):
        kind()(torch.zeros(1, 1, height, width))


@kinds
def test_other_inputs_than_images_are_refused(kind: type[Wavelet]) -> None:
    who = kind.__name__
    with pytest.raises(ValueError, match=rf"^{who} needs a \(B, C, H, W\) tensor, got \(4, 4\)"):
        kind()(torch.zeros(4, 4))
    with pytest.raises(TypeError, match=rf"^{who} needs floating-point tensors, got torch.uint8; call .float"):
        kind()(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


@kinds
@pytest.mark.parametrize("shape", [(1, 8, 2, 2), (2, 9, 2, 2), (1, 9, 2, 3)])
def test_bands_that_do_not_fit_are_refused(kind: type[Wavelet], shape: tuple[int, ...]) -> None:
    numbers = ", ".join(map(str, shape))
    message = (
        rf"^{kind.__name__}\.inverse needs a detail of shape \(1, 9, 2, 2\) "
        rf"for an approximation of shape \(1, 3, 2, 2\), got \({numbers}\)$"
    )
    with pytest.raises(ValueError, match=message):
        kind().inverse(torch.zeros(1, 3, 2, 2), torch.zeros(shape))


@kinds
def test_bands_on_two_devices_or_of_two_dtypes_are_refused(kind: type[Wavelet]) -> None:
    who, approx, detail = rf"^{kind.__name__}\.inverse", torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match=f"{who} needs its bands on one device, got cpu and meta"):
        kind().inverse(approx, detail.to("meta"))
    with pytest.raises(TypeError, match=rf"{who} needs bands of one dtype, got torch\.float32 and torch\.bfloat16"):
        kind().inverse(approx, detail.bfloat16())


@kinds
def test_the_exact_form_names_the_layer_in_its_errors(kind: type[Wavelet]) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} needs an even height and width, got 3 x 4"):
        exact(kind(scale=None))(torch.zeros(1, 1, 3, 4))


@kinds
def test_unknown_options_are_refused(kind: type[Wavelet]) -> None:
    who = kind.__name__
    with pytest.raises(ValueError, match=rf"{kind.__name__} needs a wavelet .*, got 'coiflet'"):
        kind("coiflet")
    with pytest.raises(ValueError, match=f"^{who} needs a boundary of 'periodization' or 'reflect', got 'zero'$"):
        kind(boundary="zero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^{who} needs a scale of 'fixed', 'learned' or None, got 'free'$"):
        kind(scale="free")  # type: ignore[arg-type]


def test_the_log_determinant_counts_a_step_that_changes_volume() -> None:
    wavelet = randomise_(LearnedWavelet("5/3")).double()
    image = tensor(0, 2, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(assert_log_dets(wavelet, image), torch.zeros(2, dtype=torch.float64))
    wavelet.rows.append(randomise_(AffineCoupling(nn.Conv2d(2, 4, 3, padding=1))).double())
    assert assert_log_dets(wavelet, image).abs().min() > 0.01


def test_a_subclass_that_changes_the_map_has_no_log_determinant() -> None:
    class Doubled(LearnedWavelet):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(2 * x)

    with pytest.raises(NotImplementedError, match="Doubled needs forward_and_log_det and inverse_and_log_det"):
        Doubled().forward_and_log_det(torch.ones(1, 1, 2, 2))


def test_networks_that_change_the_shape_are_refused() -> None:
    def wide(in_channels: int, out_channels: int) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels + 1, 1)

    message = r"needs networks that keep the shape, got \(6, 2, 2, 3\) from Conv2d for \(6, 1, 2, 3\)"
    with pytest.raises(ValueError, match=message):
        LearnedWavelet(network=wide)(torch.zeros(1, 3, 4, 6))


def test_a_predictor_without_bias_grows_with_its_input() -> None:
    predictor = randomise_(BiasFreePredictor(2, 3, hidden_channels=4, num_hidden=2, kernel_size=(3, 5)))
    x = tensor(0, 2, 2, 5, 7)
    assert predictor(x).shape == (2, 3, 5, 7)
    torch.testing.assert_close(predictor(4 * x), 4 * predictor(x))
    assert not torch.allclose(predictor(-x), -predictor(x))
    assert len(list(predictor.parameters())) == 3
    assert not BiasFreePredictor(2, 3)(x).any()


def test_one_number_is_both_sides_of_a_kernel() -> None:
    square, pair = (BiasFreePredictor(1, 2, kernel_size=size).state_dict() for size in (np.int64(3), (3, 3)))  # type: ignore[arg-type]
    assert {name: weight.shape for name, weight in square.items()} == {name: w.shape for name, w in pair.items()}


def test_predictors_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="BiasFreePredictor needs num_hidden of at least 1, got 0"):
        BiasFreePredictor(1, 1, num_hidden=0)
    with pytest.raises(ValueError, match="BiasFreePredictor needs kernel_size of at least 1, got -1"):
        BiasFreePredictor(1, 1, kernel_size=-1)
    for sides in ((1, 4), (3,), (3, 3, 3)):
        message = rf"needs an odd kernel_size, or a pair of odd ones, got {re.escape(str(sides))}"
        with pytest.raises(ValueError, match=f"BiasFreePredictor {message}"):
            BiasFreePredictor(1, 1, kernel_size=sides)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"BiasFreePredictor needs a whole number as kernel_size, got 3\.0"):
        BiasFreePredictor(1, 1, kernel_size=3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"BiasFreePredictor needs a \(B, 2, H, W\) tensor, got \(1, 3, 4, 4\)"):
        BiasFreePredictor(2, 1)(torch.zeros(1, 3, 4, 4))
