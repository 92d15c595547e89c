"""PyWavelets as an oracle; where its table of filters is coarse or empty, they come from their definition."""

from functools import reduce
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
    """The wavelet of PyWavelets; 9/7 (twelve digits there) and the cubic spline (missing there) are built here."""
    if name == "bior4.2":  # (1 - y)^2 and (1 - y) (1 + 3 y + 6 y^2)
        rest = 6 * np.convolve(Y, Y) + 3 * np.pad(Y, 1) + [0, 0, 1, 0, 0]
        return _symmetric(name, np.convolve(FLAT, rest), np.convolve(FLAT, FLAT))
    if name == "bior4.4":  # (1 - y)^4 (1 + 4 y + 10 y^2 + 20 y^3), the real root apart
        root = next(root.real for root in np.roots([20, 10, 4, 1]) if abs(root.imag) < 1e-9)
        linear, constant = 0.5 + root, -1 / (20 * root)
        rest = (np.convolve(Y, Y) + linear * np.pad(Y, 1)) / constant + [0, 0, 1, 0, 0]
        dual = [FLAT, FLAT, [0, 1, 0] - Y / root]
        return _symmetric(name, reduce(np.convolve, [FLAT, FLAT, rest]), reduce(np.convolve, dual))
    return pywt.Wavelet(name)


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
