"""compare.py: finished rows are kept, the tables show the rows, and the budgets are respected."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from pirnet.config import Config
from pirnet.model import PIRNet
from pirnet.trainer import Trainer
from reproduce.baselines import HIDERS, RESTORERS
from reproduce.budget import BUDGETS, ENDLESS, Budget, scheduled, steps_within
from reproduce.comparison import config_of, entries, uncompose

from liftlayers.testing import randomise_
from tests.example.helpers import TINY_LSR, Script, listing, smooth_image, smooth_photos, strict_json, tiny

ROWS = ("sr-hidden-rlfn", "sr-pirnet")
TINIEST = ("--minutes", 0.001, "--crop", 16, "--batch-size", 2, "--pairs", 1, "--side", 48, "--device", "cpu")


def columns(page: str) -> dict[str, list[str]]:
    """The columns of the first table of a page, by their heads."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")
    ]
    return {head: cells for head, _, *cells in map(list, zip(*lines, strict=True))}


def test_two_rows_and_then_none(photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """The script trains two rows in two calls, keeps the first, writes all files, and refuses other settings."""
    command = ("reproduce/compare.py", "--data", photo_folder, "--test", photo_folder, "--out", "out", *TINIEST)
    first = script(*command, "--rows", ROWS[0])
    assert first.status == 0, first.err
    kept = (tmp_path / "out" / "rows" / f"{ROWS[0]}.json").read_bytes()
    both = script(*command, "--rows", *ROWS)
    assert both.status == 0, both.err
    assert re.search(r"^sr-hidden-rlfn +\S+ +\S+ +1\+1\+1", both.out, re.MULTILINE)
    assert "2 of 24 rows" in both.out
    assert (tmp_path / "out" / "rows" / f"{ROWS[0]}.json").read_bytes() == kept  # the row is not trained again
    assert [path.name for path in sorted((tmp_path / "out" / "rows").iterdir())] == [f"{name}.json" for name in ROWS]

    results = strict_json((tmp_path / "out" / "results.json").read_text())
    assert [row["name"] for row in results["rows"]] == list(ROWS)
    assert len(results["to_come"]) == 22
    assert results["settings"]["budget"]["minutes"] == 0.001
    assert results["settings"]["pairs"] == [["0.png", "1.png"]]
    hidden, own = results["rows"]
    assert [min(row["parameters"].values()) > 0 for row in results["rows"]] == [True, True]
    assert hidden["config"]["train"]["steps"] == hidden["steps"] == [1, 1, 1]
    assert hidden["config"]["train"]["tasks"] == own["config"]["train"]["tasks"] == ["sr"]
    assert hidden["figures"]["do nothing"] == own["figures"]["do nothing"]  # the same pairs and degradations

    page = columns((tmp_path / "out" / "results.md").read_text())
    assert page["row"] == ["do nothing", "no restoration", "HiDDeN + RLFN", "PIRNet"]
    ours, theirs = page["secret PSNR"], page["secret PSNR, DIV2K as published"]
    ways = [(own, "do nothing"), (own, "no restoration"), (hidden, "ours"), (own, "ours")]
    assert ours == [f"{row['figures'][way]['secret_psnr']:.2f}" for row, way in ways]
    assert theirs == ["", "", "22.28", "24.51"]
    assert page["stego PSNR, DIV2K as published"] == ["", "", "21.02", "30.33"]
    published = [cells for head, cells in page.items() if "as published" in head]
    assert len(published) == 2
    with Image.open(tmp_path / "out" / "comparison.png") as image:
        image.load()

    again = script(*command, "--rows", ROWS[0], "--minutes", 0.002)
    assert again.status == 2
    assert "budget.minutes is 0.001 there and 0.002 here; name another folder with --out" in again.err
    other = script("reproduce/compare.py", "--test", photo_folder, "--out", "out", *TINIEST)
    assert re.search(
        r"rows/sr-hidden-rlfn.json is of another comparison: .*photos is .*4.png.* there and .*coffee", other.err
    )
    assert "table is 1 there and 2 here;" in script(*command, "--table", 2).err


@pytest.mark.parametrize("table", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_other_tables_and_a_damaged_row(table: int, photo_folder: Path, script: Script, tmp_path: Path) -> None:
    """Tables 2 and 3 show their published figures, and a damaged row is refused by its name."""
    chosen = {2: "deblur-pirnet-k-1", 3: "deblur-not-reversible"}[table]
    command = ("reproduce/compare.py", "--table", table, "--data", photo_folder, *TINIEST, "--rows", chosen)
    result = script(*command)
    assert result.status == 0, result.err
    page = (tmp_path / "runs" / f"table-{table}" / "results.md").read_text()
    assert columns(page)["secret PSNR, DIV2K as published"] == ["", {2: "28.28", 3: "27.35"}[table]]
    assert "stego PSNR, DIV2K as published" not in columns(page)
    row = tmp_path / "runs" / f"table-{table}" / "rows" / f"{chosen}.json"
    row.write_text(row.read_text()[:-20])
    damaged = script(*command)
    assert damaged.status == 2
    assert f"{chosen}.json holds no row of a comparison: remove it to train it again" in damaged.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rows", "denoise-hinet"), r"--rows needs names among .*denoise-pirnet, .*, got denoise-hinet"),
        (("--minutes", 0), r"--minutes needs more than 0, got 0.0"),
        (("--minutes", "nan"), r"--minutes needs more than 0, got nan"),
        (("--crop", 800), r"at least 800 x 800 pixels .* got 400 x 600 for coffee"),
        (("--crop", 40), r"--crop needs a multiple of 16, which every system takes, got 40"),
        (("--side", 8), r"--side needs a multiple of 16, which every system takes, got 8"),
        (("--pairs", 0), r"--pairs needs at least 1, got 0"),
        (("--batch-size", 0), r"--batch-size needs at least 1, got 0"),
        (("--budget", "week"), r"--budget needs one of tiny, hour, day, got 'week'"),
    ],
)
def test_what_is_refused(options: tuple[object, ...], message: str, script: Script, tmp_path: Path) -> None:
    """Wrong options are refused with a message that names the option and its value."""
    result = script("reproduce/compare.py", *options)
    assert result.status == 2
    assert re.search(message, result.err)
    assert listing(tmp_path) == {}


def test_table_1_is_the_paper_s() -> None:
    """Table 1 has the paper's systems for each task, and PIRNet has the best published secret."""
    table = entries(1)
    assert len({entry.name for entry in table}) == len(table) == 24
    assert {entry.hider for entry in table} - {"lih"} <= HIDERS.keys()
    assert {entry.restorer for entry in table} - {"lsr"} <= RESTORERS.keys()
    for task in ("denoise", "deblur", "sr"):
        of_task = [entry for entry in table if entry.task == task]
        assert [entry.hider for entry in of_task if not entry.in_the_clear] == [
            *("hidden", "hidden", "baluja", "baluja", "deepmih", "deepmih", "lih")
        ]
        best = max(of_task, key=lambda entry: entry.published[1] or 0.0)
        assert best.title == "PIRNet"  # as the paper says


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_budgets_are_the_same_for_every_row(budget: Budget) -> None:
    """All rows of a budget share crops, batch size, losses, degradations, rounding and seed."""
    for table in (1, 2, 3):
        configs = [config_of(entry, budget) for entry in entries(table)]
        assert len({(c.train.crop, c.train.batch_size, c.loss, c.degradation, c.stego, c.seed) for c in configs}) == 1
        assert all(budget.crop % 2**config.lsr.num_scales == 0 for config in configs)


@pytest.mark.parametrize(("seconds", "each", "steps"), [(10.0, 3.0, 3), (9.0, 3.0, 3), (1.0, 3.0, 1), (0.5, 0.01, 50)])
def test_steps_within(seconds: float, each: float, steps: int) -> None:
    assert steps_within(seconds, each) == steps


def test_steps_fill_each_stage_s_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of each stage fill its share of the minutes; the time of a step is a given number here."""
    each = {1: 0.01, 2: 0.1, 3: 0.2}
    monkeypatch.setattr("reproduce.budget._seconds_a_step", lambda trial, _: each[trial.stage])
    new_trainer = partial(Trainer, photos=smooth_photos(), device=torch.device("cpu"))
    config = tiny(warmup=50)
    train = scheduled(config, new_trainer, minutes=0.5).train
    assert train.steps == (1200, 90, 45)
    assert train.warmup == 44
    clear = scheduled(replace(config, in_the_clear=True), new_trainer, minutes=0.5).train
    assert clear.steps == (0, 300, 0)
    assert clear.warmup == 30
    without_third = replace(config, train=replace(config.train, steps=(3, 3, 0)))
    assert scheduled(without_third, new_trainer, minutes=0.5).train.steps == (1714, 128, 0)
    assert scheduled(config, new_trainer, minutes=1e-6).train.steps == (1, 1, 1)


def test_a_stage_is_timed_for_a_twentieth_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are timed for a twentieth of a stage. On this test's clock the first step takes 10 s, others 1 s."""
    clock, taken = [0.0], []

    class Stub:
        def __init__(self, config: Config) -> None:
            self.config = config

        def take_step(self) -> None:
            taken.append(self.config.train.steps)
            clock[0] += 1.0 if taken.count(taken[-1]) > 1 else 10.0

    monkeypatch.setattr("reproduce.budget.time.monotonic", lambda: clock[0])
    train = scheduled(tiny(), Stub, minutes=20).train  # type: ignore[arg-type]
    assert train.steps == (480, 360, 360)
    endless = [(ENDLESS, 0, 0), (0, ENDLESS, 0), (0, 0, ENDLESS)]
    assert [taken.count(steps) for steps in endless] == [15, 9, 9]
    assert len(taken) == 33


def test_uncomposed_chains_do_not_invert() -> None:
    """Without composition the chains do not invert; composed, with the same weights, they do."""
    cover, secret = smooth_image(0, 32, 32)[None], smooth_image(1, 32, 32)[None]
    model = randomise_(PIRNet(replace(tiny(), lsr=replace(TINY_LSR, num_blocks=2))))
    names, pyramid = [name for name, _ in model.named_parameters()], model.lsr.pyramid

    def errors() -> list[float]:
        revealed = model.lih.inverse(*model.lih(cover, secret))[1]
        back = pyramid.inverse(*pyramid(cover))
        return [(image - truth).abs().max().item() for image, truth in ((revealed, secret), (back, cover))]

    assert max(errors()) < 1e-4
    uncompose(model)
    assert min(errors()) > 1e-2
    assert len(list(model.parameters())) == len(names)


def test_the_released_chain_trains_its_end_blocks_alone() -> None:
    """Without composition only two blocks are trained: the last, which hides, and the first, which reveals."""
    model = PIRNet(replace(tiny(), lih=replace(tiny().lih, num_blocks=3)))
    uncompose(randomise_(model))
    cover, secret = smooth_image(0, 16, 16)[None], smooth_image(1, 16, 16)[None]
    model.reveal(model.conceal(cover, secret)).sum().backward()
    (blocks,) = model.lih.blocks
    trained = [any(p.grad is not None for p in block.parameters()) for block in blocks.blocks]  # type: ignore[union-attr]
    assert trained == [True, False, True]
