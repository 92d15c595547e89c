"""The results of `finding.py` as a table of means, as sentences, and as a picture of all points."""

import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure
from pirnet.support import files
from pirnet.support.text import markdown_table, number

from reproduce.treatments import UNTREATED, Point, correlations

SHOWN = {"stego_psnr": 2, "stego_ssim": 4, "secret_psnr": 2, "secret_ssim": 4}
COEFFICIENTS = {"psnr": "PSNR", "psnr_change": "PSNR changes", "ssim": "SSIM", "ssim_change": "SSIM changes"}
COLOURS = ("#1a1a1a", "#0072b2", "#56b4e9", "#009e73")  # as hidden, denoisers
COLOURS += ("#f4a6c9", "#b5279b", "#4b0c6b")  # DnCNN in part
COLOURS += ("#f0e442", "#e69f00", "#a02c0a")  # noise
MARKERS = "oooo^^^sss"


def table(found: Sequence[Point], *, in_markdown: bool = False) -> str:
    """Means by hider and treatment."""
    head = ("hider", "treatment", "stego PSNR", "SSIM", "secret PSNR", "SSIM")
    cells = []
    for mean in means(found):
        figures = (f"{mean[key]:.{digits}f}" for key, digits in SHOWN.items())
        cells.append((mean["hider"], mean["treatment"], *figures))
    if in_markdown:
        return markdown_table(head, cells)
    return "\n".join("".join(f"{cell:<18}" for cell in line).rstrip() for line in (head, *cells))


def sentences(found: Sequence[Point]) -> list[str]:
    """The correlations of each hider, and the effect of each treatment."""
    lines = []
    for hider, of in grouped(found, "hider").items():
        values = correlations(of)
        coefficients = ", ".join(f"{name} {number(values[key]) or 'none'}" for key, name in COEFFICIENTS.items())
        lines.append(f"{hider}, correlation of stego and secret quality: {coefficients}.")
        treated = {mean["treatment"]: mean for mean in means(of)}
        start = treated.pop(UNTREATED)
        if treated and not math.isfinite(start["stego_psnr"]):
            lines.append(f"{hider} hides nothing yet, its stego image is the cover: train longer.")
            continue
        for title, mean in treated.items():
            stego, secret = (mean[f"{side}_psnr"] - start[f"{side}_psnr"] for side in ("stego", "secret"))
            lines.append(f"{hider}, {title}: stego {stego:+.2f} dB, secret {secret:+.2f} dB.")
    return lines


def means(found: Sequence[Point]) -> list[dict]:
    """The means of each hider and treatment."""
    rows = []
    for hider, of in grouped(found, "hider").items():
        for treatment, chosen in grouped(of, "treatment").items():
            figures = {key: round(statistics.fmean(getattr(point, key) for point in chosen), 4) for key in SHOWN}
            rows.append({"hider": hider, "treatment": treatment, "pairs": len(chosen), **figures})
    return rows


def grouped(found: Sequence[Point], name: Literal["hider", "treatment"]) -> dict[str, list[Point]]:
    """The points of each hider or of each treatment."""
    values = dict.fromkeys(getattr(point, name) for point in found)
    return {value: [point for point in found if getattr(point, name) == value] for value in values}


def draw(path: Path, found: Sequence[Point]) -> None:
    """Draws secret quality against stego quality as PNG: a column each for PSNR and SSIM, a row for each hider."""
    hiders = grouped(found, "hider")
    figure = Figure(figsize=(11, 0.4 + 4.2 * len(hiders)), layout="constrained")
    grid = figure.subplots(len(hiders), 2, squeeze=False)
    for (hider, of), axes in zip(hiders.items(), grid, strict=True):
        values = correlations(of)
        for quality, name, axis in zip(("psnr", "ssim"), ("PSNR, dB", "SSIM"), axes, strict=True):
            styles = itertools.cycle(zip(COLOURS, MARKERS, strict=True))
            for (colour, marker), (treatment, chosen) in zip(styles, grouped(of, "treatment").items(), strict=False):
                stego, secret = ([getattr(p, f"{side}_{quality}") for p in chosen] for side in ("stego", "secret"))
                axis.scatter(stego, secret, s=22, color=colour, marker=marker, label=treatment, alpha=0.8, linewidths=0)
            axis.set_title(f"{hider}: r = {number(values[quality]) or 'none'}")
            axis.set(xlabel=f"treated stego against cover, {name}", ylabel=f"revealed secret against truth, {name}")
            axis.grid(alpha=0.3)
    grid[0][0].legend(fontsize="small")
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
