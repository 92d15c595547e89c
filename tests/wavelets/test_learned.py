"""Learned wavelets: what they start as, what their options mean, and their derivatives."""

from typing import Any

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import LiftingPyramid, Sequential
from liftlayers.functional.schemes import SCHEMES
from liftlayers.testing import assert_inverts, randomise_
from liftlayers.wavelets.learned import LearnedWavelet, NonseparableLearnedWavelet
from tests.laws import assert_modes_agree
from tests.strategies import seeds, tensor

KINDS = [LearnedWavelet, NonseparableLearnedWavelet]
NAMES = {"haar": "haar", "5/3": "bior2.2", "9/7": "bior4.4"}
kinds = pytest.mark.parametrize("kind", KINDS)
names = pytest.mark.parametrize("name", NAMES)

Wavelet = LearnedWavelet | NonseparableLearnedWavelet


def smooth(in_channels: int, out_channels: int) -> nn.Module:
    """A network with derivatives of every order."""
    layers = nn.Conv2d(in_channels, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, out_channels, 3, padding=1)
    return nn.Sequential(*layers)


def joined(approx: np.ndarray, details: tuple[np.ndarray, ...]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(approx), torch.from_numpy(np.concatenate(details, axis=1))


# The start


@kinds
@names
def test_starts_as_the_named_wavelet(kind: type[Wavelet], name: str) -> None:
    """PyWavelets' table of the 9/7 filters has twelve digits."""
    x = tensor(0, 2, 3, 12, 8, dtype=torch.float64)
    expected = joined(*pywt.dwt2(x.numpy(), NAMES[name], "periodization"))
    for actual, band in zip(kind(name).double()(x), expected, strict=True):
        torch.testing.assert_close(actual, band, rtol=0, atol=1e-11)


@kinds
@names
@pytest.mark.parametrize("size", [(2, 2), (8, 12)])
def test_reflection_is_that_of_an_image_mirrored_at_its_border(
    kind: type[Wavelet], name: str, size: tuple[int, int]
) -> None:
    x = tensor(0, 2, 3, *size, dtype=torch.float64)
    mirrored = np.pad(x.numpy(), [(0, 0), (0, 0), (8, 8), (8, 8)], mode="reflect")
    approx, details = pywt.dwt2(mirrored, NAMES[name], "periodization")
    inside = (..., *(slice(4, 4 + side // 2) for side in size))
    expected = joined(approx[inside], tuple(band[inside] for band in details))
    for actual, band in zip(kind(name, boundary="reflect").double()(x), expected, strict=True):
        torch.testing.assert_close(actual, band, rtol=0, atol=1e-11)


@kinds
def test_without_scales_bands_are_as_lifting_leaves_them(kind: type[Wavelet]) -> None:
    """A ramp is predicted except at its mirrored end; the mean of the signal stays in the approximation."""
    x = torch.arange(8.0).expand(1, 1, 8, 8)
    approx, detail = kind("5/3", boundary="reflect", scale=None)(x)
    assert torch.equal(detail[:, 0], torch.zeros(1, 4, 4))
    assert torch.equal(detail[:, 1], torch.tensor([0.0, 0, 0, 1]).expand(1, 4, 4))  # 7 less 6
    assert torch.equal(approx[:, 0], torch.tensor([0, 2, 4, 6.25]).expand(1, 4, 4))


@given(name=st.sampled_from(list(SCHEMES)))
@settings(max_examples=10)
def test_every_scheme_can_be_the_start(name: str) -> None:
    assert_inverts(randomise_(LearnedWavelet(name).double()), tensor(0, 1, 2, 6, 8, dtype=torch.float64), bound=128)
    s, t = SCHEMES[name].scales
    assert abs(s * t) == pytest.approx(1, abs=1e-14)


# Memory modes


def test_memory_modes_agree_with_shared_weights_and_in_a_pyramid() -> None:
    levels = [LearnedWavelet(shared=True, scale="learned"), NonseparableLearnedWavelet("haar")]
    assert_modes_agree(randomise_(LiftingPyramid(levels).double()), tensor(0, 2, 2, 8, 4, dtype=torch.float64))


def test_a_rebuilt_pass_evaluates_each_network_once() -> None:
    calls: list[nn.Module] = []

    class Counted(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            calls.append(self)
            return super().forward(input)

    chain = Sequential(LearnedWavelet("9/7", network=lambda i, o: Counted(i, o, 1)), memory="reversible")
    approx, detail = chain(tensor(0, 1, 1, 4, 4))
    assert len(calls) == len(set(calls)) == 8
    calls.clear()
    (approx.sum() + detail.sum()).backward()
    assert len(calls) == len(set(calls)) == 8


# Options


@kinds
def test_networks_are_the_same_for_every_channel(kind: type[Wavelet]) -> None:
    wavelet, x = randomise_(kind("9/7").double()), tensor(0, 2, 3, 8, 6, dtype=torch.float64)
    approx, detail = wavelet(x)
    for channel in range(3):
        alone, detail_alone = wavelet(x[:, channel : channel + 1])
        torch.testing.assert_close(approx[:, channel : channel + 1], alone)
        torch.testing.assert_close(detail[:, channel::3], detail_alone)


def test_separable_networks_stay_on_their_lines_and_nonseparable_ones_do_not() -> None:
    x = tensor(0, 1, 1, 8, 8, dtype=torch.float64)
    changed = x.clone()
    changed[..., 2, :] += 1
    for kind, reaches in ((LearnedWavelet, False), (NonseparableLearnedWavelet, True)):
        wavelet = randomise_(kind("haar").double())
        pairs = [wavelet.rows(*wavelet.split(image)) for image in (x, changed)]
        for band, other in zip(*pairs, strict=True):
            touched = (band != other).any(dim=-1)[0]  # by row parity and row
            assert touched[0, 1]
            assert bool(touched.sum() > 1) == reaches


def test_shared_weights_are_those_of_rows() -> None:
    apart, shared = (LearnedWavelet("9/7", scale="learned", shared=shared) for shared in (False, True))
    count, count_shared = (sum(p.numel() for p in wavelet.parameters()) for wavelet in (apart, shared))
    assert count == 2 * count_shared == 2 * (4 * (3 * 16 + 3 * 16) + 1)
    randomise_(shared.double())
    x = tensor(0, 1, 1, 6, 8, dtype=torch.float64)
    rows = shared.rows(*shared.split(x))
    turned = [band.mT for band in shared.columns(*(band.mT for band in shared.split(x)))]
    for band, other in zip(rows, turned, strict=True):
        torch.testing.assert_close(band, other)


@kinds
def test_a_learned_scale_trades_approximation_for_detail(kind: type[Wavelet]) -> None:
    wavelet, plain, x = kind(scale="learned"), kind(), tensor(0, 1, 2, 4, 4)
    approx, detail = plain(x)
    for expected, actual in zip((approx, detail), wavelet(x), strict=True):
        torch.testing.assert_close(actual, expected)
    with torch.no_grad():
        for name, parameter in wavelet.named_parameters():
            if name in ("rows.2.gain", "columns.2.gain"):
                parameter.fill_(0.5)
    horizontal, vertical, diagonal = detail.chunk(3, dim=1)
    torch.testing.assert_close(wavelet(x)[0], approx * np.e)
    torch.testing.assert_close(wavelet(x)[1], torch.cat((horizontal, vertical, diagonal / np.e), dim=1))


@kinds
def test_weights_trained_with_scales_load_into_a_wavelet_without(kind: type[Wavelet]) -> None:
    fixed, none = randomise_(kind("5/3")), kind("5/3", scale=None)
    none.load_state_dict(fixed.state_dict())
    x = tensor(0, 1, 2, 4, 4)
    for band, expected in zip(none.rows(*none.split(x)), fixed.rows[:2](*fixed.split(x)), strict=True):
        assert torch.equal(band, expected)


@given(
    seed=seeds(),
    name=st.sampled_from(["haar", "5/3", "9/7", "db2"]),
    kind=st.sampled_from(KINDS),
    boundary=st.sampled_from(["periodization", "reflect"]),
    brightness=st.floats(-10, 10),
    contrast=st.floats(0, 10),
)
def test_brightness_and_contrast_pass_through(
    seed: int, name: str, kind: type[Wavelet], boundary: Any, brightness: float, contrast: float
) -> None:
    learned, start = randomise_(kind(name, boundary=boundary).double(), seed), kind(name, boundary=boundary).double()
    x = tensor(seed, 2, 2, 6, 8, dtype=torch.float64)
    for band, plain, flat in zip(
        learned(contrast * x + brightness), learned(x), start(torch.ones_like(x)), strict=True
    ):
        torch.testing.assert_close(band, contrast * plain + brightness * flat, rtol=0, atol=1e-11)


# Derivatives


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on the first jvp
@pytest.mark.parametrize(("kind", "boundary"), list(zip(KINDS, ["periodization", "reflect"], strict=True)))
def test_derivatives_of_first_and_second_order(kind: type[Wavelet], boundary: Any) -> None:
    wavelet = randomise_(kind("5/3", boundary=boundary, network=smooth, scale="learned").double())
    x = tensor(0, 1, 1, 2, 4, dtype=torch.float64).requires_grad_()
    pair = tuple(band.detach().requires_grad_() for band in wavelet(x))
    assert torch.autograd.gradcheck(wavelet, (x,))
    assert torch.autograd.gradcheck(wavelet.inverse, pair)
    assert torch.autograd.gradgradcheck(wavelet, (x,))
    assert torch.autograd.gradgradcheck(wavelet.inverse, pair)
    direction = tensor(1, *x.shape, dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        ahead, behind = (wavelet(x + sign * step * direction) for sign in (1, -1))
    for tangent, y, z in zip(torch.func.jvp(wavelet, (x,), (direction,))[1], ahead, behind, strict=True):
        torch.testing.assert_close(tangent, (y - z) / (2 * step), rtol=1e-7, atol=1e-7)


@kinds
def test_vmap_maps_over_a_further_axis(kind: type[Wavelet]) -> None:
    wavelet, stack = randomise_(kind("9/7").double()), tensor(0, 3, 2, 2, 4, 6, dtype=torch.float64)
    approx, detail = torch.func.vmap(wavelet)(stack)
    for i, x in enumerate(stack):
        for band, expected in zip((approx[i], detail[i]), wavelet(x), strict=True):
            torch.testing.assert_close(band, expected)
    torch.testing.assert_close(torch.func.vmap(wavelet.inverse)(approx, detail), stack)
