"""Sphinx extension that draws charts of committed results, and a scrambled photo.

It runs in each build and reads the JSON files that tables are made from, so that chart and table always agree.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from skimage import data

from liftlayers.functional import scramble_blocks

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
    charts = {"wavelets": wavelets, "stacks": stacks, "pirnet-training": training, "lossless": lossless}
    for name, chart in charts.items():
        figure = chart()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)
    figure = scrambled()
    figure.savefig(folder / "scrambled.png")
    plt.close(figure)


def scrambled():
    """A photo, and the same photo scrambled in blocks of three sizes."""
    photo = torch.from_numpy(data.astronaut()[:256, 100:356].copy()).movedim(-1, 0)[None]
    figure, panels = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
    for panel, block in zip(panels, (None, 64, 32, 16), strict=True):
        shown = photo if block is None else scramble_blocks(photo, bytes(32), block=block)
        panel.imshow(shown[0].movedim(0, -1))
        panel.set_title("photo" if block is None else f"blocks of {block} x {block}")
        panel.axis("off")
    return figure


def training():
    """Quality against core-hours of training: one panel per task, one colour per run, with and without a key."""
    report = json.loads(TRAINING.read_text())
    figure, panels = plt.subplots(1, len(report["tasks"]), figsize=(11, 3), layout="constrained")
    for panel, (task, title) in zip(panels, report["tasks"].items(), strict=True):
        for run, colour in zip(report["runs"], ("tab:blue", "tab:orange", "tab:green"), strict=True):
            hours = [point["hours"] for point in run["points"]]
            for way, line in (("no key", ":"), ("key", "-")):
                psnrs = [point[task][way] for point in run["points"]]
                panel.plot(hours, psnrs, line, marker="o", markersize=3, color=colour, label=f"{run['title']}, {way}")
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
        bars = panel.barh(names, [found[name]["bits"] for name in names], color=_colours(names))
        panel.bar_label(bars, fmt="%.2f", padding=3)
        panel.set(xlim=(0, 16), title=title, xlabel="bits a pixel")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def stacks():
    """Stacks of couplings: memory held for the backward pass at two depths, and time of a training step."""
    rows = json.loads((RESULTS / "invertible-cpu.json").read_text())["rows"]
    names = [name for name in reversed(rows) if name not in ("liftlayers, exact, store", "liftlayers, exact, 8 bits")]
    figure, (memory, time) = plt.subplots(1, 2, figsize=(11, 3.3), sharey=True, layout="constrained")
    for shift, depth, shade in ((0.2, 24, 0.5), (-0.2, 96, 1.0)):
        held = [rows[name][f"memory, {depth}"]["held_mib"] for name in names]
        places = [place + shift for place in range(len(names))]
        bars = memory.barh(places, held, 0.4, color=_colours(names), alpha=shade, label=f"{depth} pairs")
        memory.bar_label(bars, fmt="%.1f", padding=3)
    memory.set(yticks=range(len(names)), yticklabels=names, xscale="log", xlim=(0.3, 5000))
    memory.set(title="held for the backward pass, MiB: 24 pairs (pale), 96 pairs")
    ratios = [rows[name]["seconds"] / rows["plain loop"]["seconds"] for name in names]
    time.bar_label(time.barh(names, ratios, color=_colours(names)), fmt="%.2f", padding=3)
    time.set(title="training step, time relative to the plain loop", xlim=(0, 1.15 * max(ratios)))
    for panel in (memory, time):
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _colours(names):
    """The colour of each bar: ours in blue."""
    return ["tab:blue" if name.startswith("liftlayers") else "0.6" for name in names]


def wavelets():
    """Haar: one panel per pass, one bar per library, the fastest on top."""
    rows = json.loads((RESULTS / "wavelets-cpu.json").read_text())["rows"][CASE]
    figure, panels = plt.subplots(1, len(PASSES), figsize=(11, 2.6), layout="constrained")
    for panel, name in zip(panels, PASSES, strict=True):
        ratios = {library: row[name] for library, row in rows.items() if isinstance(row.get(name), float)}
        names = sorted(ratios.keys() - {"copy_", "clone"}, key=ratios.__getitem__, reverse=True)
        labels = [name.partition(" (")[0] for name in names]
        bars = panel.barh(labels, [ratios[name] for name in names], color=_colours(names))
        panel.bar_label(bars, fmt="%.1f", padding=3)
        panel.set(xscale="log", xlim=(1, 4 * max(ratios.values())), title=name, xlabel="time relative to a copy")
        panel.spines[["top", "right"]].set_visible(False)
    return figure
