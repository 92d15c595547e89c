"""The experiment of finding.py on the smallest networks and photos; correlations are compared with NumPy's."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pirnet.data import Pair
from pirnet.metrics import psnr
from pirnet.model import LIH
from reproduce.finding_plots import COLOURS
from reproduce.photo_sources import PhotoOptions
from reproduce.treatments import UNTREATED, Point, added_noise, as_hidden, correlations, partly, points

from liftlayers.testing import randomise_
from tests.example.helpers import Script, assert_refused, listing, save_image, smooth_image, strict_json, tiny

QUALITIES = st.floats(-50, 50).map(lambda value: round(value, 3))


def test_folders_of_photos_need_no_bundled_ones(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("pirnet.support.photos.BUNDLED")
    photos, pairs = PhotoOptions((photo_folder,), photo_folder, tmp_path).photos_and_pairs(crop=16, limit=1)
    assert (len(photos), len(pairs)) == (5, 1)


@given(qualities=st.lists(st.tuples(*[QUALITIES] * 4), min_size=3, max_size=8))
def test_correlations_are_numpys(qualities: list[tuple[float, float, float, float]]) -> None:
    names = [UNTREATED, *(f"treatment {number}" for number in range(len(qualities) - 1))]
    found = [Point("hider", name, "secret", "cover", *four) for name, four in zip(names, qualities, strict=True)]
    values = correlations(found)
    columns = np.array(qualities).T  # stego PSNR, secret PSNR, stego SSIM, secret SSIM
    for quality, (x, y) in {"psnr": columns[:2], "ssim": columns[2:]}.items():
        for key, x_of, y_of in ((quality, x, y), (f"{quality}_change", x[1:] - x[0], y[1:] - y[0])):
            if x_of.std() < 1e-6 or y_of.std() < 1e-6:
                continue
            assert values[key] == pytest.approx(np.corrcoef(x_of, y_of)[0, 1], abs=1e-6)


def test_changes_leave_out_what_pairs_differ_by() -> None:
    """An easy pair raises the plain correlation; the correlation of changes shows only that the treatment helps the
    stego and harms the secret."""
    found = [
        Point("hider", name, secret, "cover", base + stego, base + secret_change, base + stego, base + secret_change)
        for secret, base in (("easy", 40.0), ("hard", 10.0))
        for name, stego, secret_change in ((UNTREATED, 0.0, 0.0), ("a", 1.0, -1.0), ("b", 2.0, -2.0))
    ]
    values = correlations(found)
    assert values["psnr"] is not None
    assert values["psnr"] > 0.9
    assert values["psnr_change"] == pytest.approx(-1.0)


def test_what_does_not_vary_has_no_correlation() -> None:
    """A quality that is constant or infinite has no correlation."""
    start = Point("hider", UNTREATED, "secret", "cover", 30.0, 20.0, 0.9, 0.5)
    assert set(correlations([start, start]).values()) == {None}
    perfect = Point("hider", "a", "secret", "cover", float("inf"), 20.0, 1.0, 0.5)
    assert correlations([start, perfect])["psnr"] is None


def test_points_are_of_the_treated_stego_image() -> None:
    """Each point is measured on the treated stego image, and a second call gives the same points."""
    pair = Pair("secret", "cover", smooth_image(0, 32, 32), smooth_image(1, 32, 32))
    lih = randomise_(LIH(tiny().lih))
    treatments = {UNTREATED: as_hidden, "noise": added_noise(10.0), "black": lambda stego, _: torch.zeros_like(stego)}
    found = {point.treatment: point for point in points("LIH", lih, treatments, pair, number=3)}
    again = {point.treatment: point for point in points("LIH", lih, treatments, pair, number=3)}
    assert found == again
    black = torch.zeros(1, 3, 32, 32)
    lih.requires_grad_(False)
    assert found["black"].stego_psnr == pytest.approx(float(psnr(black, pair.cover[None])))
    assert found["black"].secret_psnr == pytest.approx(float(psnr(lih.reveal(black), pair.secret[None])), abs=1e-4)
    assert found["noise"].stego_psnr != found[UNTREATED].stego_psnr


@given(share=st.floats(0, 1))
def test_a_treatment_in_part_lies_between(share: float) -> None:
    """A treatment in part interpolates linearly between the stego image and the treated one."""
    stego, generator = smooth_image(0, 8, 8)[None], torch.Generator()
    treated = partly(lambda image, _: 1 - image, share)(stego, generator)
    torch.testing.assert_close(treated, (1 - share) * stego + share * (1 - stego))


def lightness_and_hue(colour: str) -> np.ndarray:
    """A colour in CIELAB, in which distances are as large as they look."""
    levels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ linear
    x, y, z = np.cbrt(xyz / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_treatments_differ_in_colour() -> None:
    for first, second in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(lightness_and_hue(first) - lightness_and_hue(second)) > 25, (first, second)


NOISES = tuple(f"noise, sigma {sigma}" for sigma in (5, 10, 15))
SMALL = ("--out", "found", "--crop", "16", "--device", "cpu")


def assert_reported(folder: Path, rows: list[tuple[str, str]], *, pairs: int) -> None:
    """Asserts that all files of a report have the rows, each a hider and a treatment."""
    results = strict_json((folder / "results.json").read_text())
    assert [(row["hider"], row["treatment"]) for row in results["means"]] == rows
    assert results["correlations"].keys() == {hider for hider, _ in rows}
    with (folder / "points.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == pairs * len(rows)
    chosen = [float(line["secret_psnr"]) for line in lines if (line["hider"], line["treatment"]) == rows[0]]
    assert results["means"][0]["secret_psnr"] == pytest.approx(sum(chosen) / pairs, abs=1e-3)
    page = (folder / "results.md").read_text()
    for row in results["means"]:  # an untrained HiNet leaves the cover as it is: infinite PSNR, null in JSON
        shown = "inf" if row["stego_psnr"] is None else f"{row['stego_psnr']:.2f}"
        assert f"| {row['hider']} | {row['treatment']} | {shown} |" in page
    with Image.open(folder / "finding.png") as picture:
        picture.load()


@pytest.mark.slow
def test_the_script(script: Script, tmp_path: Path) -> None:
    """All hiders and denoisers, each trained for a moment."""
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        save_image(tmp_path / "photos" / f"{seed}.png", seed, 32, 32)
    message = script("reproduce/finding.py", "--test", "photos", "--minutes", "0.002", *SMALL)
    assert message.status == 0, message.err
    shares = (f"DnCNN, {share} of it" for share in ("5%", "10%", "25%"))
    treatments = (UNTREATED, "DnCNN", "CBDNet", "RIDNet", *shares, *NOISES)
    assert_reported(tmp_path / "found", list(itertools.product(("HiNet", "LIH"), treatments)), pairs=2)
    networks = {path.name for path in (tmp_path / "found" / "networks").glob("*.safetensors")}
    assert networks == {f"{name}.safetensors" for name in ("hinet", "dncnn", "cbdnet", "ridnet")}


def test_one_hider_and_one_denoiser(script: Script, photo_folder: Path, tmp_path: Path) -> None:
    """With one hider and one denoiser only their rows appear, and only their network is trained, and only once."""
    options = ("--test", photo_folder, "--hiders", "LIH", "--denoisers", "CBDNet", "--limit", "2", *SMALL)
    message = script("reproduce/finding.py", *options, "--minutes", "0.002")
    assert message.status == 0, message.err
    folder = tmp_path / "found"
    assert_reported(folder, [("LIH", treatment) for treatment in (UNTREATED, "CBDNet", *NOISES)], pairs=2)
    page, results = ((folder / name).read_text() for name in ("results.md", "results.json"))
    assert "photos: CBDNet; denoisers" in page
    assert "HiNet were" not in page
    (network,) = (folder / "networks").glob("*.safetensors")
    assert network.name == "cbdnet.safetensors"

    before = network.stat().st_mtime_ns
    again = script("reproduce/finding.py", *options, "--minutes", "0.002")  # uses the network that exists already
    assert again.status == 0, again.err
    assert network.stat().st_mtime_ns == before
    assert (folder / "results.json").read_text() == results

    longer = script("reproduce/finding.py", *options, "--minutes", "5")
    assert longer.status == 2
    assert "cbdnet.safetensors was trained with other settings: remove it, or name another folder" in longer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hiders",), "--hiders needs HiNet, LIH or both, got none"),
        (("--minutes", "0"), "--minutes needs more than 0, got 0.0"),
        (("--minutes", "nan"), "--minutes needs more than 0, got nan"),
        (("--limit", "0"), "--limit needs at least 1, got 0"),
        (("--limit", "-1"), "--limit needs at least 1, got -1"),
        (("--crop", "24"), "--crop needs a multiple of 16, which every system takes, got 24"),
        (("--lih", "nowhere"), "no weights at nowhere: train with train.py"),
        (("--dncnn", "nowhere"), "no DnCNN weights at nowhere"),
    ],
)
def test_what_is_refused(options: tuple[str, ...], message: str, script: Script, tmp_path: Path) -> None:
    assert_refused(script("reproduce/finding.py", *options), "finding.py", message)
    assert listing(tmp_path) == {}
