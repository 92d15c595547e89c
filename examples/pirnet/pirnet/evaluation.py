"""What a trained PIRNet reaches on photos it has not seen, beside the rows that give the numbers a meaning."""

__all__ = ["Example", "Row", "evaluate", "save_sheets", "table", "to_json", "write_json"]

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pirnet.data import Pair
from pirnet.degrade import TASKS, Degradation, degrade
from pirnet.figures import Panel, save_sheet, ten_fold_difference
from pirnet.images import atomic_path
from pirnet.metrics import psnr, ssim
from pirnet.model import PIRNet
from pirnet.seeds import seeded_generator


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


@dataclass(frozen=True)
class Row:
    """Means over all pairs; null where a figure has no meaning. PSNR in dB on 8-bit RGB, SSIM up to 1."""

    task: str
    row: str
    """`do nothing`: the degraded secret as it is. `no restoration`: hidden and revealed without the cloud. `ours`."""
    pipeline: str
    """`uint8`: stego rounded to 8 bit as a file is; or `float`."""
    stego_psnr: float | None
    """Stego, or restored stego, against cover."""
    secret_psnr: float
    """Secret against its truth."""
    stego_ssim: float | None
    secret_ssim: float
    revealed_psnr: float | None = None
    """Revealed against degraded secret: how faithfully the client's network hides, on its own."""


@torch.no_grad()
def examples(model: PIRNet, pairs: Sequence[Pair], device: torch.device) -> Iterator[Example]:
    """Runs every pair through every task at the fixed test degradations, with noise that depends on the pair alone."""
    model.eval()
    for task in TASKS:
        for number, pair in enumerate(pairs):
            truth, cover = pair.secret[None], pair.cover[None]
            secret = degrade(truth, task, Degradation(), generator=seeded_generator(number))
            output = model(cover.to(device), secret.to(device), task)
            yield Example(task, truth, secret, cover, *(image.cpu() for image in output))


def evaluate(model: PIRNet, pairs: Sequence[Pair], *, device: torch.device) -> tuple[list[Row], list[Example]]:
    """Measures a model on pairs: three rows a task.

    Args:
        model: The network, in its own pipeline (8 bit or float).
        pairs: Photos with sides divisible by 2^K.
        device: Where to run.

    Returns:
        The rows, and the first pair's example of each task for the sheets.
    """
    figures: dict[tuple[str, str], list[Row]] = {}
    firsts: dict[str, Example] = {}
    for example in examples(model, pairs, device):
        firsts.setdefault(example.task, example)
        for row in _rows(example, model.stego):
            figures.setdefault((row.task, row.row), []).append(row)
    return [_mean(rows) for rows in figures.values()], list(firsts.values())


def table(rows: Sequence[Row]) -> str:
    """The rows as text, with the cloud's gain, and in plain words where ours does not beat doing nothing."""
    lines = [f"{'task':<10}{'row':<17}{'stego':>8}{'secret':>9}{'reveal':>9}{'gain':>8}   (PSNR in dB)"]
    verdicts = []
    by_name = {(row.task, row.row): row for row in rows}
    for row in rows:
        gain = row.secret_psnr - by_name[row.task, "no restoration"].secret_psnr if row.row == "ours" else None
        cells = f"{_cell(row.stego_psnr, 8)}{_cell(row.secret_psnr, 9)}{_cell(row.revealed_psnr, 9)}{_cell(gain, 8)}"
        lines.append(f"{row.task:<10}{row.row:<17}{cells}".rstrip())
        nothing = by_name[row.task, "do nothing"].secret_psnr
        if row.row == "ours" and row.secret_psnr <= nothing:
            verdicts.append(
                f"{row.task}: ours ({row.secret_psnr:.2f} dB) does not beat doing nothing ({nothing:.2f} dB)."
            )
    explained = [
        "stego: stego, or restored stego, against cover. secret: against its truth. reveal: revealed against degraded",
        "secret, the client's network alone. gain: what the cloud adds, ours minus no restoration.",
    ]
    return "\n".join([*lines, "", *explained, *verdicts])


def save_sheets(folder: Path, first: Sequence[Example]) -> None:
    """Writes a comparison sheet a task, `TASK.png`, and the three on one small page, `result.webp`."""
    for example in first:
        save_sheet(
            folder / f"{example.task}.png",
            [_panels(example)[:4], _panels(example)[4:]],
            heading=f"PIRNet: {example.task}",
        )
    chosen = (0, 1, 2, 4, 6, 7)  # leaves out the difference and the secret revealed without restoration
    rows = [[_panels(example)[i] for i in chosen] for example in first]
    for row, example in zip(rows, first, strict=True):
        row[0] = replace(row[0], title=f"{example.task}: cover")
    save_sheet(folder / "result.webp", rows, panel=192)


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


def _rows(example: Example, pipeline: str) -> list[Row]:
    nothing = (None, example.secret, None)
    unrestored = (example.stego, example.revealed, float(psnr(example.revealed, example.secret)))
    ours = (example.restored_stego, example.restored, None)
    rows = []
    for name, (stego, secret, revealed) in {"do nothing": nothing, "no restoration": unrestored, "ours": ours}.items():
        rows.append(
            Row(
                example.task,
                name,
                pipeline,
                None if stego is None else float(psnr(stego, example.cover)),
                float(psnr(secret, example.truth)),
                None if stego is None else float(ssim(stego, example.cover)),
                float(ssim(secret, example.truth)),
                revealed,
            )
        )
    return rows


def _mean(rows: Sequence[Row]) -> Row:
    def mean(name: str) -> float | None:
        values = [getattr(row, name) for row in rows]
        return None if None in values else round(statistics.fmean(values), 4)

    numbers = {name: mean(name) for name, kind in Row.__annotations__.items() if kind is not str}
    return Row(rows[0].task, rows[0].row, rows[0].pipeline, **numbers)  # type: ignore[arg-type]


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _panels(example: Example) -> list[Panel]:
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


def _db(image: Tensor, target: Tensor) -> str:
    return f"{float(psnr(image, target)):.1f} dB"


def _cell(value: float | None, width: int) -> str:
    return " " * width if value is None else f"{value:{width}.2f}"
