"""The lifting steps of every name are PyWavelets' filters, well conditioned, and those of their derivation."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from liftlayers.functional import dwt1d
from liftlayers.functional._scheme_tables import TABLE
from liftlayers.functional.schemes import SCHEMES, filter_length, scheme, wavelets
from tests.functional.wavelets import assert_equals, oracle
from tests.strategies import tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")
SCRIPTS = Path(__file__).parents[2] / "docs" / "derivations"
names = pytest.mark.parametrize("name", list(SCHEMES))


@pytest.fixture
def derivation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("lifting_schemes")


# Their derivation takes more than half a second.
LONG = ("db7", "db8", "db9", "db10", "sym7", "sym8", "coif3", "bior6.8")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in TABLE])
def test_literals_are_those_of_the_derivation(derivation: ModuleType, name: str) -> None:
    found = derivation.derive(name)
    assert found.condition < 13
    assert derivation.error(name, found) < 1e-14
    assert len(found.steps) == len(scheme(name).steps)
    for (target, taps), step in zip(found.steps, scheme(name).steps, strict=True):
        assert (target, taps.first) == (step.target, step.first)
        assert tuple(map(float, taps.terms)) == pytest.approx(step.taps, rel=1e-15)
    assert found.scales == pytest.approx(scheme(name).scales, rel=1e-15)


@pytest.mark.slow
def test_ill_conditioned_wavelets_are_left_out(derivation: ModuleType) -> None:
    assert derivation.derive("bior5.5").condition == pytest.approx(101.7, abs=0.1)


@pytest.mark.parametrize("name", [*wavelets("db")[2:], *wavelets("sym")[1:], "coif2", "coif3"])
def test_rotations_are_shears_by_at_most_one(name: str) -> None:
    """Weights of a rotation by up to a right angle, so that no rounding error grows, and nothing to scale."""
    found = scheme(name)
    assert all(abs(tap) <= 1 for step in found.steps for tap in step.taps)
    assert {abs(scale) for scale in found.scales} == {1.0}
    assert len(found.steps) == filter_length(found) + 1


def test_filters_without_perfect_reconstruction_have_no_steps(
    derivation: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for dmey, which is truncated; tested on Haar with one tap moved, where the search is shorter."""
    low, (even, odd) = derivation.analysis_matrix("haar")
    moved = derivation.Laurent(odd.first + 1, odd.terms)
    monkeypatch.setattr(derivation, "analysis_matrix", lambda _: (low, (even, moved)))
    with pytest.raises(ValueError, match="broken has no factorisation"):
        derivation.derive("broken")


@names
def test_names_lengths_and_scales(name: str) -> None:
    found = scheme(name)
    assert found.name == name
    assert filter_length(found) == oracle(name).dec_len
    assert abs(found.scales[0] * found.scales[1]) == pytest.approx(1, rel=1e-15)
    assert all(step.taps for step in found.steps)


def test_aliases() -> None:
    aliases = {"5/3": "bior2.2", "9/7": "bior4.4", "db1": "haar", "bior1.1": "haar", "rbio1.1": "haar"}
    aliases |= {"sym2": "db2", "sym3": "db3"}
    for alias, name in aliases.items():
        assert scheme(alias) is SCHEMES[name]


@names
def test_filters_are_those_of_pywavelets(name: str) -> None:
    x = tensor(0, 64, dtype=torch.float64)
    for band, expected in zip(dwt1d(x, name), pywt.dwt(x.numpy(), oracle(name), "periodization"), strict=True):
        assert_equals(band, expected)


@pytest.mark.parametrize("name", [*wavelets("sym"), "sym2", "sym3", "bior4.4", "rbio4.4"])
def test_filters_are_those_of_its_table_up_to_the_digits_there(name: str) -> None:
    x = tensor(0, 64, dtype=torch.float64)
    for band, expected in zip(dwt1d(x, name), pywt.dwt(x.numpy(), name, "periodization"), strict=True):
        assert_equals(band, expected, atol=3e-11)


NDWT = {f"db{n}": f"Daubechies{n}" for n in range(2, 11)} | {"coif2": "Coiflet2", "coif3": "Coiflet3", "9/7": "CDF9_7"}
NDWT |= {name: f"Bior{name[4:].replace('.', '_')}" for name in wavelets("bior")} | {"sym5": "Symlet5"}


def test_filters_are_those_of_ndwt() -> None:
    """It has other wavelets with the names bior4.4 and bior6.8, and its sym4 and sym6 are reversed in time."""
    ndwt = pytest.importorskip("ndwt", reason="needs ndwt, a second oracle")
    x = tensor(0, 64, dtype=torch.float64)
    for name in NDWT.keys() - {"bior4.4", "bior6.8"}:
        theirs = ndwt.dwt_per(getattr(ndwt.Wavelet, NDWT[name]), x.numpy(), level=1)
        approx, detail = dwt1d(x, name)
        assert_equals(approx, theirs[:32])
        assert_equals(-detail if name == "bior4.2" else detail, theirs[32:])


def test_names_by_family() -> None:
    assert wavelets("coif") == ["coif1", "coif2", "coif3"]
    assert wavelets() == [name for family in ("haar", "db", "sym", "coif", "bior", "rbio") for name in wavelets(family)]
    with pytest.raises(ValueError, match=r"wavelets needs a family among 'haar', 'db', .*, 'rbio', got 'dmey'$"):
        wavelets("dmey")


def test_nine_seven_has_its_published_coefficients() -> None:
    """As printed in the JPEG 2000 standard."""
    taps = [step.taps[0] for step in scheme("9/7").steps]
    assert taps == pytest.approx(
        [-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971], abs=1e-15
    )
    assert scheme("9/7").scales[0] == pytest.approx(1.149604398860, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "close"),
    [("bior5.5", "'bior3.5'"), ("db", "'db9', 'db8', 'db7'"), ("Haar", "'haar'"), ("", "'haar', '5/3', '9/7'")],
)
def test_unknown_names_are_refused_with_similar_ones(name: str, close: str) -> None:
    with pytest.raises(ValueError, match=rf"^scheme needs a wavelet that .* lists, such as .*{close}.*, got '{name}'$"):
        scheme(name)
