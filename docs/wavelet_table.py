"""Sphinx extension that writes a table of the wavelets' properties, computed from their lifting steps."""

import sys
from pathlib import Path

import numpy as np
import torch

from liftlayers.functional import dwt1d, idwt1d, wavelets
from liftlayers.functional.schemes import SCHEMES

sys.path.insert(0, str(Path(__file__).parent / "derivations"))
from lifting_schemes import Laurent, condition

SIZE, MIDDLE = 128, 32  # samples, and the coefficient whose taps are read
HEADER = """\
| name | taps, analysis | taps, synthesis | vanishing moments | symmetric | orthogonal | condition number |
|---|---|---|---|---|---|---|
"""


def setup(app):
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(app):
    """Writes the table into _generated."""
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "wavelets.md").write_text(HEADER + "".join(map(row, wavelets())))


def row(name):
    analysis, synthesis = filters(name)
    symmetric = all(np.allclose(np.abs(taps), np.abs(taps[::-1])) for taps in map(trimmed, analysis))
    orthogonal = np.allclose(analysis, synthesis)
    lengths = [" and ".join(str(len(trimmed(taps))) for taps in pair) for pair in (analysis, synthesis)]
    moments = " and ".join(str(vanishing_moments(trimmed(pair[1]))) for pair in (analysis, synthesis))
    words = [name, *lengths, moments, "yes" if symmetric else "no", "yes" if orthogonal else "no"]
    return f"| {' | '.join(words)} | {condition_number(name):.1f} |\n"


def filters(name):
    """Returns the taps of one approximation and of one detail: those that analyse and those that synthesise."""
    bands = dwt1d(torch.eye(SIZE, dtype=torch.float64), name)
    impulse, zero = torch.zeros(SIZE // 2, dtype=torch.float64), torch.zeros(SIZE // 2, dtype=torch.float64)
    impulse[MIDDLE] = 1
    synthesis = idwt1d(impulse, zero, name), idwt1d(zero, impulse, name)
    return np.stack([band[:, MIDDLE].numpy() for band in bands]), np.stack([taps.numpy() for taps in synthesis])


def trimmed(taps):
    kept = np.flatnonzero(np.abs(taps) > 1e-12)
    return taps[kept[0] : kept[-1] + 1]


def vanishing_moments(taps):
    """Counts the powers n^0, n^1, ... of which the filter makes zero, up to rounding."""
    n, count = np.linspace(-1, 1, len(taps)), 0
    while abs(taps @ n**count) < 1e-12 * len(taps):
        count += 1
    return count


def condition_number(name):
    steps = [(step.target, Laurent(step.first, step.taps)) for step in SCHEMES[name].steps]
    return condition(steps, SCHEMES[name].scales)
