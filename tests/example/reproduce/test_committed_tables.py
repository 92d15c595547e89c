"""The committed tables and pages match the committed JSON files; nothing is measured here."""

import json

import pytest
from reproduce.comparison import entries
from reproduce.comparison_report import markdown
from reproduce.finding_plots import COEFFICIENTS
from reproduce.treatments import UNTREATED

from tests.example.helpers import EXAMPLE

RESULTS = EXAMPLE / "results"


@pytest.mark.parametrize("table", [1, 2, 3])
def test_a_table_shows_its_figures(table: int) -> None:
    """Each committed page of a table is the page that its JSON file gives."""
    results = json.loads((RESULTS / f"table-{table}.json").read_text())
    assert [row["name"] for row in results["rows"]] == [entry.name for entry in entries(table)]
    assert markdown(results) == (RESULTS / f"table-{table}.md").read_text()


def test_the_finding_shows_its_figures() -> None:
    """The committed page of the finding shows the means and correlations of its JSON file."""
    results, text = json.loads((RESULTS / "finding.json").read_text()), (RESULTS / "finding.md").read_text()
    for row in results["means"]:
        stego, secret = (f"{row[f'{side}_psnr']:.2f} | {row[f'{side}_ssim']:.4f}" for side in ("stego", "secret"))
        assert f"| {row['hider']} | {row['treatment']} | {stego} | {secret} |" in text
    for hider, values in results["correlations"].items():
        message = [f"{name} {values[key]:.2f}" for key, name in COEFFICIENTS.items()]
        assert f"{hider}, correlation of stego and secret quality: {', '.join(message)}." in text


def test_what_is_said_of_the_finding_holds() -> None:
    """The sentences about the finding in docs/pirnet-comparison.md have the figures of the JSON file."""
    page = " ".join((EXAMPLE.parent.parent / "docs" / "pirnet-comparison.md").read_text().split())
    results = json.loads((RESULTS / "finding.json").read_text())
    rows = {(row["hider"], row["treatment"]): row for row in results["means"]}

    def change(hider: str, treatment: str, side: str) -> float:
        return rows[hider, treatment][f"{side}_psnr"] - rows[hider, UNTREATED][f"{side}_psnr"]

    wholly = [(hider, denoiser) for hider in ("HiNet", "LIH") for denoiser in ("DnCNN", "CBDNet", "RIDNet")]
    gain = min(change(*treated, "stego") for treated in wholly)
    loss = min(-change(*treated, "secret") for treated in wholly)
    assert (
        f"stego image {gain:.1f} dB or more closer to its cover, and makes the secret {loss:.1f} dB or more worse"
        in page
    )
    for hider in ("HiNet", "LIH"):
        for sigma in (5, 10, 15):
            assert max(change(hider, f"noise, sigma {sigma}", side) for side in ("stego", "secret")) < 0
        assert results["correlations"][hider]["psnr"] < 0
    stego, secret = (change("LIH", "DnCNN, 5% of it", side) for side in ("stego", "secret"))
    assert f"brings the stego image of LIH {stego:.2f} dB closer to its cover" in page
    assert f"improves the secret by {secret:.2f} dB." in page
    stego, secret = (change("HiNet", "DnCNN, 5% of it", side) for side in ("stego", "secret"))
    gains = f"For HiNet the stego image gains {stego:.2f} dB and the secret {secret:.2f} dB"
    assert f"{gains}, where the paper reports 3.64 dB for the secret." in page
    lih, hinet = (-change(hider, "DnCNN, 25% of it", "secret") for hider in ("LIH", "HiNet"))
    assert f"the secret of LIH loses {lih:.2f} dB and that of HiNet {hinet:.2f} dB" in page
    published = 28.18  # of the paper's HiNet
    assert f"{published - rows['HiNet', UNTREATED]['stego_psnr']:.1f} dB worse than those in the paper" in page


def test_what_is_said_of_the_tables_holds() -> None:
    """The sentences about the tables in docs/pirnet-comparison.md have the figures of the JSON files."""
    page = " ".join((EXAMPLE.parent.parent / "docs" / "pirnet-comparison.md").read_text().split())
    tables = [json.loads((RESULTS / f"table-{table}.json").read_text())["rows"] for table in (1, 2, 3)]
    rows = [{(row["task"], row["title"]): row["figures"].get("ours") for row in table} for table in tables]
    same = [
        [rows[0][task, "PIRNet"], rows[1][task, "PIRNet, K = 1"], rows[2][task, "reversible"]]
        for task in ("denoise", "deblur", "sr")
    ]
    ranges = [sorted(figures["secret_psnr"] for figures in of_task) for of_task in same]
    stegos = [[figures["stego_psnr"] for figures in of_task] for of_task in same]
    spreads = [f"{max(values) - min(values):.1f}" for values in stegos]
    noise, blur, low = (f"{least:.1f} to {most:.1f}" for least, _, most in ranges)
    assert f"secrets have {noise} dB (noise), {blur} (blur) and {low} (low resolution)" in page
    assert "its stego images differ by up to {}, {} and {} dB".format(*spreads) in page
    ahead = {
        (task, side): rows[2][task, "reversible"][f"{side}_psnr"] - rows[2][task, "not reversible"][f"{side}_psnr"]
        for task in ("denoise", "deblur", "sr")
        for side in ("secret", "stego")
    }
    secrets, stegos = (f"{ahead['deblur', side]:.1f} and {ahead['sr', side]:.1f} dB" for side in ("secret", "stego"))
    assert f"secrets of the reversible chain are {secrets} better, and its stego images {stegos} closer to" in page
    assert f"For noise the difference of {abs(ahead['denoise', 'secret']):.1f} dB is chance" in page
    assert abs(ahead["denoise", "secret"]) < ranges[0][-1] - ranges[0][0]
    steps = {(row["task"], row["title"]): row["steps"][0] for row in tables[2]}
    more = sorted(steps[task, "not reversible"] / steps[task, "reversible"] for task in ("denoise", "deblur", "sr"))
    assert f"for {more[0]:.1f} to {more[-1]:.1f} times as many steps of hiding" in page
