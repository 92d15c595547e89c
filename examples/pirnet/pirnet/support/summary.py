"""The evaluation at the end of a training run: a table as text, comparison sheets, and `summary.json`."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from pirnet.data import Pair
from pirnet.evaluation import Example
from pirnet.metrics import psnr
from pirnet.support.rows import Row, differences
from pirnet.support.sheets import Panel, save_sheet, ten_fold_difference
from pirnet.support.tables import number


def table(rows: Sequence[Row]) -> str:
    """The rows of one pipeline as text, with a sentence for each task at which ours does not beat doing nothing."""
    lines = [f"{'task':<10}{'row':<17}{'stego':>8}{'secret':>9}{'reveal':>9}{'gain':>8}{'price':>8}   (PSNR in dB)"]
    verdicts = []
    meaning = {difference.task: difference for difference in differences(rows)}
    for row in rows:
        cells = f"{number(row.stego_psnr):>8}{number(row.secret_psnr):>9}{number(row.revealed_psnr):>9}"
        if row.row == "ours":
            difference = meaning[row.task]
            cells += f"{number(difference.cloud_gain):>8}{number(difference.price_of_privacy):>8}"
            if difference.over_nothing <= 0:
                nothing = row.secret_psnr - difference.over_nothing
                verdicts.append(
                    f"{row.task}: ours ({row.secret_psnr:.2f} dB) does not beat doing nothing ({nothing:.2f} dB)."
                )
        lines.append(f"{row.task:<10}{row.row:<17}{cells}".rstrip())
    explained = [
        "stego: stego or restored stego against cover. secret: secret against its truth. reveal: revealed against",
        "degraded secret, without the cloud. gain: by the cloud, ours minus no restoration. price: in the clear",
        "minus ours, the cost of hiding; empty if no network was trained in the clear.",
    ]
    return "\n".join([*lines, "", *explained, *verdicts])


def save_sheets(folder: Path, first: Sequence[Example]) -> None:
    """Writes a comparison sheet for each task, `TASK.png`, and a small page with all tasks, `result.webp`."""
    drawn = {example.task: panels(example) for example in first}
    for task, row in drawn.items():
        save_sheet(folder / f"{task}.png", [row[:4], row[4:]], heading=f"PIRNet: {task}")
    chosen = (0, 1, 2, 4, 6, 7)  # without the difference and the secret revealed without restoration
    rows = [
        [replace(row[i], title=f"{task}: cover") if i == 0 else row[i] for i in chosen] for task, row in drawn.items()
    ]
    save_sheet(folder / "result.webp", rows, panel=192)


def panels(example: Example) -> list[Panel]:
    """The eight pictures of a sheet: four of the cover, four of the secret."""
    cover, secret, truth = example.cover, example.secret, example.truth
    enlarged = ten_fold_difference(example.restored_stego[0], cover[0])
    images = [
        ("cover", cover, "visible to everyone"),
        ("stego", example.stego, f"{_db(example.stego, cover)} from the cover"),
        ("restored stego", example.restored_stego, f"{_db(example.restored_stego, cover)} from the cover"),
        ("ten-fold difference", enlarged[None], "restored stego from the cover"),
        ("degraded secret", secret, f"{_db(secret, truth)} from the truth"),
        ("revealed, not restored", example.revealed, f"{_db(example.revealed, truth)} from the truth"),
        ("restored secret", example.restored, f"{_db(example.restored, truth)} from the truth"),
        ("truth", truth, "the original photo"),
    ]
    return [Panel(title, caption, image[0].clamp(0, 1)) for title, image, caption in images]


def summary(rows: Sequence[Row], *, data: str, pairs: Sequence[Pair]) -> dict[str, object]:
    """The content of `summary.json`."""
    names = [{"secret": pair.secret_name, "cover": pair.cover_name} for pair in pairs]
    return {"data": data, "pairs": len(pairs), "names": names, "rows": [asdict(row) for row in rows]}


def _db(image: Tensor, target: Tensor) -> str:
    return f"{float(psnr(image, target)):.1f} dB"
