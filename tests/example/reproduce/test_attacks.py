"""The attacks find secrets that are hidden in a simple way, and find nothing in images without a secret."""

import pytest
import torch
from pirnet.band_hider import Bands
from pirnet.evaluation import Example
from pirnet.metrics import psnr
from pirnet.model import LIH
from pirnet.support.files import to_json
from reproduce.attacks import Attacks, LeastSquares, leaks, shuffled, similarity
from reproduce.stego_statistics import StegoStatistics
from torch import Tensor

from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.testing import randomise_
from tests.example.helpers import smooth_image, strict_json, tiny


def photo(seed: int, height: int = 48, width: int = 64) -> Tensor:
    """A smooth image with some noise, so that no Haar band is empty: (1, 3, H, W)."""
    grain = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return (0.2 + 0.6 * smooth_image(seed, height, width)[None] + 0.02 * grain).clamp(0, 1)


def in_the_diagonal(cover: Tensor, secret: Tensor, strength: float = 0.5) -> Tensor:
    """Hides badly: a small grey copy of the secret replaces the cover's diagonal detail."""
    approx, detail = haar_analysis(cover)
    miniature = haar_analysis(secret)[0].mean(dim=1, keepdim=True) / 2  # (1, 1, H/2, W/2)
    return haar_synthesis(approx, torch.cat((detail[:, :6], strength * miniature.expand(-1, 3, -1, -1)), dim=1))


def example(number: int, stego: Tensor | None = None, *, size: tuple[int, int] = (48, 64)) -> Example:
    """A grey secret that is not degraded, inside the cover's diagonal detail or inside the given stego image."""
    cover, secret = photo(2 * number, *size), photo(2 * number + 1, *size)
    secret = secret.mean(dim=1, keepdim=True).expand_as(secret)
    stego = in_the_diagonal(cover, secret) if stego is None else stego
    return Example("denoise", secret, secret, cover, stego, secret, stego, secret)


def summary_of(found: Attacks | StegoStatistics) -> dict:
    """The summary as a reader of results.json receives it."""
    return strict_json(to_json(found.summary()))


def test_as_many_pairs_are_attacked_as_are_leaked() -> None:
    """No more pairs are leaked than are left to attack."""
    assert [leaks(pairs) for pairs in (1, 2, 7, 8, 31, 32, 1000)] == [
        (),
        (1,),
        (1,),
        (1, 4),
        (1, 4),
        (1, 4, 16),
        (1, 4, 16),
    ]


def test_the_truth_is_like_the_truth() -> None:
    """An image compared with itself has infinite PSNR and a correlation of 1."""
    truth = photo(0)
    found = similarity(truth, truth)
    assert found["psnr"] == found["fitted_psnr"] == float("inf")
    assert [found["correlation"], found["detail_correlation"]] == pytest.approx([1, 1])


def test_gain_and_offset_are_fitted_and_signs_forgiven() -> None:
    """An inverted, weaker and shifted copy has a low PSNR, but a high fitted PSNR and a correlation of 1."""
    truth = photo(0)
    found = similarity(0.3 - 0.1 * truth, truth)
    assert found["psnr"] < 15
    assert found["fitted_psnr"] > 60
    assert [found["correlation"], found["detail_correlation"]] == pytest.approx([1, 1])


def test_what_knows_nothing_is_like_the_mean_colour() -> None:
    """Random noise, after the fit, is as far from the truth as the mean colour, whose correlation is 0."""
    truth = photo(0)
    colour = truth.mean(dim=(2, 3), keepdim=True).expand_as(truth)
    found = similarity(colour, truth)
    assert found["correlation"] == found["detail_correlation"] == 0
    assert found["psnr"] == found["fitted_psnr"] == pytest.approx(float(psnr(colour, truth)))
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1))
    found = similarity(noise, truth)
    assert found["correlation"] < 0.05
    assert found["fitted_psnr"] == pytest.approx(float(psnr(colour, truth)), abs=0.05)


def test_shuffled_weights_are_the_same_numbers_elsewhere() -> None:
    """A shuffled key has the same numbers in every tensor, leaves the original unchanged, and does not reveal."""
    lih = randomise_(LIH(tiny().lih))
    before = {name: tensor.clone() for name, tensor in lih.state_dict().items()}
    wrong = shuffled(lih)
    for name, tensor in wrong.state_dict().items():
        assert torch.equal(tensor.flatten().sort().values, before[name].flatten().sort().values)
        assert torch.equal(lih.state_dict()[name], before[name])
    assert any(not torch.equal(tensor, before[name]) for name, tensor in wrong.state_dict().items())
    stego = photo(0)
    with torch.no_grad():
        assert not torch.allclose(wrong.reveal(stego), lih.reveal(stego), atol=0.01)
        assert torch.equal(wrong.reveal(stego), shuffled(lih).reveal(stego))


def test_least_squares_learns_a_linear_hiding_from_one_pair() -> None:
    """If the stego bands are a fixed linear mixture of shifted bands of the secret, one leaked pair is enough to reveal
    others."""
    mixture = torch.randn(12, 12, generator=torch.Generator().manual_seed(0))
    bands = Bands()

    def hidden(secret: Tensor) -> Tensor:
        mixed = torch.einsum("ij,bjhw->bihw", mixture, bands(secret))
        return bands.inverse(mixed.roll((1, -1), dims=(2, 3)))

    known, secret = photo(0, 128, 160), photo(1, 128, 160)
    learner = LeastSquares()
    learner.learn(hidden(known), known)
    solved = learner.solve()
    inside = (..., slice(6, -6), slice(6, -6))
    assert float(psnr(solved(hidden(secret))[inside], secret[inside])) > 50
    assert similarity(solved(photo(2, 128, 160)), secret)["detail_correlation"] < 0.1


def test_leaked_pairs_are_learned_from_and_the_others_attacked() -> None:
    """Leaked pairs only train the least squares; every attack is measured on the other pairs."""
    lih = randomise_(LIH(tiny().lih))
    attacks = Attacks(lih, others={"another run's key": lih}, leaked=(1, 4))
    for number in range(8):
        attacks.add(example(number))
    found = {row["attack"]: row for row in summary_of(attacks)["attacks"]}
    assert {row["pairs"] for row in found.values()} == {4}
    assert found["the key"]["correlation"] == 1
    assert found["mean colour"]["correlation"] == 0
    assert found["Haar band of the stego image"]["correlation"] > 0.9
    assert found["Haar band of stego minus cover"]["correlation"] > 0.8
    assert found["Haar band of the cover, by chance"]["correlation"] < 0.4
    assert found["Haar band of what the cloud changed"]["correlation"] == 0
    assert found["least squares, 1 leaked pair"]["correlation"] > found["stego image"]["correlation"]
    assert found["least squares, 4 leaked pairs"]["psnr"] > found["mean colour"]["psnr"]
    assert "another run's key" in found
    assert [panel.title for panel in attacks.panels] == ["truth", *found]
    assert all(float(panel.image.min()) >= 0 and float(panel.image.max()) <= 1 for panel in attacks.panels)


def test_captions_say_which_gain_and_offset_were_fitted() -> None:
    """They turn the attacker's picture into the one on the sheet, which is clamped."""
    attacks, pair = Attacks(LIH(tiny().lih), others={}, leaked=()), example(0)
    attacks.add(pair)
    panels = {panel.title: panel for panel in attacks.panels}
    correlation, gain, offset = panels["stego image"].caption.splitlines()
    assert correlation.startswith("correlation 0.")
    gains, offsets = (torch.tensor([float(x) for x in line.split(" ", 1)[1].split(",")]) for line in (gain, offset))
    shown = (gains[:, None, None] * pair.stego[0] + offsets[:, None, None]).clamp(0, 1)
    assert (shown - panels["stego image"].image).abs().max() < 0.02  # two decimals
    assert panels["mean colour"].caption.splitlines()[1] == "gain 0.00, 0.00, 0.00"


def test_one_pair_is_attacked_without_leaks() -> None:
    """A single pair is attacked, without least squares, which would need a second pair."""
    attacks = Attacks(LIH(tiny().lih), others={}, leaked=leaks(1))
    attacks.add(example(0, size=(16, 16)))
    names = [row["attack"] for row in summary_of(attacks)["attacks"]]
    assert "the key" in names
    assert not any("least squares" in name for name in names)


def test_a_stego_image_that_is_the_cover_has_its_statistics() -> None:
    """If the stego image is the cover, their statistics are equal and the detector only guesses."""
    traces = StegoStatistics()
    for number in range(8):
        traces.add(example(number, photo(2 * number)))
    found = summary_of(traces)
    assert found["histogram"]["stego_cover"] == 0 < found["histogram"]["cover_halves"]
    assert found["detector_accuracy"] == 0.5
    for band in ("horizontal", "vertical", "diagonal"):
        cover, stego = (row for row in found["bands"] if row["band"] == band)
        assert (cover["image"], stego["image"]) == ("cover", "stego")
        assert cover["std"] == stego["std"]


def test_hiding_shows_in_the_statistics() -> None:
    """A badly hidden secret changes the statistics, and the detector finds it from eight pairs on."""
    traces = StegoStatistics()
    for number in range(8):
        traces.add(example(number))
        if number == 6:
            assert summary_of(traces)["detector_accuracy"] is None
    found = summary_of(traces)
    assert found["detector_accuracy"] == 1
    assert found["histogram"]["stego_cover"] > found["histogram"]["cover_halves"] / 2
    cover, stego = (row for row in found["bands"] if row["band"] == "diagonal")
    assert stego["std"] > cover["std"]


def test_statistics_of_noise_are_those_of_noise() -> None:
    """White noise gives its own standard deviation and the kurtosis 3 of a normal distribution."""
    noise = (0.5 + 0.1 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    traces = StegoStatistics()
    traces.add(example(0, noise, size=(256, 256)))
    for row in summary_of(traces)["bands"]:
        if row["image"] == "stego":
            assert row["std"] == pytest.approx(25.5, rel=0.02)
            assert row["kurtosis"] == pytest.approx(3, abs=0.1)
