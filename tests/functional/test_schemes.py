"""The lifting steps of every name are PyWavelets' filters, well conditioned, and those of their derivation."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from liftlayers.functional.schemes import SCHEMES, filter_length, scheme
from tests.functional.wavelets import oracle

pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")
SCRIPT = Path(__file__).parents[2] / "docs" / "derivations" / "lifting_schemes.py"
names = pytest.mark.parametrize("name", list(SCHEMES))


@pytest.fixture(scope="module")
def derivation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lifting_schemes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LONG = ("db5", "db6", "db7", "db8", "coif2")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SCHEMES])
def test_literals_are_those_of_the_derivation(derivation: ModuleType, name: str) -> None:
    found = derivation.derive(name)
    assert found.condition < 13
    assert derivation.error(name, found) < 1e-14
    assert len(found.steps) == len(scheme(name).steps)
    for (target, taps), step in zip(found.steps, scheme(name).steps, strict=True):
        assert (target, taps.first) == (step.target, step.first)
        assert tuple(map(float, taps.terms)) == pytest.approx(step.taps, rel=1e-13)
    assert found.scales == pytest.approx(scheme(name).scales, rel=1e-13)


@pytest.mark.slow
def test_ill_conditioned_wavelets_are_left_out(derivation: ModuleType) -> None:
    assert derivation.derive("bior5.5").condition == pytest.approx(101.7, abs=0.1)


@pytest.mark.parametrize("name", ["db4", "db5", "db6", "db7", "db8", "coif2"])
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
    assert scheme("5/3") is SCHEMES["bior2.2"]
    assert scheme("9/7") is SCHEMES["bior4.4"]


def test_nine_seven_has_its_published_coefficients() -> None:
    """As printed in the JPEG 2000 standard."""
    taps = [step.taps[0] for step in scheme("9/7").steps]
    assert taps == pytest.approx(
        [-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971], abs=1e-15
    )
    assert scheme("9/7").scales[0] == pytest.approx(1.149604398860, abs=1e-12)


@pytest.mark.parametrize("name", ["bior5.5", "", "Haar", "sym4"])
def test_unknown_names_are_refused_with_the_list(name: str) -> None:
    with pytest.raises(ValueError, match=rf"scheme needs a wavelet among haar, db2, .*, 5/3, 9/7, got '{name}'$"):
        scheme(name)
