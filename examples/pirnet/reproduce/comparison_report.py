"""A comparison as a progress table, as a page and as two scatter plots for each task.

Figures of our runs and figures of papers are never in one column or one plot.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from pirnet.support import files
from pirnet.support.text import filled_page, markdown_table, number
from pirnet.tasks import TASKS

from reproduce.comparison import Entry

COLOURS = {"hidden": "#e69f00", "baluja": "#56b4e9", "deepmih": "#009e73"}
OWN_COLOURS = ("#1a1a1a", "#cc79a7", "#0072b2")  # PIRNet and its variants
MARKERS = ("o", "s")  # by restorer
HEAD = ("task", "row", "stego PSNR", "secret PSNR", "stego SSIM", "secret SSIM", "revealed PSNR")
HEAD += ("parameters, M", "steps", "minutes", "skipped")
HEAD += ("stego PSNR, DIV2K as published", "secret PSNR, DIV2K as published")
PAGE = Path(__file__).with_suffix(".md")


def progress(entries: Sequence[Entry], rows: Mapping[str, Mapping]) -> str:
    """The rows so far as text, and the rows to come."""
    lines = [f"{'row':<32}{'stego':>8}{'secret':>8}{'steps':>18}{'minutes':>9}"]
    for entry in entries:
        if entry.name not in rows:
            lines.append(f"{entry.name:<32}{'to come':>16}")
            continue
        row, figures = rows[entry.name], _figures(rows[entry.name])
        psnrs = "".join(f"{number(figures[f'{image}_psnr']):>8}" for image in ("stego", "secret"))
        lines.append(f"{entry.name:<32}{psnrs}{_steps(row):>18}{row['seconds']['training'] / 60:>9.1f}")
    return "\n".join(lines)


def markdown(results: Mapping) -> str:
    """The results as a page."""
    rows = results["rows"]
    lines = []
    for task, of_task in _by_task(rows).items():
        first, own = of_task[0], [row for row in of_task if row["title"] == "PIRNet"]
        lines.append((TASKS[task].title, "do nothing", *_cells(first["figures"]["do nothing"])))
        lines += [("", "no restoration", *_cells(row["figures"]["no restoration"])) for row in own]
        for row in of_task:
            count = sum(row["parameters"].values()) / 1e6
            done = (f"{count:.2f}", _steps(row), f"{row['seconds']['training'] / 60:.2f}", str(row["skipped"]))
            published = (number(row["published"][f"{image}_psnr"]) for image in ("stego", "secret"))
            lines.append(("", row["title"], *_cells(_figures(row)), *done, *published))
    return filled_page(
        PAGE,
        table=results["table"],
        notes="\n".join(f"- {note}" for note in results["notes"]),
        figures=markdown_table(HEAD, [(*line, *[""] * (len(HEAD) - len(line))) for line in lines]),
        verdicts=_verdicts(rows),
        missing=f"Still missing: {', '.join(results['to_come'])}." if results["to_come"] else "",
    )


def save_plots(path: Path, results: Mapping) -> None:
    """Draws our figures as PNG, task by task: secret PSNR against stego PSNR and against the number of parameters.

    Args:
        path: The file to write or replace.
        results: Results with at least one row.
    """
    tasks = _by_task(results["rows"])
    figure = Figure(figsize=(11, 0.4 + 3.4 * len(tasks)), layout="constrained")
    figure.suptitle(results["headline"], fontsize=10)
    grid = figure.subplots(len(tasks), 2, sharey="row", squeeze=False)
    for (task, rows), (left, right) in zip(tasks.items(), grid, strict=True):
        for axes in (left, right):
            _points(axes, rows, against_parameters=axes is right)
        left.set_title(TASKS[task].title)
        left.set(xlabel="restored stego / cover, PSNR in dB", ylabel="secret / truth, PSNR in dB")
        right.set(xscale="log", xlabel="parameters, millions")
        right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.xaxis.set_major_formatter("{x:g}")
        right.xaxis.set_minor_formatter(NullFormatter())
        right.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9)
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _points(axes: Axes, rows: Sequence[Mapping], *, against_parameters: bool) -> None:
    seen: dict[str, int] = {}
    nothing = rows[0]["figures"]["do nothing"]["secret_psnr"]
    axes.axhline(nothing, color="#9aa0a6", linestyle="--", linewidth=1, label="do nothing")
    for row in rows:
        figures, hider = _figures(row), row["hider"]
        if "in the clear" in row["figures"]:
            axes.axhline(figures["secret_psnr"], color="#9aa0a6", linestyle=":", linewidth=1.5, label="in the clear")
            continue
        number = seen[hider] = seen.get(hider, -1) + 1
        colour = COLOURS.get(hider, OWN_COLOURS[number % len(OWN_COLOURS)])
        marker = "*" if hider == "lih" else MARKERS[number % len(MARKERS)]
        x = sum(row["parameters"].values()) / 1e6 if against_parameters else figures["stego_psnr"]
        if None not in (x, figures["secret_psnr"]):
            size = 170 if hider == "lih" else 60
            axes.scatter(x, figures["secret_psnr"], color=colour, marker=marker, s=size, label=row["title"], zorder=2)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.set_axisbelow(True)


def _verdicts(rows: Sequence[Mapping]) -> str:
    """A sentence for each row that is no better than doing nothing."""
    lines = []
    for row in rows:
        psnr, nothing = _figures(row)["secret_psnr"], row["figures"]["do nothing"]["secret_psnr"]
        which = f"- {TASKS[row['task']].title}, {row['title']}"
        if psnr is None:
            lines.append(f"{which}: no finite figures.")
        elif psnr <= nothing:
            lines.append(f"{which}: no better than doing nothing ({psnr - nothing:+.2f} dB).")
    return "\n".join(lines)


def _by_task(rows: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    return {task: [row for row in rows if row["task"] == task] for task in dict.fromkeys(row["task"] for row in rows)}


def _figures(row: Mapping) -> Mapping:
    """The figures of what a row was trained for."""
    return row["figures"]["in the clear" if "in the clear" in row["figures"] else "ours"]


def _cells(figures: Mapping) -> list[str]:
    names = (("stego_psnr", 2), ("secret_psnr", 2), ("stego_ssim", 4), ("secret_ssim", 4), ("revealed_psnr", 2))
    return [number(figures[name], digits) for name, digits in names]


def _steps(row: Mapping) -> str:
    return "+".join(str(steps) for steps in row["steps"] if steps)
