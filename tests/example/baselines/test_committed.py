"""The tables of comparisons that come along are those of their JSON; nothing is measured here."""

import json

import pytest
from pirnet.comparison import entries
from pirnet.scoreboard import markdown

from tests.example.helpers import EXAMPLE

RESULTS = EXAMPLE / "results"


@pytest.mark.parametrize("table", [1, 2, 3])
def test_a_table_shows_its_figures(table: int) -> None:
    results = json.loads((RESULTS / f"table-{table}.json").read_text())
    assert [row["name"] for row in results["rows"]] == [entry.name for entry in entries(table)]
    assert markdown(results) == (RESULTS / f"table-{table}.md").read_text()


def test_the_finding_shows_its_means() -> None:
    results, page = (RESULTS / f"finding.{kind}" for kind in ("json", "md"))
    text = page.read_text()
    for row in json.loads(results.read_text())["means"]:
        stego, secret = (f"{row[f'{side}_psnr']:.2f} | {row[f'{side}_ssim']:.4f}" for side in ("stego", "secret"))
        assert f"| {row['hider']} | {row['treatment']} | {stego} | {secret} |" in text
