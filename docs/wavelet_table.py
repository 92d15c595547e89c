"""Sphinx extension that writes tables of the wavelets' properties, computed from their lifting steps."""

import math
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from liftlayers.functional import dwt1d, idwt1d, wavelets
from liftlayers.functional.lifting import lifting_sum
from liftlayers.functional.schemes import SCHEMES

sys.path.insert(0, str(Path(__file__).parent / "derivations"))
from lifting_schemes import Laurent, condition

SIZE, MIDDLE = 128, 32  # samples, and the coefficient whose taps are read
PROPERTIES = """\
| name | taps, low-pass and high-pass | vanishing moments, analysis and synthesis | symmetric | orthogonal | condition |
|---|---|---|---|---|---|
"""
INTEGERS = """\
| name | bits for 8-bit images | growth along a line | rounding, approximation | rounding, detail |
|---|---|---|---|---|
"""


def setup(app):
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(app):
    """Writes the tables into _generated."""
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "wavelets.md").write_text(PROPERTIES + "".join(map(properties, wavelets())))
    (folder / "lossless-wavelets.md").write_text(INTEGERS + "".join(map(integers, wavelets())))


def properties(name):
    analysis, synthesis = filters(name)
    symmetric = all(np.allclose(np.abs(taps), np.abs(taps[::-1])) for taps in map(trimmed, analysis))
    orthogonal = np.allclose(analysis, synthesis)
    lengths = " and ".join(str(len(trimmed(taps))) for taps in analysis)
    moments = " and ".join(str(vanishing_moments(trimmed(pair[1]))) for pair in (analysis, synthesis))
    words = [name, lengths, moments, "yes" if symmetric else "no", "yes" if orthogonal else "no"]
    return f"| {' | '.join(words)} | {condition_number(name):.1f} |\n"


def integers(name):
    largest, *rounding = growth(name)
    return f"| {name} | {bits(name)} | {largest:.1f} | {rounding[0]:.1f} | {rounding[1]:.1f} |\n"


def bits(name):
    """Returns how many bits, with a sign, hold all values of one level of an 8-bit image."""
    largest, *rounding = growth(name)
    return math.ceil(math.log2((255 * largest + max(rounding)) * largest + max(rounding))) + 1


@lru_cache
def growth(name):
    """Returns bounds of the lossless transform of a line: of values, for samples up to 1, and of both bands' errors.

    Each step adds a rounding error of up to 1/2. Every half is a matrix of its dependence on samples and errors.
    """
    largest = np.zeros(3)
    for size in range(2, 41):
        halves = {"approx": torch.eye(size, dtype=torch.float64)[:, 0::2]}
        halves["detail"] = torch.eye(size, dtype=torch.float64)[:, 1::2]
        for step in SCHEMES[name].steps:
            num, other = halves[step.target].shape[1], "detail" if step.target == "approx" else "approx"
            change = lifting_sum(halves[other], step, length=num, dim=-1, boundary="reflect")
            halves[step.target] = torch.cat((halves[step.target] + change, torch.eye(num, dtype=torch.float64) / 2))
            halves[other] = torch.nn.functional.pad(halves[other], (0, 0, 0, num))
            largest[0] = max(largest[0], *(float(half[:size].abs().sum(0).max()) for half in halves.values()))
        for i, half in enumerate(halves.values(), 1):
            largest[i] = max(largest[i], float(half[size:].abs().sum(0).max()))
    return tuple(largest)


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
