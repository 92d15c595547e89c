"""PyWavelets as an oracle; where its table of filters is coarse or empty, they come from their definition."""

from functools import reduce
from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest
from torch import Tensor

__all__ = ["BOUNDARIES", "EXPANSIVE", "NON_EXPANSIVE", "assert_equals", "flat", "oracle"]

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

NON_EXPANSIVE = ["periodization", "reflect"]
EXPANSIVE = ["symmetric", "zero", "constant", "periodic"]
BOUNDARIES = NON_EXPANSIVE + EXPANSIVE

FLAT = np.array([1, 2, 1]) / 4  # the taps of 1 - y, with y = sin(w/2)^2
Y = np.array([-1, 2, -1]) / 4


def oracle(name: str) -> Any:
    """The wavelet of PyWavelets; those with twelve digits there and the missing cubic spline are built here."""
    if name in ("rbio4.2", "rbio4.4", "rbio6.8"):
        bank = oracle(name.replace("rbio", "bior")).inverse_filter_bank  # rec_lo, rec_hi, dec_lo, dec_hi, all reversed
        return pywt.Wavelet(name, filter_bank=bank)
    if name.startswith("sym"):
        low = _symlet(name, int(name[3:]))
        return pywt.Wavelet(name, filter_bank=pywt.orthogonal_filter_bank(low))
    if name == "bior4.2":  # (1 - y)^2 and (1 - y) (1 + 3 y + 6 y^2)
        rest = 6 * np.convolve(Y, Y) + 3 * np.pad(Y, 1) + [0, 0, 1, 0, 0]
        return _symmetric(name, np.convolve(FLAT, rest), np.convolve(FLAT, FLAT))
    if name == "bior4.4":  # (1 - y)^4 (1 + 4 y + 10 y^2 + 20 y^3), the real root apart
        root = next(root.real for root in np.roots([20, 10, 4, 1]) if abs(root.imag) < 1e-9)
        linear, constant = 0.5 + root, -1 / (20 * root)
        rest = (np.convolve(Y, Y) + linear * np.pad(Y, 1)) / constant + [0, 0, 1, 0, 0]
        dual = [FLAT, FLAT, [0, 1, 0] - Y / root]
        return _symmetric(name, reduce(np.convolve, [FLAT, FLAT, rest]), reduce(np.convolve, dual))
    if name == "bior6.8":  # (1 - y)^7 times three quadratic factors, of which the analysis filter has two
        first, second, third = _quadratics(7)
        low, dual = reduce(np.convolve, [*[FLAT] * 4, first, third]), reduce(np.convolve, [*[FLAT] * 3, second])
        return _symmetric(name, low, dual)
    return pywt.Wavelet(name)


def _quadratics(order: int) -> list[np.ndarray]:
    """Factors of the half-band filter for its pairs of roots, by descending real part."""
    roots = np.roots([comb(order - 1 + k, k) for k in reversed(range(order))])
    upper = sorted((y for y in roots if y.imag > 0), key=lambda y: -y.real)
    linear = [np.array([0, 1, 0]) - Y / y for y in upper]
    return [np.real(np.convolve(factor, factor.conj())) for factor in linear]


def _symlet(name: str, order: int) -> np.ndarray:
    """The spectral factor of the half-band filter that is nearest to PyWavelets' table."""
    table = np.array(pywt.Wavelet(name).rec_lo)
    y = np.roots([comb(order - 1 + k, k) for k in reversed(range(order))])
    y = y[y.imag > -1e-9]
    z = 1 - 2 * y + np.sqrt((1 - 2 * y + 0j) ** 2 - 1)
    found = []
    for signs in product((1, -1), repeat=len(z)):
        zeros = z ** np.array(signs)
        low = np.poly([*[-1] * order, *zeros, *zeros[abs(zeros.imag) > 1e-9].conj()]).real
        found.append(low * np.sqrt(2) / low.sum())
    return min(found, key=lambda low: abs(low - table).max())


def _symmetric(name: str, low: np.ndarray, dual: np.ndarray) -> Any:
    """The filter bank of two low-pass filters about a sample, the first for analysis; `dual` is the shorter."""
    k, l = len(low) // 2, len(dual) // 2  # noqa: E741
    signs = (-1) ** np.arange(len(low) + 1)
    shorter = k - l, k - l + 1
    bank = [
        np.pad(low, (1, 0)),
        np.pad(dual * signs[(1 + l) % 2 :][: len(dual)], shorter),
        np.pad(dual, shorter),
        np.pad(low * signs[(1 + k) % 2 :][: len(low)], (1, 0)),
    ]
    return pywt.Wavelet(name, filter_bank=[np.sqrt(2) * taps for taps in bank])


def flat(bands: Any) -> list[Any]:
    """All bands of a level, or of several, one after the other."""
    return [band for part in bands for band in (part if isinstance(part, tuple) else (part,))]


def assert_equals(actual: Tensor, expected: np.ndarray, *, atol: float = 1e-12) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol)
