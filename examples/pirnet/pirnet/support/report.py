"""The report of an evaluation as files: results.json for programs, results.md for readers, pairs.csv, and pictures."""

__all__ = ["Report", "markdown"]

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pirnet.data import Pair
from pirnet.evaluation import Example, panels, write_json
from pirnet.images import atomic_path
from pirnet.support.rows import Row, deviations, differences, mean
from pirnet.support.sheets import Panel, cropped, save_sheet

PAPER = {"denoise": (29.39, 29.21), "deblur": (30.12, 28.73), "sr": (30.33, 24.51)}  # restored stego, restored secret
PAPER_TITLE = """## The paper, on other photos

PSNR on 50 pairs of DIV2K, in floats, truncated to 8 bit for the scores, low resolution without antialiasing: an order
of magnitude, no comparison."""
LEGEND = """*Stego* is the stego image against its cover, before the cloud in *no restoration*, after it in *ours*.
*Secret* is against the truth. *Revealed* is the secret revealed without the cloud, against the degraded one. *Gain* is
what the cloud adds, ours minus no restoration; *price* what privacy costs, in the clear minus ours."""
SECURITY_LEGEND = """*PSNR* is of the attacker's picture against the truth; *fitted PSNR* after
the best gain and offset a channel, which an attacker does not know; *correlation* that with the truth; *of detail* the
same after a blur of sigma 2 is taken away. Read all against *mean colour* and *by chance*, which know nothing, and
against *the key*. Least squares learns from the first pairs; attacks are measured on the others. Histograms differ by
their total variation. The detector is a linear one on the statistics below, of one image at a time; guessing is right
on 50 %."""
TASK_NAMES = {"denoise": "noise, sigma 25", "deblur": "blur, 15 x 15, sigma 1.6", "sr": "low resolution, x4"}


@dataclass
class Report:
    """Gathers the rows of every pair, and the pictures of each task's best and worst in the first pipeline."""

    lines: list[dict[str, object]] = field(default_factory=list)
    """One a pair, task, row and pipeline, for the CSV file."""
    figures: dict[tuple[str, str, str], list[Row]] = field(default_factory=dict)
    extremes: dict[tuple[str, str], tuple[float, str, list[Panel]]] = field(default_factory=dict)

    def add(self, number: int, pair: Pair, example: Example, rows: Sequence[Row]) -> None:
        """Takes one pair at one task in one pipeline."""
        height, width = pair.secret.shape[1:]
        who = {"pair": number, "secret": pair.secret_name, "cover": pair.cover_name, "height": height, "width": width}
        for row in rows:
            self.lines.append(who | asdict(row))
            self.figures.setdefault((row.pipeline, row.task, row.row), []).append(row)
        ours = rows[-1]
        if ours.pipeline != self.lines[0]["pipeline"]:  # the pictures are those of the first pipeline
            return
        for end, sign in (("worst", -1), ("best", 1)):
            score = sign * ours.secret_psnr
            if (ours.task, end) not in self.extremes or score > self.extremes[ours.task, end][0]:
                heading = f"{end} pair, {ours.task}, {ours.pipeline}: {pair.secret_name} in {pair.cover_name}"
                kept = [cropped(panel) for panel in panels(example)]
                self.extremes[ours.task, end] = (score, heading, kept)

    def means(self) -> list[Row]:
        """The mean rows, pipeline by pipeline, task by task."""
        return [mean(rows) for _, rows in sorted(self.figures.items(), key=lambda item: item[0][0] != "uint8")]

    def results(self) -> dict[str, object]:
        """Rows with their deviations, and what they mean, as plain values."""
        rows = [
            asdict(row) | {"pairs": len(self.figures[key]), "std": deviations(self.figures[key])}
            for row in self.means()
            for key in [(row.pipeline, row.task, row.row)]
        ]
        meaning = [asdict(difference) for difference in differences(self.means())]
        return {"rows": rows, "differences": meaning}

    def save(self, folder: Path, results: Mapping[str, object], attacks: Mapping[str, Sequence[Panel]]) -> None:
        """Writes everything into a folder that exists, file by file, each whole or not at all."""
        write_json(folder / "results.json", results)
        _write(folder / "results.md", markdown(results))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.lines)
        _write(folder / "pairs.csv", text.getvalue())
        for (task, end), (_, heading, row) in self.extremes.items():
            save_sheet(folder / f"{task}-{end}.png", [row[:4], row[4:]], heading=heading)
        for task, row in attacks.items():
            rows = [row[start : start + 5] for start in range(0, len(row), 5)]
            save_sheet(folder / f"{task}-attacks.png", rows, heading=f"what attacks make of a stego image: {task}")


def markdown(results: Mapping) -> str:
    """The results as a page."""
    pipelines = list(dict.fromkeys(row["pipeline"] for row in results["rows"]))
    parts = [
        "# Evaluation",
        f"{results['data']}, {results['pairs']} pairs. Means ± standard deviations over the pairs; PSNR in dB; all on "
        "8-bit RGB.",
        "\n".join(f"- {note}" for note in results["notes"]),
        *(_quality(results, pipeline) for pipeline in pipelines),
        LEGEND,
        _verdicts(results),
        PAPER_TITLE,
        _table(
            ("task", "restored stego", "restored secret"),
            [(TASK_NAMES[task], *(f"{value:.2f}" for value in values)) for task, values in PAPER.items()],
        ),
        f"## Security\n\nOn the stego images of the {results['security']['pipeline']} pipeline. {SECURITY_LEGEND}",
        *(_security(task, found) for task, found in results["security"]["tasks"].items()),
        "## Pairs",
        _table(
            ("secret", "cover", "height x width"),
            [(p["secret"], p["cover"], f"{p['height']} x {p['width']}") for p in results["names"]],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _quality(results: Mapping, pipeline: str) -> str:
    meaning = {each["task"]: each for each in results["differences"] if each["pipeline"] == pipeline}
    head = ("task", "row", "stego PSNR", "secret PSNR", "revealed PSNR", "gain", "price")
    head += tuple(f"{image} {name}" for name in ("SSIM", "MS-SSIM", "LPIPS") for image in ("stego", "secret"))
    lines = []
    for row in results["rows"]:
        if row["pipeline"] != pipeline:
            continue
        ours = meaning[row["task"]] if row["row"] == "ours" else {}
        cells = [TASK_NAMES[row["task"]], row["row"]]
        cells += [_spread(row, name, 2) for name in ("stego_psnr", "secret_psnr", "revealed_psnr")]
        cells += [_number(ours.get(name), 2) for name in ("cloud_gain", "price_of_privacy")]
        cells += [
            _spread(row, f"{image}_{name}", 4) for name in ("ssim", "ms_ssim", "lpips") for image in ("stego", "secret")
        ]
        lines.append(tuple(cells))
    title = "8 bit: stego images are rounded as files are" if pipeline == "uint8" else "float: stego images as computed"
    return f"## {title}\n\n{_table(head, lines)}"


def _verdicts(results: Mapping) -> str:
    return "\n".join(
        f"- {TASK_NAMES[each['task']]}, {each['pipeline']}: ours does not beat doing nothing "
        f"({each['over_nothing']:+.2f} dB)."
        for each in results["differences"]
        if each["over_nothing"] <= 0
    )


def _security(task: str, found: Mapping) -> str:
    names = ("psnr", "fitted_psnr", "correlation", "detail_correlation")
    attacks = [
        (row["attack"], str(row["pairs"]), *(_number(row[name], 2) for name in names)) for row in found["attacks"]
    ]
    traces = found["traces"]
    bands = [(row["band"], row["image"], f"{row['std']:.2f}", f"{row['kurtosis']:.1f}") for row in traces["bands"]]
    accuracy = traces["detector_accuracy"]
    detector = "not measured on so few pairs" if accuracy is None else f"right on {100 * accuracy:.0f} % of the images"
    parts = [
        f"### {TASK_NAMES[task]}",
        _table(("attack", "pairs", "PSNR", "fitted PSNR", "correlation", "of detail"), attacks),
        f"Histograms of stego and cover differ by {traces['histogram']['stego_cover']:.4f}, those of a cover's even "
        f"and odd columns by {traces['histogram']['cover_halves']:.4f}. The detector: {detector}.",
        _table(("Haar detail", "image", "deviation, grey levels", "kurtosis"), bands),
    ]
    return "\n\n".join(parts)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table without the columns that are empty."""
    columns = [column for column in zip(head, *lines, strict=True) if any(column[1:])]
    head, *lines = zip(*columns, strict=True)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def _spread(row: Mapping, name: str, digits: int) -> str:
    std = row["std"][name]
    return _number(row[name], digits) + ("" if std is None else f" ± {std:.{digits}f}")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, newline="")
