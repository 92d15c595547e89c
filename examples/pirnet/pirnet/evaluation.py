"""What a trained PIRNet reaches on photos it has not seen, beside the rows that give the numbers a meaning."""

__all__ = [
    "Example",
    "Networks",
    "Pipeline",
    "evaluate",
    "measure",
    "panels",
    "run",
    "save_sheets",
    "summary",
    "table",
    "to_json",
    "write_json",
]

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor

from pirnet.band_hider import Z
from pirnet.data import Pair
from pirnet.degrade import TASKS, Degradation, degrade
from pirnet.images import atomic_path, quantise_uint8
from pirnet.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim
from pirnet.model import LIH, LSR, PIRNet
from pirnet.support.lpips import LPIPS, LPIPS_SIDE
from pirnet.support.rows import Row, differences, mean
from pirnet.support.seeds import seeded_generator
from pirnet.support.sheets import Panel, save_sheet, ten_fold_difference

Pipeline = Literal["uint8", "float"]

TEST = Degradation()


@dataclass(frozen=True)
class Networks:
    """What is evaluated, all of it on one device."""

    lih: LIH
    lsr: LSR
    clear: LSR | None = None
    """The same kind of network as `lsr`, but trained to restore a degraded photo itself, with nothing hidden."""
    z: Z = "zero"


@dataclass(frozen=True)
class Example:
    """One pair at one task, with every image on the way, all (1, 3, H, W)."""

    task: str
    truth: Tensor
    secret: Tensor
    cover: Tensor
    stego: Tensor
    revealed: Tensor
    restored_stego: Tensor
    restored: Tensor
    clear: Tensor | None = None
    """The degraded secret, restored by a network that sees it."""


@torch.no_grad()
def run(
    networks: Networks,
    pair: Pair,
    task: str,
    *,
    number: int,
    pipeline: Pipeline,
    device: torch.device,
    degradation: Degradation = TEST,
) -> Example:
    """Takes a pair all the way at the test's degradation, with noise that depends on its number alone."""
    truth, cover = pair.secret[None], pair.cover[None]
    secret = degrade(truth, task, degradation, generator=seeded_generator(number))
    truth, cover, secret = (image.to(device, memory_format=torch.channels_last) for image in (truth, cover, secret))

    def sent(stego: Tensor) -> Tensor:
        return quantise_uint8(stego) if pipeline == "uint8" else stego

    stego = sent(networks.lih.conceal(cover, secret))
    restored_stego = sent(networks.lsr(stego, task))
    revealed, restored = (networks.lih.reveal(image, networks.z) for image in (stego, restored_stego))
    clear = None if networks.clear is None else networks.clear(secret, task)
    return Example(task, truth, secret, cover, stego, revealed, restored_stego, restored, clear)


def measure(example: Example, *, pipeline: Pipeline, lpips: LPIPS | None = None) -> list[Row]:
    """The figures of one example, a row for each way to get at the secret."""
    ways = {"do nothing": (None, example.secret), "no restoration": (example.stego, example.revealed)}
    if example.clear is not None:
        ways["in the clear"] = (None, example.clear)
    ways["ours"] = (example.restored_stego, example.restored)
    rows = []
    for name, (stego, secret) in ways.items():
        figures: dict[str, float | None] = {f"secret_{k}": v for k, v in _compare(secret, example.truth, lpips).items()}
        stego_figures = dict.fromkeys(("psnr", "ssim")) if stego is None else _compare(stego, example.cover, lpips)
        figures |= {f"stego_{k}": v for k, v in stego_figures.items()}
        if name == "no restoration":
            figures["revealed_psnr"] = float(psnr(secret, example.secret))
        rows.append(Row(example.task, name, pipeline, **figures))  # type: ignore[arg-type]
    return rows


def evaluate(model: PIRNet, pairs: Sequence[Pair], *, device: torch.device) -> tuple[list[Row], list[Example]]:
    """Measures a model on pairs: three rows a task.

    Args:
        model: The network, in its own pipeline (8 bit or float).
        pairs: Photos with sides divisible by 2^K.
        device: Where to run.

    Returns:
        The rows, and the first pair's example of each task for the sheets.
    """
    model.eval()
    networks = Networks(model.lih, model.lsr, z=model.z)
    pipeline = cast(Pipeline, model.stego)
    figures: dict[tuple[str, str], list[Row]] = {}
    firsts: dict[str, Example] = {}
    for task in TASKS:
        for number, pair in enumerate(pairs):
            example = run(networks, pair, task, number=number, pipeline=pipeline, device=device)
            firsts.setdefault(task, example)
            for row in measure(example, pipeline=pipeline):
                figures.setdefault((row.task, row.row), []).append(row)
    return [mean(rows) for rows in figures.values()], list(firsts.values())


def table(rows: Sequence[Row]) -> str:
    """The rows of one pipeline as text, and in plain words where ours does not beat doing nothing."""
    lines = [f"{'task':<10}{'row':<17}{'stego':>8}{'secret':>9}{'reveal':>9}{'gain':>8}{'price':>8}   (PSNR in dB)"]
    verdicts = []
    meaning = {difference.task: difference for difference in differences(rows)}
    for row in rows:
        cells = f"{_cell(row.stego_psnr, 8)}{_cell(row.secret_psnr, 9)}{_cell(row.revealed_psnr, 9)}"
        if row.row == "ours":
            difference = meaning[row.task]
            cells += f"{_cell(difference.cloud_gain, 8)}{_cell(difference.price_of_privacy, 8)}"
            if difference.over_nothing <= 0:
                nothing = row.secret_psnr - difference.over_nothing
                verdicts.append(
                    f"{row.task}: ours ({row.secret_psnr:.2f} dB) does not beat doing nothing ({nothing:.2f} dB)."
                )
        lines.append(f"{row.task:<10}{row.row:<17}{cells}".rstrip())
    explained = [
        "stego: stego, or restored stego, against cover. secret: against its truth. reveal: revealed against degraded",
        "secret, the client's network alone. gain: what the cloud adds, ours minus no restoration. price: what hiding",
        "costs, in the clear minus ours; empty where no network was trained in the clear.",
    ]
    return "\n".join([*lines, "", *explained, *verdicts])


def save_sheets(folder: Path, first: Sequence[Example]) -> None:
    """Writes a comparison sheet a task, `TASK.png`, and the three on one small page, `result.webp`."""
    drawn = {example.task: panels(example) for example in first}
    for task, row in drawn.items():
        save_sheet(folder / f"{task}.png", [row[:4], row[4:]], heading=f"PIRNet: {task}")
    chosen = (0, 1, 2, 4, 6, 7)  # leaves out the difference and the secret revealed without restoration
    rows = [
        [replace(row[i], title=f"{task}: cover") if i == 0 else row[i] for i in chosen] for task, row in drawn.items()
    ]
    save_sheet(folder / "result.webp", rows, panel=192)


def panels(example: Example) -> list[Panel]:
    """The eight pictures of a sheet: four of the cover, four of the secret."""
    cover, secret, truth = example.cover, example.secret, example.truth
    images = [
        ("cover", cover, "what everybody may see"),
        ("stego", example.stego, f"{_db(example.stego, cover)} from the cover"),
        ("restored stego", example.restored_stego, f"{_db(example.restored_stego, cover)} from the cover"),
        (
            "ten-fold difference",
            ten_fold_difference(example.restored_stego[0], cover[0])[None],
            "restored stego from the cover",
        ),
        ("degraded secret", secret, f"{_db(secret, truth)} from the truth"),
        ("revealed, not restored", example.revealed, f"{_db(example.revealed, truth)} from the truth"),
        ("restored secret", example.restored, f"{_db(example.restored, truth)} from the truth"),
        ("truth", truth, "what the camera should have seen"),
    ]
    return [Panel(title, caption, image[0].clamp(0, 1)) for title, image, caption in images]


def write_json(path: Path, content: object) -> None:
    """Writes JSON, all of it or nothing; figures as `to_json`."""
    text = to_json(content, indent=2)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n")


def to_json(content: object, indent: int | None = None) -> str:
    """JSON with null for what is infinite or not a number, which JSON does not know (equal images: infinite PSNR)."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def summary(rows: Sequence[Row], *, data: str, pairs: Sequence[Pair]) -> dict[str, object]:
    """What `summary.json` holds."""
    names = [{"secret": pair.secret_name, "cover": pair.cover_name} for pair in pairs]
    return {"data": data, "pairs": len(pairs), "names": names, "rows": [asdict(row) for row in rows]}


def _compare(image: Tensor, target: Tensor, lpips: LPIPS | None) -> dict[str, float | None]:
    side = min(image.shape[-2:])
    return {
        "psnr": float(psnr(image, target)),
        "ssim": float(ssim(image, target)),
        "ms_ssim": float(ms_ssim(image, target)) if side >= MS_SSIM_SIDE else None,
        "lpips": float(lpips(image, target)) if lpips is not None and side >= LPIPS_SIDE else None,
    }


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _db(image: Tensor, target: Tensor) -> str:
    return f"{float(psnr(image, target)):.1f} dB"


def _cell(value: float | None, width: int) -> str:
    return " " * width if value is None else f"{value:{width}.2f}"
