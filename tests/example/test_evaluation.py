"""The evaluation: its rows, its table of text, and its files."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from pirnet.data import Pair
from pirnet.degrade import Degradation
from pirnet.evaluation import Networks, Row, deviations, differences, evaluate, mean, measure, run
from pirnet.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim
from pirnet.model import LSR, PIRNet
from pirnet.pixels import smooth_borders
from pirnet.support.files import write_json
from pirnet.support.report import save_sheets, summary, table
from pirnet.support.seeds import seeded_generator
from pirnet.tasks import TASKS, degrade
from pirnet.weights import load_lih, load_lsr
from torch import nn

from liftlayers.testing import randomise_
from tests.example.helpers import smooth_image, strict_json, tiny

ROWS = ("do nothing", "no restoration", "ours")


def pairs(count: int = 2) -> list[Pair]:
    names = [chr(ord("a") + i) for i in range(2 * count)]
    photos = [smooth_image(i, 32, 48) for i in range(2 * count)]
    return [Pair(names[i], names[i + 1], photos[i], photos[i + 1]) for i in range(0, 2 * count, 2)]


def shaken(model: nn.Module, by: float = 0.02) -> None:
    """Changes all weights a little, so that a network does something but keeps photos recognisable."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def model(*, lsr: bool = True, **changes: object) -> PIRNet:
    torch.manual_seed(0)
    net = PIRNet(replace(tiny(), **changes))
    shaken(net.lih)
    if lsr:
        shaken(net.lsr)
    return net


def find(rows: list[Row], task: str, name: str) -> Row:
    (row,) = (row for row in rows if (row.task, row.row) == (task, name))
    return row


def test_three_rows_a_task() -> None:
    rows, first = evaluate(model(), pairs())
    assert [(row.task, row.row) for row in rows] == [(task, name) for task in TASKS for name in ROWS]
    assert {row.pipeline for row in rows} == {"uint8"}
    assert [example.task for example in first] == list(TASKS)
    for row in rows:
        assert (row.stego_psnr is None) == (row.stego_ssim is None) == (row.row == "do nothing")
        assert (row.revealed_psnr is None) == (row.row != "no restoration")
        assert row.secret_ssim <= 1


def test_rows_are_means_over_the_pairs() -> None:
    net, given = model(), pairs(3)
    rows, _ = evaluate(net, given)
    net.eval()
    for task in TASKS:
        stego_db, secret_db, revealed_db, restored_db, nothing_db, similar = ([] for _ in range(6))
        for number, pair in enumerate(given):
            truth, cover = pair.secret[None], pair.cover[None]
            secret = degrade(truth, task, Degradation(), generator=seeded_generator(number))
            with torch.no_grad():
                stego = net.conceal(cover, secret)
                restored = net.reveal(net.restore(stego, task))
                revealed = net.reveal(stego)
            nothing_db.append(float(psnr(secret, truth)))
            stego_db.append(float(psnr(stego, cover)))
            secret_db.append(float(psnr(revealed, truth)))
            revealed_db.append(float(psnr(revealed, secret)))
            restored_db.append(float(psnr(restored, truth)))
            similar.append(float(ssim(restored, truth)))
        unrestored = find(rows, task, "no restoration")
        assert find(rows, task, "do nothing").secret_psnr == pytest.approx(sum(nothing_db) / 3, abs=1e-3)
        assert unrestored.stego_psnr == pytest.approx(sum(stego_db) / 3, abs=1e-3)
        assert unrestored.secret_psnr == pytest.approx(sum(secret_db) / 3, abs=1e-3)
        assert unrestored.revealed_psnr == pytest.approx(sum(revealed_db) / 3, abs=1e-3)
        assert find(rows, task, "ours").secret_psnr == pytest.approx(sum(restored_db) / 3, abs=1e-3)
        assert find(rows, task, "ours").secret_ssim == pytest.approx(sum(similar) / 3, abs=1e-3)


def test_the_same_model_is_the_same_table() -> None:
    """The global random seed does not change the figures of a model."""
    torch.manual_seed(1)
    rows, _ = evaluate(model(), pairs())
    torch.manual_seed(2)
    assert evaluate(model(), pairs())[0] == rows


def test_a_key_changes_what_is_sent_and_not_what_is_compared(half_and_double: Path) -> None:
    """If LIH reveals exactly, scrambling costs nothing; without the key, the weights reveal the scrambled secret."""
    pair = replace(pairs(1)[0], cover=torch.zeros_like(pairs(1)[0].cover))
    networks = Networks(load_lih(half_and_double / "lih.safetensors"), load_lsr(half_and_double / "lsr.safetensors"))
    plain, keyed, again, other = (
        run(networks, pair, "sr", number=number, pipeline="float", block=block)
        for number, block in ((3, 0), (3, 16), (3, 16), (4, 16))
    )
    assert torch.equal(plain.secret, keyed.secret)
    for name in ("revealed", "restored"):
        assert (smooth_borders(getattr(plain, name), 16) - getattr(keyed, name)).abs().max() < 1e-5
    assert plain.without_key is None
    assert keyed.without_key is not None
    assert (keyed.without_key - keyed.restored).abs().mean() > 0.1
    assert torch.equal(keyed.stego, again.stego)
    assert not torch.equal(keyed.stego, other.stego)
    rows = measure(keyed, pipeline="float", without_key=plain)
    assert [row.row for row in rows] == ["do nothing", "no restoration", "no key", "ours"]
    (difference,) = differences(rows)
    psnrs = {row.row: row.secret_psnr for row in rows}
    assert difference.price_of_key == pytest.approx(psnrs["no key"] - psnrs["ours"])


def test_without_a_restorer_ours_is_no_restoration() -> None:
    """If the cloud's network is the identity, `ours` equals `no restoration` and the gain is 0.00."""
    rows, _ = evaluate(model(lsr=False), pairs())
    for task in TASKS:
        ours, unrestored = find(rows, task, "ours"), find(rows, task, "no restoration")
        assert ours.secret_psnr == unrestored.secret_psnr
        assert ours.stego_psnr == unrestored.stego_psnr
    gains = [
        line.split()[-1] for line in table(rows).splitlines() if line.split()[:2] in [[task, "ours"] for task in TASKS]
    ]
    assert gains == ["0.00"] * 3


def test_the_float_pipeline_is_named() -> None:
    rows, _ = evaluate(model(stego="float"), pairs(1))
    assert {row.pipeline for row in rows} == {"float"}


def test_the_table_says_where_ours_does_not_beat_doing_nothing() -> None:
    rows = []
    for task, ours in (("denoise", 25.0), ("deblur", 26.5), ("sr", 30.0)):
        rows += [
            Row(task, "do nothing", "uint8", None, 26.5, None, 0.5),
            Row(task, "no restoration", "uint8", 33.0, 25.5, 0.9, 0.6, 31.25),
            Row(task, "ours", "uint8", 32.0, ours, 0.9, 0.7),
        ]
    lines = table(rows).splitlines()
    assert lines[0].split()[:7] == ["task", "row", "stego", "secret", "reveal", "gain", "price"]
    assert lines[1].split() == ["denoise", "do", "nothing", "26.50"]
    assert lines[2].split() == ["denoise", "no", "restoration", "33.00", "25.50", "31.25"]
    assert lines[3].split() == ["denoise", "ours", "32.00", "25.00", "-0.50"]
    assert lines[9].split()[-1] == "4.50"
    assert lines[-2:] == [
        "denoise: ours (25.00 dB) does not beat doing nothing (26.50 dB).",
        "deblur: ours (26.50 dB) does not beat doing nothing (26.50 dB).",
    ]
    assert "sr: ours" not in table(rows)
    for cell, column in (("33.00", "stego"), ("25.50", "secret"), ("31.25", "reveal")):
        assert lines[2].index(cell) + len(cell) == lines[0].index(column) + len(column)


def test_the_summary_has_the_agreed_form(tmp_path: Path) -> None:
    rows, _ = evaluate(model(), pairs())
    write_json(tmp_path / "summary.json", summary(rows, data="my photos", pairs=pairs()))
    content = strict_json((tmp_path / "summary.json").read_text())
    assert content.keys() >= {"data", "pairs", "rows"}
    assert content["data"] == "my photos"
    assert content["pairs"] == 2
    assert content["names"] == [{"secret": "a", "cover": "b"}, {"secret": "c", "cover": "d"}]
    assert [Row(**row) for row in content["rows"]] == rows
    assert content["rows"][0]["stego_psnr"] is None
    assert {field.name for field in fields(Row)} >= {
        "task",
        "row",
        "pipeline",
        "stego_psnr",
        "secret_psnr",
        "stego_ssim",
    }


def test_what_is_infinite_is_still_json(tmp_path: Path) -> None:
    """An infinite PSNR is null in JSON: the stego image of an untrained network equals the cover in 8 bit."""
    config = tiny()
    rows, _ = evaluate(PIRNet(replace(config, lih=replace(config.lih, headroom=0))), pairs(1))
    assert find(rows, "sr", "ours").stego_psnr in (None, float("inf"))
    write_json(tmp_path / "summary.json", summary(rows, data="", pairs=pairs(1)))
    content = strict_json((tmp_path / "summary.json").read_text())
    assert content["rows"][-1]["stego_psnr"] is None


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, None, "é"]})
    before = path.read_text()
    assert strict_json(before) == {"a": [1, None, "é"]}
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": object()})
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_sheets_are_written_and_readable(tmp_path: Path) -> None:
    _, first = evaluate(randomise_(model()), pairs(1))  # far outside [0, 1], which sheets must accept
    save_sheets(tmp_path, first)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "deblur.png",
        "denoise.png",
        "result.webp",
        "sr.png",
    ]
    sizes = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            image.load()
            sizes[path.name] = image.size
    assert sizes["sr.png"] == sizes["denoise.png"] == sizes["deblur.png"]
    assert sizes["sr.png"][0] > 4 * 320  # four panels a row
    assert sizes["result.webp"][0] > 6 * 320


def test_rows_are_plain() -> None:
    """A row holds only strings, floats and None."""
    rows, _ = evaluate(model(), pairs(1))
    for row in rows:
        assert {type(value) for value in asdict(row).values()} <= {str, float, type(None)}


def test_the_clear_network_sees_the_secret_itself() -> None:
    net, (pair,) = model(), pairs(1)
    clear = LSR(tiny().lsr)
    shaken(clear)
    networks = Networks(net.lih, net.lsr, clear)
    example = run(networks, pair, "denoise", number=0, pipeline="uint8")
    rows = measure(example, pipeline="uint8")
    assert [row.row for row in rows] == ["do nothing", "no restoration", "in the clear", "ours"]
    secret = degrade(pair.secret[None], "denoise", Degradation(), generator=seeded_generator(0))
    with torch.no_grad():
        expected = float(psnr(clear(secret, "denoise"), pair.secret[None]))
    found = find(rows, "denoise", "in the clear")
    assert found.secret_psnr == pytest.approx(expected, abs=1e-3)
    assert found.stego_psnr is None


def test_the_pipeline_decides_what_is_rounded() -> None:
    net, (pair,) = model(), pairs(1)
    images = {}
    for pipeline in ("uint8", "float"):
        example = run(Networks(net.lih, net.lsr), pair, "sr", number=0, pipeline=pipeline)
        images[pipeline] = example.stego
        whole = [torch.equal((255 * image).round() / 255, image) for image in (example.stego, example.restored_stego)]
        assert whole == [pipeline == "uint8"] * 2
    assert float((images["uint8"] - images["float"].clamp(0, 1)).abs().max()) <= 0.5 / 255 + 1e-6


def test_what_the_differences_mean() -> None:
    """The differences are ours minus doing nothing, ours minus no restoration, and in the clear minus ours."""
    rows = [
        Row("sr", "do nothing", "float", None, 20.0, None, 0.5),
        Row("sr", "no restoration", "float", 33.0, 21.5, 0.9, 0.6),
        Row("sr", "ours", "float", 32.0, 24.0, 0.9, 0.7),
    ]
    (difference,) = differences(rows)
    assert (difference.task, difference.pipeline) == ("sr", "float")
    assert (difference.over_nothing, difference.cloud_gain, difference.price_of_privacy) == (4.0, 2.5, None)
    clear = Row("sr", "in the clear", "float", None, 25.25, None, 0.8)
    (difference,) = differences([*rows, clear])
    assert difference.price_of_privacy == 1.25
    assert table([*rows, clear]).splitlines()[3].split() == ["sr", "ours", "32.00", "24.00", "2.50", "1.25"]


def test_means_and_deviations() -> None:
    rows = [
        Row("sr", "ours", "uint8", stego, secret, 0.5, 0.5) for stego, secret in ((30.0, 20.0), (34.0, float("inf")))
    ]
    assert mean(rows).stego_psnr == 32
    assert deviations(rows)["stego_psnr"] == pytest.approx(8**0.5, abs=1e-4)
    assert deviations(rows)["stego_ssim"] == 0
    assert deviations(rows)["secret_psnr"] is None  # one of them is infinite
    assert deviations(rows)["stego_lpips"] is None
    assert set(deviations(rows[:1]).values()) == {None}


def test_ms_ssim_needs_room() -> None:
    photo = smooth_image(0, MS_SSIM_SIDE, MS_SSIM_SIDE + 16)
    large = Pair("a", "b", photo, smooth_image(1, *photo.shape[1:]))
    example = run(Networks(model().lih, model().lsr), large, "sr", number=0, pipeline="uint8")
    ours = measure(example, pipeline="uint8")[-1]
    assert ours.secret_ms_ssim == pytest.approx(float(ms_ssim(example.restored, example.truth)))
    assert ours.stego_ms_ssim == pytest.approx(float(ms_ssim(example.restored_stego, example.cover)))
    assert find(evaluate(model(), pairs(1))[0], "sr", "ours").stego_ms_ssim is None
