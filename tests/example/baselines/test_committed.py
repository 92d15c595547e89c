"""The tables of comparisons that come along are those of their JSON; nothing is measured here."""

import json

import pytest
from pirnet.comparison import entries
from pirnet.evidence import COEFFICIENTS
from pirnet.scoreboard import markdown
from pirnet.tampering import UNTREATED

from tests.example.helpers import EXAMPLE

RESULTS = EXAMPLE / "results"


@pytest.mark.parametrize("table", [1, 2, 3])
def test_a_table_shows_its_figures(table: int) -> None:
    results = json.loads((RESULTS / f"table-{table}.json").read_text())
    assert [row["name"] for row in results["rows"]] == [entry.name for entry in entries(table)]
    assert markdown(results) == (RESULTS / f"table-{table}.md").read_text()


@pytest.mark.parametrize("name", ["finding", "finding-part"])
def test_a_finding_shows_its_figures(name: str) -> None:
    results, text = json.loads((RESULTS / f"{name}.json").read_text()), (RESULTS / f"{name}.md").read_text()
    for row in results["means"]:
        stego, secret = (f"{row[f'{side}_psnr']:.2f} | {row[f'{side}_ssim']:.4f}" for side in ("stego", "secret"))
        assert f"| {row['hider']} | {row['treatment']} | {stego} | {secret} |" in text
    for hider, values in results["correlations"].items():
        told = [f"{name} {values[key]:.2f}" for key, name in COEFFICIENTS.items()]
        assert f"{hider}, correlation of stego and secret quality: {', '.join(told)}." in text


def test_what_is_said_of_the_findings_holds() -> None:
    page = " ".join((EXAMPLE.parent.parent / "docs" / "pirnet-comparison.md").read_text().split())
    whole, part = (
        {(row["hider"], row["treatment"]): row for row in json.loads((RESULTS / f"{name}.json").read_text())["means"]}
        for name in ("finding", "finding-part")
    )

    def change(rows: dict, hider: str, treatment: str, side: str) -> float:
        return rows[hider, treatment][f"{side}_psnr"] - rows[hider, UNTREATED][f"{side}_psnr"]

    for hider in ("HiNet", "LIH"):
        for denoiser in ("DnCNN", "CBDNet", "RIDNet"):
            assert change(whole, hider, denoiser, "stego") > 5
            assert change(whole, hider, denoiser, "secret") < -8
        for sigma in (5, 10, 15):
            assert max(change(whole, hider, f"noise, sigma {sigma}", side) for side in ("stego", "secret")) < 0
    stego, secret = (change(part, "LIH", "DnCNN, 5% of it", side) for side in ("stego", "secret"))
    assert f"moves the stego image by {stego:.2f} dB, as in the paper, and the secret by {secret:.2f} dB" in page
    assert f"A quarter of the way costs the secret {-change(part, 'LIH', 'DnCNN, 25% of it', 'secret'):.2f} dB" in page
    assert part["LIH", UNTREATED] == whole["LIH", UNTREATED]


def test_what_is_said_of_the_tables_holds() -> None:
    page = " ".join((EXAMPLE.parent.parent / "docs" / "pirnet-comparison.md").read_text().split())
    tables = [json.loads((RESULTS / f"table-{table}.json").read_text())["rows"] for table in (1, 2, 3)]
    rows = [{(row["task"], row["title"]): row["figures"].get("ours") for row in table} for table in tables]
    same = [
        [rows[0][task, "PIRNet"], rows[1][task, "PIRNet, K = 1"], rows[2][task, "reversible"]]
        for task in ("denoise", "deblur", "sr")
    ]
    ranges = [sorted(figures["secret_psnr"] for figures in of_task) for of_task in same]
    spread = max(
        max(figures["stego_psnr"] for figures in of_task) - min(figures["stego_psnr"] for figures in of_task)
        for of_task in same
    )
    noise, blur, low = (f"{least:.1f} to {most:.1f}" for least, _, most in ranges)
    assert f"secrets of {noise}, {blur} and {low} dB, stego images up to {spread:.1f} dB apart" in page
    ahead = {
        (task, side): rows[2][task, "reversible"][f"{side}_psnr"] - rows[2][task, "not reversible"][f"{side}_psnr"]
        for task in ("denoise", "deblur", "sr")
        for side in ("secret", "stego")
    }
    secrets, stegos = (f"{ahead['deblur', side]:.1f} and {ahead['sr', side]:.1f} dB" for side in ("secret", "stego"))
    assert f"the composed chain reveals {secrets} more through stego images {stegos} closer to their covers" in page
    assert f"For noise the two are {abs(ahead['denoise', 'secret']):.1f} dB apart, which is chance" in page
    assert abs(ahead["denoise", "secret"]) < ranges[0][-1] - ranges[0][0]
    steps = {(row["task"], row["title"]): row["steps"][0] for row in tables[2]}
    more = sorted(steps[task, "not reversible"] / steps[task, "reversible"] for task in ("denoise", "deblur", "sr"))
    assert f"takes {more[0]:.1f} to {more[-1]:.1f} times as many steps of hiding" in page
