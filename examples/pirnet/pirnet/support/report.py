"""The report of an evaluation as a table of text, and as files: JSON for programs, Markdown, CSV, and pictures.

`train.py` writes `summary.json` and comparison sheets, `evaluate.py` a `Report`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from torch import Tensor

from pirnet.data import Pair
from pirnet.evaluation import Example, Row, deviations, differences, mean
from pirnet.metrics import psnr
from pirnet.support import files
from pirnet.support.sheets import Panel, cropped, save_sheet, ten_fold_difference
from pirnet.support.text import counted, filled_page, markdown_table, number
from pirnet.tasks import TASKS

TABLE_LEGEND = """\
stego: stego or restored stego against cover. secret: secret against its truth. reveal: revealed against
degraded secret, without the cloud. gain: by the cloud, ours minus no restoration. price: in the clear
minus ours, the cost of hiding; empty if no network was trained in the clear. key: no key minus ours."""
PAGE = Path(__file__).with_suffix(".md")


def table(rows: Sequence[Row]) -> str:
    """The rows of one pipeline as text, with a sentence for each task at which ours does not beat doing nothing."""
    head = f"{'task':<10}{'row':<17}{'stego':>8}{'secret':>9}{'reveal':>9}{'gain':>8}{'price':>8}{'key':>8}"
    lines, verdicts = [f"{head}   (PSNR in dB)"], []
    meaning = {difference.task: difference for difference in differences(rows)}
    for row in rows:
        cells = f"{number(row.stego_psnr):>8}{number(row.secret_psnr):>9}{number(row.revealed_psnr):>9}"
        if row.row == "ours":
            difference = meaning[row.task]
            costs = (difference.cloud_gain, difference.price_of_privacy, difference.price_of_key)
            cells += "".join(f"{number(cost):>8}" for cost in costs)
            if difference.over_nothing <= 0:
                ours, nothing = row.secret_psnr, row.secret_psnr - difference.over_nothing
                verdicts.append(f"{row.task}: ours ({ours:.2f} dB) does not beat doing nothing ({nothing:.2f} dB).")
        lines.append(f"{row.task:<10}{row.row:<17}{cells}".rstrip())
    return "\n".join([*lines, "", TABLE_LEGEND, *verdicts])


def save_sheets(folder: Path, first: Sequence[Example]) -> None:
    """Writes a comparison sheet for each task, `TASK.png`, and a small page with all tasks, `result.webp`."""
    drawn = {example.task: panels(example) for example in first}
    for task, row in drawn.items():
        save_sheet(folder / f"{task}.png", [row[:-4], row[-4:]], heading=f"PIRNet: {task}")
    left_out = ("cover", "ten-fold difference", "revealed, not restored")
    others = {task: [panel for panel in row if panel.title not in left_out] for task, row in drawn.items()}
    rows = [[replace(row[0], title=f"{task}: cover"), *others[task]] for task, row in drawn.items()]
    save_sheet(folder / "result.webp", rows)


def panels(example: Example) -> list[Panel]:
    """The pictures of a sheet: four of the cover, one of the scrambled secret if there is a key, four of the secret."""
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
    if example.without_key is not None:
        images.insert(4, ("revealed without the key", example.without_key, "all that the weights alone show"))
    return [Panel(title, caption, image[0].clamp(0, 1)) for title, image, caption in images]


def summary(rows: Sequence[Row], *, data: str, pairs: Sequence[Pair]) -> dict[str, object]:
    """The content of `summary.json`."""
    names = [{"secret": pair.secret_name, "cover": pair.cover_name} for pair in pairs]
    return {"data": data, "pairs": len(pairs), "names": names, "rows": [asdict(row) for row in rows]}


def _db(image: Tensor, target: Tensor) -> str:
    return f"{float(psnr(image, target)):.1f} dB"


@dataclass
class Report:
    """Collects the rows of all pairs, and pictures of the best and worst pair of each task in the first pipeline."""

    lines: list[dict[str, object]] = field(default_factory=list)
    """The lines of the CSV file, one for each pair, task, row and pipeline."""
    figures: dict[tuple[str, str, str], list[Row]] = field(default_factory=dict)
    extremes: dict[tuple[str, str], tuple[float, str, list[Panel]]] = field(default_factory=dict)

    def add(self, number: int, pair: Pair, example: Example, rows: Sequence[Row]) -> None:
        """Adds one pair at one task in one pipeline."""
        height, width = pair.secret.shape[1:]
        who = {"pair": number, "secret": pair.secret_name, "cover": pair.cover_name, "height": height, "width": width}
        for row in rows:
            self.lines.append(who | asdict(row))
            self.figures.setdefault((row.pipeline, row.task, row.row), []).append(row)
        ours = rows[-1]
        if ours.pipeline != self.lines[0]["pipeline"]:  # pictures only of the first pipeline
            return
        for end, sign in (("worst", -1), ("best", 1)):
            score = sign * ours.secret_psnr
            if (ours.task, end) not in self.extremes or score > self.extremes[ours.task, end][0]:
                heading = f"{ours.task}, {ours.pipeline}: {pair.secret_name} in {pair.cover_name}"
                kept = [cropped(panel) for panel in panels(example)]
                self.extremes[ours.task, end] = (score, heading, kept)

    def means(self) -> list[Row]:
        """The mean rows, sorted by pipeline and task."""
        return [mean(rows) for rows in self._sorted()]

    def results(self) -> dict[str, object]:
        """The mean rows with their deviations, and the differences between them, as plain values."""
        rows = [asdict(mean(each)) | {"pairs": len(each), "std": deviations(each)} for each in self._sorted()]
        return {"rows": rows, "differences": [asdict(difference) for difference in differences(self.means())]}

    def save(self, folder: Path, results: Mapping[str, object]) -> None:
        """Writes all files of the report into an existing folder."""
        files.write_json(folder / "results.json", results)
        files.write_text(folder / "results.md", markdown(results))
        files.write_csv(folder / "pairs.csv", self.lines)
        only = len(self._sorted()[0]) == 1  # the best pair is the worst one, too
        for (task, end), (_, heading, row) in self.extremes.items():
            if not (only and end == "best"):
                name, which = (f"{task}-pair.png", "only") if only else (f"{task}-{end}.png", end)
                save_sheet(folder / name, [row[:-4], row[-4:]], heading=f"{which} pair, {heading}")

    def _sorted(self) -> list[list[Row]]:
        return sorted(self.figures.values(), key=lambda rows: rows[0].pipeline != "uint8")


def markdown(results: Mapping) -> str:
    """The results as a page."""
    published = [(task.title, *map(number, task.published)) for task in TASKS.values() if task.published]
    names = [(pair["secret"], pair["cover"], f"{pair['height']} x {pair['width']}") for pair in results["names"]]
    pipelines = dict.fromkeys(row["pipeline"] for row in results["rows"])
    return filled_page(
        PAGE,
        data=results["data"],
        pairs=counted(results["pairs"], "pair"),
        notes="\n".join(f"- {note}" for note in results["notes"]),
        figures="\n\n".join(_quality(results, pipeline) for pipeline in pipelines),
        verdicts=_verdicts(results),
        published=markdown_table(("task", "restored stego", "restored secret"), published),
        names=markdown_table(("secret", "cover", "height x width"), names),
    )


def _quality(results: Mapping, pipeline: str) -> str:
    meaning = {each["task"]: each for each in results["differences"] if each["pipeline"] == pipeline}
    measures = tuple((image, name) for name in ("ssim", "ms_ssim", "lpips") for image in ("stego", "secret"))
    head = ("task", "row", "stego PSNR", "secret PSNR", "revealed PSNR", "gain", "price", "key")
    head += tuple(f"{image} {name.upper().replace('_', '-')}" for image, name in measures)
    lines = []
    for row in (row for row in results["rows"] if row["pipeline"] == pipeline):
        ours = meaning[row["task"]] if row["row"] == "ours" else {}
        cells = [TASKS[row["task"]].title, row["row"]]
        cells += [_spread(row, name, 2) for name in ("stego_psnr", "secret_psnr", "revealed_psnr")]
        cells += [number(ours.get(name)) for name in ("cloud_gain", "price_of_privacy", "price_of_key")]
        lines.append([*cells, *(_spread(row, f"{image}_{name}", 4) for image, name in measures)])
    title = "8 bit: stego images are rounded as files are" if pipeline == "uint8" else "float: stego images as computed"
    return f"## {title}\n\n{markdown_table(head, lines)}"


def _verdicts(results: Mapping) -> str:
    return "\n".join(
        f"- {TASKS[each['task']].title}, {each['pipeline']}: ours does not beat doing nothing ({gain:+.2f} dB)."
        for each in results["differences"]
        if (gain := each["over_nothing"]) <= 0
    )


def _spread(row: Mapping, name: str, digits: int) -> str:
    std = row["std"][name]
    return number(row[name], digits) + ("" if std is None else f" ± {std:.{digits}f}")
