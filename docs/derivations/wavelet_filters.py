"""Computes the filters of wavelets from their definitions, to fifty digits.

- db and sym: spectral factors of the maximally flat half-band filter (Daubechies, 1992). The roots inside the unit
  circle give db. For sym some of them are replaced by their reciprocals, which makes the filter nearly symmetric.
- coif: an orthogonal filter whose wavelet has 2K vanishing moments and whose scaling function has 2K - 1 (Daubechies,
  1992), solved by Newton's method from PyWavelets' table.
- bior: two factors of the maximally flat half-band filter (Cohen, Daubechies and Feauveau, 1992). In bior4.4, bior5.5
  and bior6.8 both have some of its roots. In the others one is a spline, and the other has all the roots.

A filter is a dictionary: the key m holds the tap for sample 2n + m of coefficient n. Positions and signs are those of
PyWavelets under the boundary rule "periodization". PyWavelets does not have bior4.2, the cubic spline.
"""

from functools import reduce
from string import ascii_lowercase

from mpmath import binomial, conj, lu_solve, matrix, mp, mpf, polyroots, re, sqrt

mp.dps = 50
Filter = dict[int, mpf]
Taps = list[mpf]

OUTSIDE = {4: (0,), 5: (1,), 6: (0, 2), 7: (2,), 8: (0, 2)}  # sym: roots outside the unit circle, as `roots` lists them
SHARED = {"bior4.4": (4, (0,)), "bior5.5": (4, (0,)), "bior6.8": (8, (0, 2))}  # zeros at -1 and roots for analysis


def filters(name: str) -> tuple[Filter, Filter]:
    """Returns the filters for approximation and detail."""
    family, order = ("db", "1") if name == "haar" else (name.rstrip("0123456789."), name.lstrip(ascii_lowercase))
    if family == "bior":
        low, dual = _biorthogonal(name, *map(int, order.split(".")))
    else:
        low = dual = {"db": _daubechies, "sym": _symlet, "coif": _coiflet}[family](int(order))
    half = (max(len(low), len(dual)) + 1) // 2 + (name == "bior4.2")  # half the length of PyWavelets' filters
    first, first_of_dual = _first(low, 0), _first(dual, 1)
    high = {m: tap if (half - m) % 2 else -tap for m, tap in enumerate(reversed(dual), first_of_dual)}
    return dict(enumerate(low, first)), high


def _first(taps: Taps, centre: int) -> int:
    """Returns the position of the first tap: the middle one is at the centre, or the middle two at 0 and 1."""
    return (centre if len(taps) % 2 else 0) - (len(taps) - 1) // 2


def product(*factors: Taps) -> Taps:
    def times(a: Taps, b: Taps) -> Taps:
        taps = [mpf(0)] * (len(a) + len(b) - 1)
        for i, left in enumerate(a):
            for j, right in enumerate(b, i):
                taps[j] += left * right
        return taps

    return reduce(times, factors, [mpf(1)])


def normalised(taps: Taps) -> Taps:
    return [re(tap) * sqrt(2) / re(sum(taps)) for tap in taps]


def roots(order: int) -> list[list[mpf]]:
    """Returns the roots y = (2 - z - 1/z) / 4 of the half-band filter that are no zeros at z = -1.

    Those are the roots of sum_k binomial(order - 1 + k, k) y^k: real ones alone, and complex ones with their
    conjugates, by descending real part.
    """
    found = polyroots([binomial(order - 1 + k, k) for k in reversed(range(order))], maxsteps=500, extraprec=400)
    upper = sorted((y for y in found if y.imag > -1e-20), key=lambda y: -y.real)
    return [[y.real] if abs(y.imag) < 1e-20 else [y, conj(y)] for y in upper]


def _inside(y: mpf) -> mpf:
    """Returns the root z inside the unit circle of z + 1/z = 2 - 4 y."""
    z = 1 - 2 * y + sqrt((1 - 2 * y) ** 2 - 1)
    return z if abs(z) < 1 else 1 / z


def _spectral_factor(order: int, outside: tuple[int, ...]) -> Taps:
    zeros = [[1, 1]] * order
    for i, group in enumerate(roots(order)):
        zeros += [[1, -1 / _inside(y) if i in outside else -_inside(y)] for y in group]
    return normalised(product(*zeros))


def _daubechies(order: int) -> Taps:
    return _spectral_factor(order, ())


def _symlet(order: int) -> Taps:
    return _spectral_factor(order, OUTSIDE[order])


def _coiflet(order: int) -> Taps:
    """Solves the conditions on orthogonality and on the moments, which are as many as there are taps."""
    import pywt  # not at the top: the documentation is built without it

    taps = [mpf(tap) for tap in pywt.Wavelet(f"coif{order}").rec_lo]
    num = len(taps)
    n = [mpf(i - 2 * order) / num for i in range(num)]
    moments = [[(-1) ** i * n[i] ** p for i in range(num)] for p in range(2 * order)]
    moments += [[x**p for x in n] for p in range(1, 2 * order, 2)]
    change = 1
    while change > mpf(10) ** (8 - mp.dps):
        padded = [mpf(0)] * num + taps + [mpf(0)] * num
        shifted = [[padded[num + i + 2 * k] for i in range(num)] for k in range(num // 2)]
        residuals = [sum(map(mp.fmul, taps, row)) - (k == 0) for k, row in enumerate(shifted)]
        residuals += [sum(map(mp.fmul, taps, row)) for row in moments]
        jacobian = [[row[i] + padded[num + i - 2 * k] for i in range(num)] for k, row in enumerate(shifted)]
        update = lu_solve(matrix(jacobian + moments), matrix(residuals))
        taps, change = list(map(mp.fsub, taps, update)), max(map(abs, update))
    return taps


def _biorthogonal(name: str, synthesis: int, analysis: int) -> tuple[Taps, Taps]:
    """Returns the low-pass filters of analysis and synthesis; the numbers are their zeros at z = -1 for splines."""
    total = synthesis + analysis
    groups = roots(total // 2)
    zeros, chosen = SHARED.get(name, (analysis, range(len(groups))))

    def low_pass(num_zeros: int, numbers: range | tuple[int, ...]) -> Taps:
        quadratics = [[mpf(1) / 4, y - mpf(1) / 2, mpf(1) / 4] for i in numbers for y in groups[i]]
        return normalised(product(*[[1, 1]] * num_zeros, *quadratics))

    rest = tuple(set(range(len(groups))) - set(chosen))
    return low_pass(zeros, chosen), low_pass(total - zeros, rest)
