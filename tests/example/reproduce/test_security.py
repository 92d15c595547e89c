"""The command that measures all attacks, and the page that shows its figures."""

import json
from pathlib import Path

import pytest
import torch
from pirnet.data import Pair
from pirnet.evaluation import Networks
from pirnet.model import LIH, LSR
from pirnet.pixels import to_uint8
from pirnet.support.photos import Photos
from pirnet.weights import save_weights
from reproduce import attacks
from reproduce.security_pipeline import MODES, send
from reproduce.security_report import FIGURES, KEYED, filled, highest

from liftlayers.testing import randomise_
from tests.example.helpers import EXAMPLE, TINY_LSR, Script, assert_refused, save_image, smooth_image, tiny

PAGE = (EXAMPLE.parents[1] / "docs" / "pirnet-security.md").read_text()
COMMITTED = json.loads((EXAMPLE / "results" / "attacks.json").read_text())
BOUNDS = dict(zip(MODES, (0.3, 0.1, 0.06, 0.06), strict=True))
"""Of the correlation with the photo: at least that much without a key, at most that much with one."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder / "lih.safetensors", randomise_(LIH(tiny().lih)), tiny().lih)
    save_weights(folder / "lsr.safetensors", LSR(TINY_LSR), TINY_LSR)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        save_image(folder / f"{seed}.png", seed, 192, 192)
        (folder / "small").mkdir(exist_ok=True)
        save_image(folder / "small" / f"{seed}.png", seed, 64, 128)
    return folder


def bundled() -> Photos:
    """Four photos in place of those inside scikit-image."""
    names = ("astronaut", "chelsea", "coffee", "rocket")
    return Photos(names, tuple(to_uint8(smooth_image(seed, 64, 128)) for seed in range(4)))


def test_the_command(
    script: Script, weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measures every mode once, writes a page and sheets, and refuses results of other settings."""
    monkeypatch.setattr("pirnet.support.photos.bundled_photos", bundled)
    options = ("--data", photos / "small", "--train-data", photos, "--weights", weights, "--other-weights", weights)
    options += ("--out", "report", "--tasks", "denoise", "--few", 1, "--leaks", 1, "--steps", 1, "--cache", tmp_path)
    options += ("--detector-pairs",)
    result = script("reproduce/security.py", *options)
    assert result.status == 0, result.err
    results = tmp_path / "report" / "results.json"
    found = json.loads(results.read_text())
    assert list(found["modes"]) == list(MODES)
    assert found["detection"] is None
    rows = {row["attack"]: row for row in found["modes"]["keyed, t = 16"]["attacks"]["denoise"]}
    assert {"shuffled weights", "least squares, 1 leaked pair with keys", "U-Net, 1 leaked pair"} < rows.keys()
    assert rows["another run's LIH"]["pairs"] == 1
    assert highest(found, "plain", "least squares, 1 leaked pair with keys") is None
    page = (tmp_path / "report" / "results.md").read_text()
    assert "1 pair of" in page
    assert "Not measured: sealwatch and conseal were not installed." in page
    sheets = {path.name for path in (tmp_path / "report").glob("*.webp")}
    assert sheets == {f"attacks-{block or 'plain'}.webp" for block in MODES.values()}

    before = results.read_text()
    assert script("reproduce/security.py", *options).status == 0  # measures nothing again
    assert results.read_text() == before
    refused = script("reproduce/security.py", *options, "--steps", 2)
    assert_refused(refused, "security.py", r"report/results.json has results of other settings: name another folder")


def test_numbers_of_pairs_ascend(script: Script, photos: Path) -> None:
    options = ("reproduce/security.py", "--data", photos, "--train-data", photos)
    for numbers, got in (((4, 1), "4 1"), ((2, 2), "2 2"), ((), "none")):
        refused = script(*options, "--leaks", *numbers)
        assert_refused(refused, "security.py", f"--leaks needs numbers in ascending order, got {got}")


def test_a_secret_is_sent_scrambled() -> None:
    """A secret is scrambled with a key of its own before it is hidden, in 8 bit; without a block it is not."""
    lih = LIH(tiny().lih).eval()
    pair = Pair("a", "b", smooth_image(0, 64, 64), smooth_image(1, 64, 64))
    networks = Networks(lih, LSR(TINY_LSR).eval())
    sent = send(networks, pair, "denoise", number=0, block=16)
    scrambled = sent.scrambled(sent.truth)
    assert not torch.allclose(scrambled, sent.truth, atol=0.01)
    assert torch.allclose(sent.unscrambled(scrambled), sent.truth, atol=1e-6)
    assert torch.equal(sent.stego, (255 * sent.stego).round() / 255)
    plain = send(networks, pair, "denoise", number=0, block=None)
    assert plain.scrambled(sent.truth) is sent.truth
    assert torch.equal(plain.secret, sent.secret)
    again = send(networks, pair, "denoise", number=1, block=16)
    assert again.key != sent.key


class Copy(LIH):
    """Hides nothing well: the stego image is the secret, which it reveals perfectly."""

    def conceal(self, cover: torch.Tensor, secret: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return secret

    def reveal(self, stego: torch.Tensor, z: str = "zero") -> torch.Tensor:  # type: ignore[override]  # noqa: ARG002
        return stego


def test_a_key_that_is_used_twice_shows_the_other_secret() -> None:
    """A leaked secret gives its key away; with a key for each secret, two reveals of one secret show nothing."""
    pair = Pair("a", "b", smooth_image(0, 64, 96), smooth_image(1, 64, 96))
    figures = attacks.repeated(Copy(tiny().lih), pair, "deblur", number=0, block=16)
    assert figures[attacks.READ] > 0.8
    assert figures[attacks.LEAKED] > 0.8
    assert figures[attacks.SAME_SECRET] < 0.4
    assert 0 <= figures[attacks.ONE_PUZZLE] <= figures[attacks.TWO_PUZZLES] <= 1
    plain = attacks.repeated(Copy(tiny().lih), pair, "deblur", number=0, block=None)
    assert plain[attacks.SAME_SECRET] > 0.95
    assert plain.keys() == {attacks.SAME_SECRET, attacks.SAME_COVER, attacks.TWO_SECRETS}


def test_the_page_shows_the_committed_figures() -> None:
    """Every table and sentence between marks is the one that the JSON file gives."""
    assert filled(PAGE, COMMITTED) == PAGE
    assert all(f"<!-- figures: {name} -->" in PAGE for name in FIGURES)


def test_unknown_figures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs figures among setting, .*, got prices"):
        filled("<!-- figures: prices -->\n<!-- end of figures -->", {})
    with pytest.raises(ValueError, match="needs marks such as <!-- figures: attacks -->"):
        filled("No marks.", {})


def test_a_key_protects_what_the_page_says() -> None:
    """Without the key, no Haar band and no reveal is like the photo; few neighbours of noisy photos are found."""
    for mode, bound in BOUNDS.items():
        for attack in ("Haar band of the stego image", "LIH's weights without the key"):
            found = highest(COMMITTED, mode, attack)
            assert found is not None
            assert found <= bound if mode in KEYED else found > bound
    for mode, most in (("keyed, t = 32", 0.4), ("keyed, t = 16", 0.15)):
        found = COMMITTED["modes"][mode]["jigsaw"]
        assert found["denoise"]["found"]["restored"] <= most
        assert found["deblur"]["found"]["revealed"] > most  # the page says that blurred photos are hardly protected
