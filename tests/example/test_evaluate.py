"""evaluate.py as a user runs it: its files, its notes about missing figures, and its errors."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
from PIL import Image
from pirnet.data import FolderPairs
from pirnet.images import read_picture
from pirnet.metrics import psnr
from pirnet.model import LIH, LSR
from pirnet.support.lpips import LPIPS
from pirnet.weights import run_id, save_weights

from liftlayers.testing import randomise_
from tests.example.helpers import TINY_LSR, Script, run_script, save_image, strict_json, tiny

SHEETS = {f"{task}-{what}.png" for task in ("denoise", "deblur", "sr") for what in ("best", "worst")}
FILES = {"results.json", "results.md", "pairs.csv", *SHEETS}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small random networks: of a client, of the cloud, one trained in the clear, and LPIPS."""
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder / "lih.safetensors", randomise_(LIH(tiny().lih)), tiny().lih)
    for seed, name in enumerate(("lsr", "seeing")):
        save_weights(folder / f"{name}.safetensors", randomise_(LSR(TINY_LSR), seed), TINY_LSR)
    safetensors.torch.save_file(randomise_(LPIPS()).state_dict(), folder / "lpips.safetensors")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five photos and two other files."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, (height, width) in enumerate(((48, 64), (50, 40), (48, 64), (48, 64), (40, 50))):
        save_image(folder / f"{seed}.png", seed, height, width)
    (folder / "readme.txt").write_text("no photo")
    (folder / ".hidden.png").write_text("no photo")
    return folder


def test_everything_at_once(script: Script, weights: Path, photos: Path, tmp_path: Path) -> None:
    """With all options, the report has all files, rows, differences and notes."""
    message = script(
        *("evaluate.py", "--weights", weights, "--data", photos, "--out", "a/report", "--device", "cpu"),
        *("--swap", "--limit", 1),
        *("--clear-weights", weights / "seeing.safetensors"),
        *("--lpips", weights / "lpips.safetensors"),
    )
    assert message.status == 0, message.err
    report = tmp_path / "a" / "report"
    assert {path.name for path in report.iterdir()} == FILES
    for name in SHEETS:
        with Image.open(report / name) as image:
            image.load()

    results = strict_json((report / "results.json").read_text())
    assert results["data"] == str(photos)
    assert results["pairs"] == 2
    names = [(pair["secret"], pair["cover"], pair["height"], pair["width"]) for pair in results["names"]]
    assert names == [("0.png", "1.png", 48, 32), ("1.png", "0.png", 48, 32)]
    rows = {(row["pipeline"], row["task"], row["row"]): row for row in results["rows"]}
    assert list(rows) == [
        (pipeline, task, row)
        for pipeline in ("uint8", "float")
        for task in ("denoise", "deblur", "sr")
        for row in ("do nothing", "no restoration", "in the clear", "no key", "ours")
    ]
    for (_, _, name), row in rows.items():
        assert row["pairs"] == 2
        assert row["std"]["secret_psnr"] > 0
        assert row["secret_lpips"] is not None
        assert row["secret_ms_ssim"] is None
        assert (row["stego_psnr"] is None) == (row["stego_lpips"] is None) == (name in ("do nothing", "in the clear"))
    for difference in results["differences"]:
        found = {name: rows[difference["pipeline"], difference["task"], name] for name in ("ours", "in the clear")}
        price = found["in the clear"]["secret_psnr"] - found["ours"]["secret_psnr"]
        assert difference["price_of_privacy"] == pytest.approx(price)
        without_key = rows[difference["pipeline"], difference["task"], "no key"]["secret_psnr"]
        assert difference["price_of_key"] == pytest.approx(without_key - found["ours"]["secret_psnr"])
    assert len(results["differences"]) == 6
    assert results["weights"].keys() == {"lih.safetensors", "lsr.safetensors", "seeing.safetensors"}

    with (report / "pairs.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 3 * 5 * 2
    chosen = [float(line["secret_psnr"]) for line in lines if line["row"] == "ours" and line["pipeline"] == "uint8"]
    mean = sum(rows["uint8", task, "ours"]["secret_psnr"] for task in ("denoise", "deblur", "sr")) / 3
    assert sum(chosen) / len(chosen) == pytest.approx(mean, abs=1e-3)

    page = (report / "results.md").read_text()
    assert "| noise, sigma 25 | in the clear |" in page
    assert "- LPIPS uses SqueezeNet 1.1; it cannot be compared with the usual one, which uses AlexNet." in page
    assert "- No mean MS-SSIM: 2 of 2 pairs have less than 176 pixels a side." in page
    assert "| 0.png | 1.png | 48 x 32 |" in page
    assert all(len(set(map(len, map(cells, block)))) == 1 for block in tables(page))
    assert "uint8, 2 pairs" in message.out
    assert "float, 2 pairs" in message.out


def cells(line: str) -> list[str]:
    return line.split("|")


def tables(page: str) -> list[list[str]]:
    """The lines of each table of a Markdown page."""
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert blocks
    return blocks


def test_the_least(script: Script, weights: Path, photos: Path, tmp_path: Path) -> None:
    """Without optional weights, notes name the missing figures, their columns are left out, and only --force
    overwrites."""
    options = ("--weights", weights, "--data", photos, "--out", "report", "--pipeline", "uint8", "--limit", 1)
    options += ("--block", 0)
    message = script("evaluate.py", *options, "--device", "cpu")
    assert message.status == 0, message.err
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["pairs"] == 1
    sheets = {path.name for path in (tmp_path / "report").glob("denoise-*.png")}
    assert sheets == {"denoise-pair.png"}  # which is neither the best nor the worst
    assert {(row["row"], row["pipeline"]) for row in results["rows"]} == {
        ("do nothing", "uint8"),
        ("no restoration", "uint8"),
        ("ours", "uint8"),
    }
    assert results["rows"][0]["std"]["secret_psnr"] is None
    assert results["differences"][0]["price_of_privacy"] is None
    assert "No row in the clear and no price of privacy: there are no weights trained in the clear." in message.out
    assert "No LPIPS: no weights were given with --lpips." in message.out
    page = (tmp_path / "report" / "results.md").read_text()
    assert " LPIPS |" not in page
    assert "| gain |" in page
    assert "| price |" not in page
    assert results["protocol"]["protocol"] == "paper"
    assert re.search(r"ours does not beat doing nothing \(-\d+\.\d\d dB\)", page)  # random networks do harm

    (tmp_path / "report" / "mine.txt").write_text("mine")
    again = script("evaluate.py", *options, "--device", "cpu")
    assert again.status == 2
    assert re.fullmatch(r"evaluate\.py: error: report: is not empty; --force .*\n", again.err)
    before = (tmp_path / "report" / "results.json").read_text()
    assert script("evaluate.py", *options, "--device", "cpu", "--force").status == 0
    assert (tmp_path / "report" / "results.json").read_text() == before
    assert (tmp_path / "report" / "mine.txt").read_text() == "mine"


def test_weights_of_different_runs_are_noted(script: Script, weights: Path, photos: Path, tmp_path: Path) -> None:
    lih = LIH(tiny().lih)
    save_weights(tmp_path / "lih.safetensors", lih, tiny().lih, run=run_id(lih))
    save_weights(tmp_path / "lsr.safetensors", LSR(TINY_LSR), TINY_LSR, run="b")
    options = ("--data", photos, "--out", "report", "--pipeline", "uint8", "--limit", 1, "--device", "cpu")
    message = script("evaluate.py", "--weights", tmp_path, *options)
    assert message.status == 0
    assert "lsr.safetensors are of different runs: " in message.err.splitlines()[0]
    assert "lsr.safetensors are of different runs: " in message.out
    assert "lsr.safetensors are of different runs: " in (tmp_path / "report" / "results.md").read_text()
    assert "different runs" not in script("evaluate.py", "--weights", weights, *options, "--force").err


def test_the_released_protocol_changes_low_resolution_alone(
    script: Script, weights: Path, photos: Path, tmp_path: Path
) -> None:
    options = ("--weights", weights, "--data", photos, "--pipeline", "uint8", "--limit", 1, "--device", "cpu")
    found = []
    for protocol in ("paper", "released"):
        assert script("evaluate.py", *options, "--out", protocol, "--protocol", protocol).status == 0
        results = json.loads((tmp_path / protocol / "results.json").read_text())
        assert results["protocol"]["protocol"] == protocol
        found.append({row["task"]: row["secret_psnr"] for row in results["rows"] if row["row"] == "do nothing"})
    paper, released = found
    assert paper["denoise"] == released["denoise"]
    assert paper["deblur"] == released["deblur"]
    assert paper["sr"] != released["sr"]


def test_weights_in_the_clear_are_found_beside_the_others(
    script: Script, weights: Path, photos: Path, tmp_path: Path
) -> None:
    """clear.safetensors in the folder of the weights adds the rows in the clear without an option."""
    for name, copied in (("lih", "lih"), ("lsr", "lsr"), ("seeing", "clear")):
        (tmp_path / f"{copied}.safetensors").write_bytes((weights / f"{name}.safetensors").read_bytes())
    options = ("--data", photos, "--out", "report", "--pipeline", "float", "--limit", 1, "--device", "cpu")
    assert script("evaluate.py", "--weights", tmp_path, *options).status == 0
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [row["row"] for row in results["rows"]].count("in the clear") == 3


@pytest.mark.gpu
def test_a_gpu_finds_the_same(script: Script, weights: Path, photos: Path, tmp_path: Path) -> None:
    """A GPU gives the same quality as the CPU up to rounding."""
    rows = {}
    for device in ("cpu", "cuda"):
        options = ("--data", photos, "--out", device, "--limit", 1, "--lpips", weights / "lpips.safetensors")
        assert script("evaluate.py", "--weights", weights, "--device", device, *options).status == 0
        rows[device] = json.loads((tmp_path / device / "results.json").read_text())["rows"]
    for mine, other in zip(rows["cpu"], rows["cuda"], strict=True):
        assert other["secret_psnr"] == pytest.approx(mine["secret_psnr"], abs=0.05)
        assert other["secret_ssim"] == pytest.approx(mine["secret_ssim"], abs=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "missing"), r"missing: no such folder"),
        (("--data", "file.png"), r"file\.png: a folder of photos is needed, this is a file"),
        (("--data", "empty"), r"empty: at least two photos are needed .*, found none"),
        (("--data", "one"), r"one: at least two photos are needed .*, found only 0\.png"),
        (("--data", "damaged"), r"2 photos cannot be used\. damaged/1\.png: cannot be read, .*; damaged/2\.png: "),
        (("--limit", "0"), r"--limit needs at least 1, got 0"),
        (("--weights", "empty"), r"no weights at empty/lih\.safetensors"),
        (("--lpips", "missing.safetensors"), r"no LPIPS weights at missing\.safetensors"),
        (("--lpips", "{weights}/lih.safetensors"), r"does not hold LPIPS with SqueezeNet 1\.1: \d+ tensors"),
        (("--clear-weights", "missing.safetensors"), r"no weights at missing\.safetensors"),
        (("--clear-weights", "{weights}/lih.safetensors"), r"needs to hold the weights of LSR, got LIH"),
        (("--out", "file.png"), r"file\.png: a folder is needed, this is a file"),
        (("--device", "abacus"), r"--device abacus is not available"),
    ],
)
def test_refusals(
    options: tuple[str, ...], message: str, script: Script, weights: Path, photos: Path, tmp_path: Path
) -> None:
    """Wrong paths and options are refused by one line with the name of the file, before the report's folder is made."""
    for name in ("empty", "one", "damaged"):
        (tmp_path / name).mkdir()
    save_image(tmp_path / "file.png", 0, 32, 32)
    save_image(tmp_path / "one" / "0.png", 0, 32, 32)
    save_image(tmp_path / "damaged" / "0.png", 0, 32, 32)
    for name in ("1.png", "2.png"):
        (tmp_path / "damaged" / name).write_bytes((tmp_path / "file.png").read_bytes()[:200])
    given = {"--weights": str(weights), "--data": str(photos), "--out": "report", "--device": "cpu"}
    given |= {options[0]: options[1].format(weights=weights)}
    result = script("evaluate.py", *(word for pair in given.items() for word in pair))
    assert result.status == 2
    (line,) = result.err.splitlines()
    assert re.match(rf"evaluate\.py: error: .*{message}", line), line
    assert not (tmp_path / "report").exists()


def test_help_names_every_option(script: Script) -> None:
    """The help names every option."""
    message = script("evaluate.py", "--help")
    assert message.status == 0
    for option in ("data", "out", "weights", "clear-weights", "lpips", "pipeline", "swap", "limit"):
        assert f"--{option}" in message.out
    assert "--device" in message.out
    assert "--force" in message.out


def test_pairs_are_read_when_they_are_asked_for(photos: Path) -> None:
    pairs = FolderPairs(photos, swap=True, limit=2)
    assert len(pairs) == 4
    first, *_, last = pairs
    assert (first.secret_name, first.cover_name) == ("0.png", "1.png")
    assert (last.secret_name, last.cover_name) == ("3.png", "2.png")
    names = [(pair["secret"], pair["cover"], pair["height"], pair["width"]) for pair in pairs.names]
    assert names[:2] == [("0.png", "1.png", 48, 32), ("2.png", "3.png", 48, 64)]
    assert names[2:] == [("1.png", "0.png", 48, 32), ("3.png", "2.png", 48, 64)]
    whole = read_picture(photos / "3.png").pixels
    assert float(psnr(last.secret[None], whole[None])) == float("inf")
    assert [tuple(size) for size in pairs.sizes] == [tuple(pair.secret.shape[1:]) for pair in pairs]
    assert [pair["cover"] for pair in FolderPairs(photos, limit=99).names] == ["1.png", "3.png", "0.png"]


@pytest.mark.slow
def test_photos_of_any_name_in_a_locale_of_few_letters(weights: Path, tmp_path: Path) -> None:
    names = (b"a\xff.png", "b|\u043b.png".encode(), b"c\nd.png", "\u5199\u771f.png".encode())
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(names):
        save_image(tmp_path / "photo.png", seed, 32, 48)
        shutil.copy(tmp_path / "photo.png", os.fsdecode(os.fsencode(tmp_path / "photos") + b"/" + name))
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    options = ("--data", "photos", "--out", "report", "--weights", weights, "--pipeline", "uint8")
    result = run_script("evaluate.py", *options, cwd=tmp_path, environment=ascii_only)
    assert result.status == 0, result.err
    page, lines = ((tmp_path / "report" / name).read_text("utf-8") for name in ("results.md", "pairs.csv"))
    assert "| a\\xff.png | b\\|\u043b.png | 32 x 48 |" in page
    assert "| c\\nd.png | \u5199\u771f.png | 32 x 48 |" in page
    named = {(row["secret"], row["cover"]) for row in csv.DictReader(io.StringIO(lines))}
    assert named == {("a\\xff.png", "b|\u043b.png"), ("c\\nd.png", "\u5199\u771f.png")}
