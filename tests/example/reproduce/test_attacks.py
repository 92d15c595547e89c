"""The attacks find secrets that are hidden in a simple way, and find nothing in images without a secret."""

import pytest
import torch
from pirnet.band_hider import Bands
from pirnet.metrics import psnr
from pirnet.model import LIH
from pirnet.support.files import to_json
from reproduce.attacks import Attacks, correlation, haar_bands, levelled, likest, shuffled, similarity
from reproduce.attacks_learned import LeastSquares, leaked_pairs, learned
from reproduce.security_pipeline import Sent, fresh_key
from reproduce.stego_statistics import StegoStatistics
from torch import Tensor

from liftlayers.functional import haar_analysis, haar_synthesis, scramble_blocks, unscramble_blocks
from liftlayers.testing import randomise_
from tests.example.helpers import smooth_image, smooth_photos, strict_json, tiny


def photo(seed: int, height: int = 48, width: int = 64) -> Tensor:
    """A smooth image with some noise, so that no Haar band is empty: (1, 3, H, W)."""
    grain = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return (0.2 + 0.6 * smooth_image(seed, height, width)[None] + 0.02 * grain).clamp(0, 1)


def in_the_diagonal(cover: Tensor, secret: Tensor, strength: float = 0.5) -> Tensor:
    """Hides badly: a small grey copy of the secret replaces the cover's diagonal detail."""
    approx, detail = haar_analysis(cover)
    miniature = haar_analysis(secret)[0].mean(dim=1, keepdim=True) / 2  # (1, 1, H/2, W/2)
    return haar_synthesis(approx, torch.cat((detail[:, :6], strength * miniature.expand(-1, 3, -1, -1)), dim=1))


def sent(number: int, *, block: int | None = None, size: tuple[int, int] = (48, 64)) -> Sent:
    """A grey secret that is not degraded, scrambled if there is a block, and hidden in the cover's diagonal detail."""
    cover, truth, key = photo(2 * number, *size), photo(2 * number + 1, *size), fresh_key(number)
    truth = truth.mean(dim=1, keepdim=True).expand_as(truth)
    scrambled = truth if block is None else scramble_blocks(truth, key, block=block)
    stego = in_the_diagonal(cover, scrambled)
    return Sent("denoise", block, key, truth, truth, cover, stego, stego, scrambled, scrambled)


def rows_of(attacks: Attacks) -> dict[str, dict]:
    """The rows by attack, as a reader of results.json receives them."""
    return {row["attack"]: row for row in strict_json(to_json({"rows": attacks.rows()}))["rows"]}


def test_the_truth_is_like_the_truth() -> None:
    """An image compared with itself has infinite PSNR and a correlation of 1."""
    truth = photo(0)
    found = similarity(truth, truth)
    assert found["psnr"] == found["fitted_psnr"] == float("inf")
    assert [found["correlation"], found["detail_correlation"], correlation(truth, truth)] == pytest.approx([1, 1, 1])


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
    """Shuffled weights have the same numbers in every tensor, leave the original unchanged, and do not reveal."""
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


def test_leaked_pairs_are_hidden_with_fresh_keys() -> None:
    """Each pair is scrambled with a key of its own; without a key the secret is hidden as it is."""
    lih = randomise_(LIH(tiny().lih))
    leaks = leaked_pairs(lih, smooth_photos(), 2, block=16, tasks=("denoise", "sr"), crop=32)
    for number, (stego, secret, scrambled) in enumerate(leaks):
        assert stego.shape == secret.shape == (1, 3, 32, 32)
        assert torch.equal(stego, (255 * stego).round() / 255)
        assert torch.allclose(unscramble_blocks(scrambled, fresh_key(-1, number), block=16), secret, atol=1e-6)
        assert not torch.allclose(scrambled, secret, atol=0.01)
    (plain,) = leaked_pairs(lih, smooth_photos(), 1, block=None, tasks=("denoise",), crop=32)
    assert torch.equal(plain[1], plain[2])


def test_maps_are_learned_from_the_first_pairs() -> None:
    """For each number of pairs there are a linear map and a U-Net, and with keys a linear map to scrambled secrets."""
    leaks = [(in_the_diagonal(photo(i), photo(i + 9)), photo(i + 9), photo(i + 9)) for i in range(2)]
    maps = learned(leaks, counts=(1, 2), steps=2, keyed=True)
    counts = ("1 leaked pair", "2 leaked pairs")
    assert maps.keys() == {
        *(f"{kind}, {count}" for kind in ("least squares", "U-Net") for count in counts),
        *(f"least squares, {count} with keys" for count in counts),
    }
    assert all(estimate(photo(5)).shape == (1, 3, 48, 64) for estimate in maps.values())
    assert set(learned(leaks, counts=(1,), steps=2, keyed=False)) == {
        "least squares, 1 leaked pair",
        "U-Net, 1 leaked pair",
    }


def test_a_trained_unet_learns_to_reveal() -> None:
    """After some steps the U-Net's estimate of a leaked secret is like that secret."""
    secret = photo(1, 32, 32)
    stego = in_the_diagonal(photo(0, 32, 32), secret, strength=1)
    before, after = (
        learned([(stego, secret, secret)], counts=(1,), steps=steps, keyed=False)["U-Net, 1 leaked pair"](stego)
        for steps in (1, 120)
    )
    assert correlation(after, secret) > 0.5
    assert float(psnr(after, secret)) > float(psnr(before, secret)) + 3


def test_secrets_without_a_key_are_found() -> None:
    """Without a key, the Haar band shows the photo itself."""
    attacks = Attacks({"blind": torch.zeros_like})
    for number in range(3):
        attacks.add(sent(number))
    found = rows_of(attacks)
    assert {row["pairs"] for row in found.values()} == {3}
    assert found["LIH's weights and the key"]["correlation"] == 1
    assert found["LIH's weights without the key"]["correlation"] == 1
    assert found["mean colour"]["correlation"] == found["blind"]["correlation"] == 0
    assert found["Haar band of the stego image"]["correlation"] > 0.9
    assert found["Haar band of stego minus cover"]["correlation"] > 0.8
    assert found["Haar band of the cover, by chance"]["correlation"] < 0.4
    assert found["Haar band of what the cloud changed"]["correlation"] == 0
    assert all(row["blocks_correlation"] == pytest.approx(row["correlation"]) for row in found.values())


def test_keyed_secrets_show_only_their_blocks() -> None:
    """With a key, the Haar band and LIH's weights show the scrambled photo, and little of the photo."""
    attacks = Attacks({})
    for number in range(3):
        attacks.add(sent(number, block=8))
    found = rows_of(attacks)
    assert found["LIH's weights and the key"]["correlation"] > 0.99  # the borders of blocks are smoothed
    for attack in ("Haar band of the stego image", "LIH's weights without the key"):
        assert found[attack]["correlation"] < 0.35
        assert found[attack]["blocks_correlation"] > 0.9


def test_the_likest_band_is_chosen() -> None:
    """Of nine bands the one with the hidden miniature is chosen; its levels are then those of the truth."""
    pair = sent(0)
    bands = haar_bands(pair.stego)
    assert len(bands) == 9
    best = likest(bands, pair.truth)
    assert any(torch.equal(best, band) for band in bands[6:])
    shown = levelled(best, pair.truth)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1
    assert shown.mean() == pytest.approx(float(pair.truth.mean()), abs=0.02)


def test_a_stego_image_that_is_the_cover_has_its_statistics() -> None:
    """If the stego image is the cover, their statistics are equal and the detector only guesses."""
    traces = StegoStatistics()
    for number in range(8):
        traces.add(photo(2 * number), photo(2 * number))
    found = strict_json(to_json(traces.summary()))
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
        pair = sent(number)
        traces.add(pair.cover, pair.stego)
        if number == 6:
            assert traces.summary()["detector_accuracy"] is None
    found = strict_json(to_json(traces.summary()))
    assert found["detector_accuracy"] == 1
    assert found["histogram"]["stego_cover"] > found["histogram"]["cover_halves"] / 2
    cover, stego = (row for row in found["bands"] if row["band"] == "diagonal")
    assert stego["std"] > cover["std"]


def test_statistics_of_noise_are_those_of_noise() -> None:
    """White noise gives its own standard deviation and the kurtosis 3 of a normal distribution."""
    noise = (0.5 + 0.1 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    traces = StegoStatistics()
    traces.add(photo(0, 256, 256), noise)
    for row in strict_json(to_json(traces.summary()))["bands"]:
        if row["image"] == "stego":
            assert row["std"] == pytest.approx(25.5, rel=0.02)
            assert row["kurtosis"] == pytest.approx(3, abs=0.1)
