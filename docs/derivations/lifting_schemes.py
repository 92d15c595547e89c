"""Derives the lifting steps in `liftlayers.functional._scheme_tables` and computes their condition numbers.

    python docs/derivations/lifting_schemes.py db4 bior5.5     # steps, scales and figures of these wavelets
    python docs/derivations/lifting_schemes.py                 # of all wavelets in the tables

The analysis of a signal is a 2 x 2 matrix of Laurent polynomials in the shift S, from even and odd samples to
approximation and detail (Daubechies and Sweldens, 1998). Subtracting a multiple of one entry of the first row from the
other is a lifting step, so Euclid's algorithm on this row finds all steps except the last. A division of Laurent
polynomials can cancel terms at either end. The script tries all choices. Of all factorisations that end in constants,
it keeps the one with the smallest condition number,

    max over i of  sup |M_i| * sup |P / M_i|,

where M_i is the product of the first i steps, P is the complete matrix, |.| is the spectral norm, and the supremum is
over all frequencies. It bounds the growth of a rounding error in any step. Factorisations into symmetric steps have
priority over all others, because such steps preserve the mirror symmetry of an extended signal. If several have the
same condition number, the script prefers fewer taps, and then a first step on the details.

Orthogonal wavelets are factored into plane rotations if these steps are ill-conditioned, or if their filters have more
than eight taps, because the search would take too long. `wavelet_filters` computes the filters from their definitions.
"""

import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mpmath import asin, atan, mpf, sin, tan

sys.path.insert(0, str(Path(__file__).parent))  # for an import from another folder
from wavelet_filters import Filter, filters

NEGLIGIBLE = 1e-25  # terms below this count as cancelled by a division; filters have fifty digits
WELL = 5  # largest condition number for which an orthogonal wavelet keeps the steps of Euclid's algorithm
LONGEST = 8  # taps of an orthogonal wavelet for which the script tries Euclid's algorithm
FREQUENCIES = np.exp(2j * np.pi * np.arange(256) / 256)


class Laurent(NamedTuple):
    """The polynomial sum of terms[i] * S**(first + i)."""

    first: int
    terms: tuple[mpf, ...]

    def __call__(self, shift: np.ndarray) -> np.ndarray:
        return sum((float(term) * shift ** (self.first + i) for i, term in enumerate(self.terms)), 0 * shift)


Row = tuple[Laurent, Laurent]
Step = tuple[str, Laurent]


class Factorisation(NamedTuple):
    condition: float
    steps: list[Step]
    scales: tuple[float, float]


def laurent(first: int, terms: list[mpf]) -> Laurent:
    """Makes a polynomial and removes negligible terms at its ends."""
    kept = [i for i, term in enumerate(terms) if abs(term) > NEGLIGIBLE]
    return Laurent(first + kept[0], tuple(terms[kept[0] : kept[-1] + 1])) if kept else Laurent(0, ())


def minus_product(a: Laurent, b: Laurent, c: Laurent) -> Laurent:
    """Computes a - b c."""
    if not (b.terms and c.terms):
        return a
    low = b.first + c.first
    high = low + len(b.terms) + len(c.terms) - 1
    if a.terms:
        low, high = min(low, a.first), max(high, a.first + len(a.terms))
    terms = [mpf(0)] * (high - low)
    for i, term in enumerate(a.terms, a.first - low):
        terms[i] += term
    for i, left in enumerate(b.terms, b.first + c.first - low):
        for j, right in enumerate(c.terms, i):
            terms[j] -= left * right
    return laurent(low, terms)


def divisions(a: Laurent, b: Laurent) -> Iterator[tuple[Laurent, Laurent]]:
    """Yields every quotient q and remainder a - q b with fewer terms than b.

    The quotients differ in how many terms cancel from the top; the others cancel from the bottom.
    """
    for num_top in range(len(a.terms) - len(b.terms) + 2):
        quotient, rest = Laurent(0, ()), a
        for turn in range(len(a.terms) - len(b.terms) + 1):
            if len(rest.terms) < len(b.terms):
                break
            end = -1 if turn < num_top else 0
            place = rest.first - b.first + (len(rest.terms) - len(b.terms) if end else 0)
            term = Laurent(place, (rest.terms[end] / b.terms[end],))
            quotient = minus_product(quotient, term, Laurent(0, (mpf(-1),)))
            rest = minus_product(rest, term, b)
        if len(rest.terms) < len(b.terms):
            yield quotient, rest


def factorisations(low: Row, high: Row, steps: list[Step]) -> Iterator[tuple[list[Step], tuple[mpf, mpf]]]:
    """Yields every factorisation of the analysis matrix into steps and constants."""
    even, odd = low
    if not odd.terms:
        yield from ending(low, high, steps)
        return
    if len(even.terms) >= len(odd.terms):
        # Haar has one term in each. Their sum works as a remainder, too, and then the first details are differences.
        minus_one = Laurent(0, (mpf(-1),))
        sums = [(minus_one, minus_product(even, minus_one, odd))] if not steps and len(even.terms) == 1 else []
        for quotient, rest in [*divisions(even, odd), *sums]:
            yield from factorisations((rest, odd), without(high, "detail", quotient), [*steps, ("detail", quotient)])
    if len(odd.terms) >= len(even.terms) > 0:
        for quotient, rest in divisions(odd, even):
            yield from factorisations((even, rest), without(high, "approx", quotient), [*steps, ("approx", quotient)])


def rotations(low: Row, high: Row, steps: list[Step]) -> Iterator[tuple[list[Step], tuple[mpf, mpf]]]:
    """Yields every factorisation of an orthogonal matrix into rotations.

    Each rotation consists of three shears: of the detail, of the approximation, and of the detail again.
    """
    even, odd = low
    if not odd.terms:
        yield from ending(low, high, merged(steps))
        return
    if len(even.terms) != len(odd.terms):
        return
    shift = even.first - odd.first
    for angle in (atan(even.terms[0] / odd.terms[0]), atan(-odd.terms[0] / even.terms[0])):
        outer = "detail", Laurent(shift, (tan(angle / 2),))
        shears, rows = [outer, ("approx", Laurent(-shift, (-sin(angle),))), outer], (low, high)
        for shear in shears:
            rows = without(rows[0], *shear), without(rows[1], *shear)
        if all(len(p.terms) < len(even.terms) for p in (rows[0] if len(even.terms) > 1 else rows[0][1:])):
            yield from rotations(*rows, [*steps, *shears])


def without(row: Row, target: str, taps: Laurent) -> Row:
    """Returns a row of the matrix before this step."""
    even, odd = row
    return (minus_product(even, taps, odd), odd) if target == "detail" else (even, minus_product(odd, taps, even))


def ending(low: Row, high: Row, steps: list[Step]) -> Iterator[tuple[list[Step], tuple[mpf, mpf]]]:
    """Yields steps and scales if the scales are constants, with one more step for the remainder of the second row."""
    if all(len(p.terms) == 1 and p.first == 0 for p in (low[0], high[1])):
        last = Laurent(high[0].first, tuple(term / high[1].terms[0] for term in high[0].terms))
        yield [*steps, ("detail", last)] if last.terms else steps, (low[0].terms[0], high[1].terms[0])


def merged(steps: list[Step]) -> list[Step]:
    """Merges adjacent steps with the same target."""
    minus_one = Laurent(0, (mpf(-1),))
    together: list[Step] = []
    for target, taps in steps:
        if together and together[-1][0] == target:
            taps = minus_product(together.pop()[1], taps, minus_one)
        together.append((target, taps))
    return together


def matrices(steps: list[Step], scales: tuple[float, float]) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns, at all frequencies, the products of the first steps and the complete matrix."""
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


def polyphase(taps: Filter) -> Row:
    """Splits a filter into its even and odd parts. The key m holds the tap for sample 2n + m."""
    first, last = min(taps) - 2, max(taps) + 2
    first -= first % 2
    even = laurent(first // 2, [taps.get(m, mpf(0)) for m in range(first, last, 2)])
    return even, laurent(first // 2, [taps.get(m + 1, mpf(0)) for m in range(first, last, 2)])


def analysis_matrix(name: str) -> tuple[Row, Row]:
    """Returns the rows for approximation and detail."""
    low, high = filters(name)
    return polyphase(low), polyphase(high)


def symmetric(steps: list[Step]) -> bool:
    """Returns whether the taps of every step are symmetric about its target."""
    centres = {"detail": 1, "approx": -1}  # twice the position of the target among the samples of the other half
    return all(
        2 * taps.first + len(taps.terms) - 1 == centres[target]
        and np.allclose([float(c) for c in taps.terms], [float(c) for c in reversed(taps.terms)])
        for target, taps in steps
    )


def derive(name: str) -> Factorisation:
    """Returns the best-conditioned factorisation."""
    low, high = analysis_matrix(name)
    taps = len(low[0].terms) + len(low[1].terms)
    turned = list(rotations(low, high, []))
    found = [] if turned and taps > LONGEST else ranked(factorisations(low, high, []))
    if turned and not (found and found[0][0][1] <= WELL):
        found = ranked(turned)
    if not found:
        raise ValueError(f"{name} has no factorisation: its filters do not reconstruct perfectly")
    order, steps, (first, second) = found[0]
    return Factorisation(order[1], steps, (first, float(np.sign(second)) * abs(1 / first)))


def ranked(ways: Iterable[tuple[list[Step], tuple[mpf, mpf]]]) -> list[tuple[tuple, list[Step], tuple]]:
    """Sorts factorisations, best first, each with its sort key. Entry 1 of the key is the condition number."""
    found = []
    for steps, (first, second) in ways:
        scales = float(first), float(second)
        num_taps = sum(len(taps.terms) for _, taps in steps)
        begins = steps[0][0] != "detail"
        order = not symmetric(steps), round(condition(steps, scales), 3), num_taps, len(steps), begins, len(found)
        found.append((order, steps, scales))
    return sorted(found)


def error(name: str, found: Factorisation) -> float:
    """Returns the largest difference between the frequency responses of the steps and of the filters."""
    low, high = analysis_matrix(name)
    expected = np.stack([np.stack([p(FREQUENCIES) for p in row], -1) for row in (low, high)], -2)
    return float(np.abs(matrices(found.steps, found.scales)[1] - expected).max())


def entry(found: Factorisation) -> str:
    """Writes a factorisation as in `liftlayers.functional._scheme_tables`."""
    if all(len(taps.terms) == 1 for target, taps in found.steps if target == "approx") and len(found.steps) > 4:
        sines = [(-taps.first, taps.terms[0]) for target, taps in found.steps if target == "approx"]
        turns = [f"({offset}, {float(-tan(asin(sine) / 2))})" for offset, sine in sines]
        steps = f"*rotations({', '.join(turns)})"
    else:
        letters = {"detail": "P", "approx": "U"}
        numbers = [(target, taps.first, *map(number, taps.terms)) for target, taps in found.steps]
        steps = ", ".join(f"{letters[target]}({', '.join(map(str, rest))})" for target, *rest in numbers)
    return f"({found.scales[0]}, {1 if found.scales[0] * found.scales[1] > 0 else -1}, {steps})"


def number(tap: mpf) -> str:
    """Writes a tap, as a fraction if it is one with a denominator from 2 to 99,999."""
    fraction = Fraction(float(tap)).limit_denominator(99_999)
    return str(fraction if float(fraction) == float(tap) and fraction.denominator > 1 else float(tap))


def main(names: list[str]) -> None:
    for name in names:
        found = derive(name)
        print(f"# {name}: condition {found.condition:.1f}, error relative to its filters {error(name, found):.0e}")
        print(f'"{name}": {entry(found)},')


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1:])
    else:
        from liftlayers.functional._scheme_tables import TABLE

        main(list(TABLE))
