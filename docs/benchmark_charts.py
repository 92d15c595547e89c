"""Sphinx extension that draws charts of committed results.

It runs in each build and reads the JSON files that tables are made from, so that chart and table always agree.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TRAINING = ROOT / "examples" / "pirnet" / "results" / "training.json"
CASE = "Haar, 1x3x1024x1024, contiguous"
PASSES = ("forward", "inverse", "forward + backward")


def setup(app):
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def draw(app):
    """Writes the charts into _generated."""
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    for name, chart in (("wavelets", wavelets), ("pirnet-training", training), ("lossless", lossless)):
        figure = chart()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def training():
    """Quality against core-hours of training: one panel per task, with and without a key."""
    report = json.loads(TRAINING.read_text())
    figure, panels = plt.subplots(1, len(report["tasks"]), figsize=(11, 3), layout="constrained")
    for panel, (task, title) in zip(panels, report["tasks"].items(), strict=True):
        hours = [point["hours"] for point in report["points"]]
        for way, colour in (("no key", "0.6"), ("key", "tab:blue")):
            psnrs = [point[task][way] for point in report["points"]]
            panel.plot(hours, psnrs, marker="o", markersize=3, color=colour, label=way)
        panel.set(title=title, xlabel="core-hours", ylabel="restored secret, dB")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    return figure


def lossless():
    """Bits a pixel: one panel per set, one bar per codec, the smallest files on top."""
    rows = json.loads((RESULTS / "lossless-cpu.json").read_text())["rows"]
    figure, panels = plt.subplots(1, len(rows), figsize=(11, 2.4), layout="constrained")
    for panel, (title, found) in zip(panels, rows.items(), strict=True):
        names = sorted(found, key=lambda name: found[name]["bits"], reverse=True)
        colours = ["tab:blue" if name == "liftlayers" else "0.75" for name in names]
        bars = panel.barh(names, [found[name]["bits"] for name in names], color=colours)
        panel.bar_label(bars, fmt="%.2f", padding=3)
        panel.set(xlim=(0, 16), title=title, xlabel="bits a pixel")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def wavelets():
    """Haar: one panel per pass, one bar per library, the fastest on top."""
    rows = json.loads((RESULTS / "wavelets-cpu.json").read_text())["rows"][CASE]
    figure, panels = plt.subplots(1, len(PASSES), figsize=(11, 2.6), layout="constrained")
    for panel, name in zip(panels, PASSES, strict=True):
        ratios = {library: row[name] for library, row in rows.items() if isinstance(row.get(name), float)}
        names = sorted(ratios.keys() - {"copy_", "clone"}, key=ratios.__getitem__, reverse=True)
        colours = ["tab:blue" if name == "liftlayers" else "0.75" for name in names]
        bars = panel.barh([name.partition(" (")[0] for name in names], [ratios[name] for name in names], color=colours)
        panel.bar_label(bars, fmt="%.1f", padding=3)
        panel.set(xscale="log", xlim=(1, 4 * max(ratios.values())), title=name, xlabel="time relative to a copy")
        panel.spines[["top", "right"]].set_visible(False)
    return figure
