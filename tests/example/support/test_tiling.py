"""Tiles give the result of the whole image if a network only convolves, and nearly so if it also takes means."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pirnet.config import LIHConfig, base, paper, quick
from pirnet.model import LIH, LSR
from pirnet.support import progress
from pirnet.support.tiling import reach, tiled
from torch import Tensor, nn

from liftlayers import NAFBlock
from liftlayers.testing import randomise_
from tests.example.helpers import TINY_LSR, smooth_image

SLIM = LIHConfig(num_blocks=2, predictor="conv", hidden_channels=8)
Function = Callable[..., Tensor]


def test_tiles_show_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    tiled(lambda image: image, torch.zeros(1, 3, 20, 30), tile=10, overlap=0)
    assert "5/6" in capsys.readouterr().err


def hiding(lih: LIH) -> Function:
    return lih.conceal


def revealing(lih: LIH) -> Function:
    return lih.reveal


def restoring(lsr: LSR, task: str = "sr") -> Function:
    return lambda stego: lsr(stego, task)


def images(height: int, width: int, count: int = 2) -> list[Tensor]:
    noise = torch.randn(count, 1, 3, height, width, generator=torch.Generator().manual_seed(0)) / 10
    return [smooth_image(seed, height, width) + noise[seed] for seed in range(count)]


def decibels(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


# How far networks reach


def test_reach_adds_up_radii() -> None:
    """The reach is the sum of the radii: four blocks, two networks, two 3x3 kernels, on pixels twice as large."""
    lih = LIH(quick().lih)
    with torch.inference_mode():
        assert reach(hiding(lih), lih, num_images=2) == reach(revealing(lih), lih) == 4 * 2 * 2 * 2
        lsr = LSR(base().lsr)
        lifting = 2 * (2 * 2 * 2 * 2)  # two blocks on the way in, and their inverses on the way out
        restorer = (2 + 2 + 2) + (4 + 4) + (2 * 8 + 8) + 3 * 16 + 8 + 4 + (2 + 2)  # on pixels of 2, 4, 8, 16 and back
        assert lifting + restorer == 134
        assert reach(restoring(lsr), lsr) == 144  # the next multiple of 16


def test_the_papers_network_reaches_across_a_photo() -> None:
    lih = LIH(replace(paper().lih, num_blocks=2))  # a residual predictor: 3x3, eight 5x5, 3x3
    with torch.inference_mode():
        assert reach(hiding(lih), lih, num_images=2) == 2 * (2 * (1 + 8 * 2 + 1) * 2)


def test_reach_leaves_nothing_behind() -> None:
    """No hook is left on the network after an error."""
    lih = LIH(SLIM)
    with pytest.raises(ValueError, match="an RGB image"):
        reach(lambda image: lih(image, image[:, :2])[0], lih)
    assert not any(module._forward_pre_hooks for module in lih.modules())


# Tiles against the whole


@given(seed=st.integers(0, 2**31), height=st.integers(8, 40), width=st.integers(8, 40), tile=st.sampled_from([8, 16]))
def test_tiles_hide_and_reveal_as_the_whole(seed: int, height: int, width: int, tile: int) -> None:
    lih = randomise_(LIH(SLIM), seed)
    cover, secret = images(2 * height, 2 * width)
    with torch.inference_mode():
        for function, given_images in ((hiding(lih), (cover, secret)), (revealing(lih), (cover,))):
            overlap = reach(function, lih, num_images=len(given_images))
            assert overlap == 16
            whole = function(*given_images)
            assert (tiled(function, *given_images, tile=tile, overlap=overlap) - whole).abs().max() <= 1e-5


def test_less_overlap_than_the_reach_shows() -> None:
    """An overlap of the reach gives the result of the whole image; a smaller one does not."""
    lih = randomise_(LIH(SLIM)).double()
    cover, secret = (image.double() for image in images(48, 48))
    with torch.inference_mode():
        whole = hiding(lih)(cover, secret)
        off = {
            overlap: (tiled(hiding(lih), cover, secret, tile=16, overlap=overlap) - whole).abs().max()
            for overlap in (14, 16)
        }
    assert off[16] < 1e-12 < off[14]


@pytest.mark.parametrize("num_scales", [1, 2])
def test_tiles_restore_as_the_whole_but_for_means(num_scales: int) -> None:
    """If the attention of NAFBlocks is fixed, only convolutions are left, and tiles equal the whole image."""
    lsr = randomise_(LSR(replace(TINY_LSR, num_scales=num_scales, encoder=(1, 1), decoder=(1, 1)))).double()
    for module in lsr.modules():
        if isinstance(module, NAFBlock):
            nn.init.zeros_(module.attention.weight)
    grid = 4 * 2**num_scales
    (stego,) = images(18 * grid, 3 * grid + 2**num_scales, count=1)
    with torch.inference_mode():
        overlap = reach(restoring(lsr), lsr)
        assert overlap % grid == 0
        off = tiled(restoring(lsr), stego.double(), tile=2 * grid, overlap=overlap) - lsr(stego.double(), "sr")
    assert off.abs().max() < 1e-12


def test_tiles_restore_almost_as_well_as_the_whole() -> None:
    """Small tiles of a photo with two different halves change the result little.

    The random weights have the effect of trained ones. Trained `base` weights on two photos, in tiles of 128 pixels
    with an overlap of 128: 60 and 65 dB from the whole image, and the same distance from the cover to 0.02 dB.
    """
    lsr = randomise_(LSR(quick().lsr))
    (cover,) = images(256, 256, count=1)
    cover[..., :128] /= 10
    stego = cover + torch.randn(cover.shape, generator=torch.Generator().manual_seed(1)) / 40
    with torch.inference_mode():
        for module in lsr.modules():
            if isinstance(module, NAFBlock):
                module.attention.weight.mul_(3)
                module.beta.mul_(10)
                module.gamma.mul_(10)
        for decoder in lsr.get_submodule("restorers.0.decoders").children():
            for parameter in decoder.get_submodule("last").parameters():
                parameter.mul_(0.1)
        whole = lsr(stego, "sr")
        parts = tiled(restoring(lsr), stego, tile=64, overlap=64)
    assert 25 < decibels(whole, stego) < 40
    assert decibels(parts, whole) > 50
    assert abs(decibels(parts, cover) - decibels(whole, cover)) < 0.1


@pytest.mark.parametrize("direction", [hiding, pytest.param(revealing, marks=pytest.mark.slow)])
def test_deep_chains_reach_far_in_theory_only(direction: Callable[[LIH], Function]) -> None:
    """At the paper's depth the reach is 1728 pixels, but an overlap of 64 is exact enough; 16 is not."""
    lih = randomise_(LIH(replace(paper().lih, hidden_channels=8)))
    given_images = images(16, 256, count=2 if direction is hiding else 1)
    function = direction(lih)
    with torch.inference_mode():
        assert reach(function, lih, num_images=len(given_images)) == 1728
        whole = function(*given_images)
        near, far = (tiled(function, *given_images, tile=128, overlap=overlap) - whole for overlap in (16, 64))
    assert far.abs().max() <= 1e-5 < 1e-4 < near.abs().max()


def test_tiles_are_small_and_cover_everything_once() -> None:
    sizes: list[tuple[int, ...]] = []

    def note(first: Tensor, second: Tensor) -> Tensor:
        sizes.append(tuple(first.shape[-2:]))
        return first + second

    first, second = images(50, 21)
    assert torch.equal(tiled(note, first, second, tile=20, overlap=4), first + second)
    assert sizes == [(24, 21), (24, 5), (28, 21), (28, 5), (14, 21), (14, 5)]


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (-8, 0), (8, -1)])
def test_wrong_tiles_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(
        ValueError, match=f"tile of at least 1 and an overlap of at least 0 pixels, got {tile}, {overlap}"
    ):
        tiled(nn.Identity(), torch.zeros(1, 3, 8, 8), tile=tile, overlap=overlap)
