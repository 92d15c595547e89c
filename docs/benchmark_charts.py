"""Sphinx extension that draws bar charts of benchmark results.

It runs in each build and reads the JSON file that the table is made from, so that chart and table always agree.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
CASE = "Haar, 1x3x1024x1024, contiguous"
PASSES = ("forward", "inverse", "forward + backward")


def setup(app):
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def draw(app):
    """Writes _generated/wavelets.svg: one panel per pass, one bar per library, the fastest on top."""
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
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "wavelets.svg", metadata={"Date": None})
    plt.close(figure)
