"""The tables and sentences of the README match the measured figures; nothing is measured here."""

import hashlib
import json

import pytest

from tests.example.helpers import EXAMPLE

README = (EXAMPLE / "README.md").read_text()
RESULTS = EXAMPLE / "results"
NAMES = {"denoise": "noise", "deblur": "blur", "sr": "low resolution"}
ROWS = ("do nothing", "no restoration", "ours", "no key", "in the clear")
LONG_NAMES = {"denoise": "noise, sigma 25", "deblur": "blur, 15 x 15, sigma 1.6", "sr": "low resolution, x4"}


def figures(name: str) -> tuple[dict, dict]:
    """The report of a test set, and its rows by (pipeline, task, row)."""
    report = json.loads((RESULTS / f"{name}.json").read_text())
    return report, {(row["pipeline"], row["task"], row["row"]): row for row in report["rows"]}


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


@pytest.mark.parametrize("task", NAMES)
def test_the_table_of_cbsd68(task: str) -> None:
    report, rows = figures("cbsd68")
    assert report["pairs"] == 68
    for row in ROWS:
        eight_bit = rows["uint8", task, row]
        secret = f"**{shown(eight_bit['secret_psnr'])}**" if row == "ours" else shown(eight_bit["secret_psnr"])
        first = LONG_NAMES[task] if row == "do nothing" else ""
        cells = [shown(eight_bit["stego_psnr"]), secret, shown(eight_bit["revealed_psnr"])]
        assert f"| {first} | {row} | {' | '.join(cells)} |" in README


@pytest.mark.parametrize("row", ROWS)
def test_the_table_of_likeness(row: str) -> None:
    """The README's table of SSIM, MS-SSIM and LPIPS has the figures of CBSD68."""
    rows = figures("cbsd68")[1]
    measures = ("secret_ssim", "secret_ms_ssim", "secret_lpips")
    cells = [f"{rows['uint8', task, row][measure]:.3f}" for task in NAMES for measure in measures]
    assert f"| {row} | {' | '.join(cells)} |" in README


@pytest.mark.parametrize(("name", "title"), [("set14", "Set14"), ("set5", "Set5")])
def test_the_table_of_the_small_sets(name: str, title: str) -> None:
    report, rows = figures(name)
    for number, task in enumerate(NAMES):
        first = "" if number else f"{title}, {report['pairs']}"
        secrets = [rows["uint8", task, row]["secret_psnr"] for row in ("do nothing", "no restoration", "ours")]
        cells = [shown(rows["uint8", task, "ours"]["stego_psnr"]), *map(shown, secrets[:2]), f"**{secrets[2]:.2f}**"]
        cells += [shown(rows["uint8", task, row]["secret_psnr"]) for row in ROWS[3:]]
        assert f"| {first} | {NAMES[task]} | {' | '.join(cells)} |" in README


@pytest.mark.parametrize("name", ["attacks", "cbsd68", "set14", "set5"])
def test_the_figures_are_of_the_weights_that_come_along(name: str) -> None:
    """Every committed report was measured with the weights that come with the example."""
    report = json.loads((RESULTS / f"{name}.json").read_text())
    for file in ("lih.safetensors", "lsr.safetensors"):
        content = (EXAMPLE / "weights" / file).read_bytes()
        assert report["weights"][file] == hashlib.sha256(content).hexdigest()


# PSNR of the paper's restored stego images against their covers, on 50 pairs of DIV2K, in floats.
PAPER_STEGO = {"denoise": 29.39, "deblur": 30.12, "sr": 30.33}


@pytest.mark.parametrize("task", NAMES)
def test_ours_has_a_use(task: str) -> None:
    """Our stego image is 1.5 dB closer to the cover than the paper's, and our secret is better than without the
    cloud."""
    rows = figures("cbsd68")[1]
    ours = rows["uint8", task, "ours"]
    assert ours["stego_psnr"] > PAPER_STEGO[task] + 1.5
    for row in ("do nothing", "no restoration"):
        assert ours["secret_psnr"] > rows["uint8", task, row]["secret_psnr"]
    assert task != "denoise" or ours["secret_psnr"] > 27.5


def test_the_table_of_the_quick_run() -> None:
    rows = {(row["task"], row["row"]): row for row in json.loads((RESULTS / "quick.json").read_text())["rows"]}
    for task, title in LONG_NAMES.items():
        before, ours = (rows[task, row]["secret_psnr"] for row in ("no restoration", "ours"))
        for row in ("do nothing", "no restoration", "ours"):
            figures = rows[task, row]
            secret, gain = (
                (f"**{ours:.2f}**", f"{ours - before:.2f}") if row == "ours" else (shown(figures["secret_psnr"]), "")
            )
            cells = [shown(figures["stego_psnr"]), secret, shown(figures["revealed_psnr"]), gain]
            assert f"| {title if row == 'do nothing' else ''} | {row} | {' | '.join(cells)} |" in README


def test_what_large_photos_take() -> None:
    """The README's sentence about processor time and memory for large photos has the measured figures."""
    rows = json.loads((EXAMPLE.parent.parent / "benchmarks" / "results" / "scripts-cpu.json").read_text())["rows"]
    hide, restore, reveal = (f"{row['cpu_seconds']:.0f} s" for row in rows.values())
    memory = max(row["peak_mib"] for row in rows.values()) * 2**20 / 1e9
    words = f"{hide} of processor time to hide, {restore} to restore and {reveal} to reveal, and at most {memory:.1f} "
    words += "GB of memory"
    assert words in " ".join(README.split())


def test_what_the_cloud_adds_and_what_the_key_costs() -> None:
    """The README's sentences about the cloud's gain and the price of the key have the measured figures."""
    differences = {row["task"]: row for row in figures("cbsd68")[0]["differences"] if row["pipeline"] == "uint8"}
    gains = [f"{differences[task]['cloud_gain']:.1f}" for task in NAMES]
    prices = [f"{differences[task]['price_of_key']:.1f}" for task in NAMES]
    text = " ".join(README.split())
    assert f"the cloud's gain: {gains[0]}, {gains[1]} and {gains[2]} dB on CBSD68" in text
    assert f"the price of the key: {prices[0]}, {prices[1]} and {prices[2]} dB" in text


def test_the_price_of_privacy() -> None:
    """The sentences below the tables have the differences of the report."""
    text = " ".join(README.split())
    found = {each["task"]: each for each in figures("cbsd68")[0]["differences"]}
    keyed = [found[task]["price_of_privacy"] for task in NAMES]
    plain = [price - found[task]["price_of_key"] for task, price in zip(NAMES, keyed, strict=True)]
    assert "price of privacy: {:.1f}, {:.1f} and {:.1f} dB;".format(*keyed) in text
    assert "without a key, {:.1f} (ours is ahead), {:.1f} and {:.1f} dB.".format(*plain) in text
