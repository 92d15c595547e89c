"""Derives the lifting steps in `liftlayers.functional.schemes`, and measures how well conditioned they are.

    python docs/derivations/lifting_schemes.py db4 bior5.5     # steps, scales and figures of these
    python docs/derivations/lifting_schemes.py                 # of all that the library has

The analysis of a line is a 2 x 2 matrix of Laurent polynomials in the shift S, from even and odd samples to
approximation and detail (Daubechies and Sweldens, 1998). Taking a multiple of one entry of the first row away from the
other is a lifting step, so Euclid's algorithm on that row finds all steps but the last. A division of Laurent
polynomials may cancel terms at either end: every choice is tried, and of all factorisations that end in constants the
one of the smallest condition number is kept,

    max over i of  sup |M_i| * sup |P / M_i|,

with M_i the product of the first i steps, P the whole, the spectral norm, and the supremum over all frequencies: what
a rounding error anywhere can grow to. Steps that are symmetric go before all others, since a line mirrored at its ends
stays so under them; where several have the smallest number, the fewest taps win, then a first step on the details.

Filters are PyWavelets', read as exact fractions. Two wavelets come from their definition: bior4.4, which PyWavelets
tabulates to twelve digits only, and the cubic spline bior4.2, which it lacks.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pywt

NEGLIGIBLE = 1e-8  # what is left of a term that a division cancels, since filters are rounded
WELL = 5  # the condition number up to which an orthogonal wavelet is left to Euclid
FREQUENCIES = np.exp(2j * np.pi * np.arange(256) / 256)


class Laurent(NamedTuple):
    """The polynomial sum of terms[i] * S**(first + i)."""

    first: int
    terms: tuple[Fraction, ...]

    def __call__(self, shift: np.ndarray) -> np.ndarray:
        return sum((float(term) * shift ** (self.first + i) for i, term in enumerate(self.terms)), 0 * shift)


Row = tuple[Laurent, Laurent]
Step = tuple[str, Laurent]


class Factorisation(NamedTuple):
    condition: float
    steps: list[Step]
    scales: tuple[float, float]


def laurent(first: int, terms: list[Fraction]) -> Laurent:
    """A polynomial without negligible terms at its ends."""
    kept = [i for i, term in enumerate(terms) if abs(term) > NEGLIGIBLE]
    return Laurent(first + kept[0], tuple(terms[kept[0] : kept[-1] + 1])) if kept else Laurent(0, ())


def minus_product(a: Laurent, b: Laurent, c: Laurent) -> Laurent:
    """a - b c."""
    if not (b.terms and c.terms):
        return a
    low = b.first + c.first
    high = low + len(b.terms) + len(c.terms) - 1
    if a.terms:
        low, high = min(low, a.first), max(high, a.first + len(a.terms))
    terms = [Fraction(0)] * (high - low)
    for i, term in enumerate(a.terms, a.first - low):
        terms[i] += term
    for i, left in enumerate(b.terms, b.first + c.first - low):
        for j, right in enumerate(c.terms, i):
            terms[j] -= left * right
    return laurent(low, terms)


def divisions(a: Laurent, b: Laurent) -> Iterator[tuple[Laurent, Laurent]]:
    """Every quotient q and remainder a - q b with fewer terms than b: some cancel from the top, the rest from below."""
    for num_top in range(len(a.terms) - len(b.terms) + 2):
        quotient, rest = Laurent(0, ()), a
        for turn in range(len(a.terms) - len(b.terms) + 1):
            if len(rest.terms) < len(b.terms):
                break
            end = -1 if turn < num_top else 0
            place = rest.first - b.first + (len(rest.terms) - len(b.terms) if end else 0)
            term = Laurent(place, (rest.terms[end] / b.terms[end],))
            quotient = minus_product(quotient, term, Laurent(0, (Fraction(-1),)))
            rest = minus_product(rest, term, b)
        if len(rest.terms) < len(b.terms):
            yield quotient, rest


def factorisations(low: Row, high: Row, steps: list[Step]) -> Iterator[tuple[list[Step], tuple[Fraction, Fraction]]]:
    """Every way to take steps off the analysis matrix until constants are left."""
    even, odd = low
    if not odd.terms:
        yield from ending(low, high, steps)
        return
    if len(even.terms) >= len(odd.terms):
        # Haar has one term in each: their sum goes on as well as nothing, and makes the first details differences.
        minus_one = Laurent(0, (Fraction(-1),))
        sums = [(minus_one, minus_product(even, minus_one, odd))] if not steps and len(even.terms) == 1 else []
        for quotient, rest in [*divisions(even, odd), *sums]:
            yield from factorisations((rest, odd), without(high, "detail", quotient), [*steps, ("detail", quotient)])
    if len(odd.terms) >= len(even.terms) > 0:
        for quotient, rest in divisions(odd, even):
            yield from factorisations((even, rest), without(high, "approx", quotient), [*steps, ("approx", quotient)])


def rotations(
    low: Row, high: Row, steps: list[Step], target: str
) -> Iterator[tuple[list[Step], tuple[Fraction, Fraction]]]:
    """Every way to take rotations off an orthogonal matrix, each by shears of this target, the other and this again."""
    even, odd = low
    if not odd.terms:
        yield from ending(low, high, merged(steps))
        return
    if len(even.terms) != len(odd.terms):
        return
    places = {"detail": even.first - odd.first, "approx": odd.first - even.first}
    other = "approx" if target == "detail" else "detail"
    for angle in (math.atan(even.terms[0] / odd.terms[0]), math.atan(-odd.terms[0] / even.terms[0])):
        sign = 1 if target == "detail" else -1
        rows, shears = (low, high), []
        for half, weight in ((target, math.tan(angle / 2)), (other, -math.sin(angle)), (target, math.tan(angle / 2))):
            shears.append((half, Laurent(places[half], (Fraction(sign * weight),))))
            rows = without(rows[0], *shears[-1]), without(rows[1], *shears[-1])
        if all(len(p.terms) < len(even.terms) for p in (rows[0] if len(even.terms) > 1 else rows[0][1:])):
            yield from rotations(*rows, [*steps, *shears], target)


def without(row: Row, target: str, taps: Laurent) -> Row:
    """A row of the matrix before this step."""
    even, odd = row
    return (minus_product(even, taps, odd), odd) if target == "detail" else (even, minus_product(odd, taps, even))


def ending(low: Row, high: Row, steps: list[Step]) -> Iterator[tuple[list[Step], tuple[Fraction, Fraction]]]:
    """The steps, one more for what is left in the second row, and the scales; nothing unless these are constants."""
    if all(len(p.terms) == 1 and p.first == 0 for p in (low[0], high[1])):
        last = Laurent(high[0].first, tuple(term / high[1].terms[0] for term in high[0].terms))
        yield [*steps, ("detail", last)] if last.terms else steps, (low[0].terms[0], high[1].terms[0])


def merged(steps: list[Step]) -> list[Step]:
    """Neighbours of the same target as one."""
    minus_one = Laurent(0, (Fraction(-1),))
    together: list[Step] = []
    for target, taps in steps:
        if together and together[-1][0] == target:
            taps = minus_product(together.pop()[1], taps, minus_one)
        together.append((target, taps))
    return together


def matrices(steps: list[Step], scales: tuple[float, float]) -> tuple[list[np.ndarray], np.ndarray]:
    """The products of the first steps, and of everything, at all frequencies."""
    product = np.tile(np.eye(2, dtype=complex), (len(FREQUENCIES), 1, 1))
    products = []
    for target, taps in steps:
        step = np.tile(np.eye(2, dtype=complex), (len(FREQUENCIES), 1, 1))
        row = ("approx", "detail").index(target)
        step[:, row, 1 - row] = taps(FREQUENCIES)
        product = step @ product
        products.append(product)
    return products, np.diag(scales) @ product


def condition(steps: list[Step], scales: tuple[float, float]) -> float:
    products, whole = matrices(steps, scales)
    return max(_norm(product) * _norm(whole @ np.linalg.inv(product)) for product in products)


def _norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2, axis=(1, 2)).max())


def polyphase(filters: dict[int, Fraction]) -> Row:
    """A filter with its tap at sample 2n + m under m, as what it does to even and to odd samples."""
    first, last = min(filters) - 2, max(filters) + 2
    first -= first % 2
    even = laurent(first // 2, [filters.get(m, Fraction(0)) for m in range(first, last, 2)])
    return even, laurent(first // 2, [filters.get(m + 1, Fraction(0)) for m in range(first, last, 2)])


def analysis_matrix(name: str) -> tuple[Row, Row]:
    """The rows for approximation and detail."""
    if name in ("bior4.2", "bior4.4"):
        return _symmetric(*_ROOTS[name]())
    wavelet = pywt.Wavelet(name)
    half = wavelet.dec_len // 2  # the tap j is for sample 2n + L/2 - j under periodization
    low, high = ({half - j: Fraction(c) for j, c in enumerate(f)} for f in (wavelet.dec_lo, wavelet.dec_hi))
    return polyphase(low), polyphase(high)


def _cubic_spline() -> tuple[np.ndarray, np.ndarray]:
    """bior4.2: (1 - y)^2 is the cubic spline; times the other it is the maximally flat half-band filter of order 3."""
    return np.polymul([-1, 1], [6, 3, 1]), np.polymul([-1, 1], [-1, 1])


def _nine_seven() -> tuple[np.ndarray, np.ndarray]:
    """bior4.4: the maximally flat half-band filter (1 - y)^4 (1 + 4 y + 10 y^2 + 20 y^3), one real root apart."""
    root = float(min(np.roots([20, 10, 4, 1]), key=lambda y: abs(y.imag)).real)
    for _ in range(3):  # Newton, to the last digit
        root -= np.polyval([20, 10, 4, 1], root) / np.polyval([60, 20, 4], root)
    square = np.polymul([-1, 1], [-1, 1])
    rest = np.polydiv([20, 10, 4, 1], [-1 / root, 1])[0]
    return np.polymul(square, rest), np.polymul(square, [-1 / root, 1])


_ROOTS = {"bior4.2": _cubic_spline, "bior4.4": _nine_seven}


def _symmetric(analysis: np.ndarray, synthesis: np.ndarray) -> tuple[Row, Row]:
    """From both low-pass filters as polynomials of y = sin(w/2)^2, highest power first."""
    low, dual = (
        np.sqrt(2) * sum((c * _power(k) for k, c in enumerate(reversed(p))), np.zeros(17))
        for p in (analysis, synthesis)
    )
    high = {m + 1: Fraction(-c if m % 2 == 0 else c) for m, c in enumerate(dual, -8)}
    return polyphase({m: Fraction(c) for m, c in enumerate(low, -8)}), polyphase(high)


def _power(k: int) -> np.ndarray:
    """The taps -8 to 8 of y^k, with y = (2 - z - 1/z) / 4."""
    taps = np.zeros(17)
    taps[8] = 1
    for _ in range(k):
        taps = np.convolve(taps, [-0.25, 0.5, -0.25], mode="same")
    return taps


def symmetric(steps: list[Step]) -> bool:
    """Whether every step reads alike on both sides of its target."""
    centres = {"detail": 1, "approx": -1}  # twice the place of the target among the samples of the other half
    return all(
        2 * taps.first + len(taps.terms) - 1 == centres[target]
        and np.allclose([float(c) for c in taps.terms], [float(c) for c in reversed(taps.terms)])
        for target, taps in steps
    )


def tidy(value: Fraction | float) -> float:
    """The double, or the one of a simple fraction that it only misses by rounding."""
    simple = Fraction(value).limit_denominator(2**16)
    return float(simple) if abs(simple - Fraction(value)) < 1e-14 * abs(simple) else float(value)


def derive(name: str) -> Factorisation:
    """The best conditioned factorisation."""
    low, high = analysis_matrix(name)
    found = ranked(factorisations(low, high, []))
    if not found:
        raise ValueError(f"{name} has no factorisation: its filters do not reconstruct perfectly")
    if found[0][0][1] > WELL:
        turned = ranked(way for target in ("detail", "approx") for way in rotations(low, high, [], target))
        found = turned or found
    order, steps, (first, second) = found[0]
    tidied = [(target, Laurent(taps.first, tuple(Fraction(tidy(c)) for c in taps.terms))) for target, taps in steps]
    scale = float(np.sqrt(tidy(first**2)) * np.sign(first))
    return Factorisation(order[1], tidied, (scale, float(np.sign(second)) * abs(1 / scale)))


def ranked(ways: Iterable[tuple[list[Step], tuple[Fraction, Fraction]]]) -> list[tuple[tuple, list[Step], tuple]]:
    """Factorisations, the best first, each with what it is ranked by; its second entry is the condition number."""
    found = []
    for steps, (first, second) in ways:
        scales = float(first), float(second)
        num_taps = sum(len(taps.terms) for _, taps in steps)
        begins = steps[0][0] != "detail"
        order = not symmetric(steps), round(condition(steps, scales), 3), num_taps, len(steps), begins, len(found)
        found.append((order, steps, scales))
    return sorted(found)


def error(name: str, found: Factorisation) -> float:
    """The largest difference of the steps' frequency responses from the filters'."""
    low, high = analysis_matrix(name)
    expected = np.stack([np.stack([p(FREQUENCIES) for p in row], -1) for row in (low, high)], -2)
    return float(np.abs(matrices(found.steps, found.scales)[1] - expected).max())


def main(names: list[str]) -> None:
    for name in names:
        found = derive(name)
        print(f"# {name}: condition {found.condition:.1f}, off its filters by {error(name, found):.0e}")
        for target, taps in found.steps:
            print(
                f"    LiftingStep({target!r}, {tuple(float(c) for c in taps.terms)}, {taps.first}),".replace("'", '"')
            )
        print(f"    {found.scales}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1:])
    else:
        from liftlayers.functional.schemes import SCHEMES

        main(list(SCHEMES))
