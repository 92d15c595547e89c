"""The public list: sorted, complete, and documented with examples that run."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

import liftlayers
from liftlayers import functional, interop, testing

# Imported by full name, since `liftlayers.exact` is the function.
PACKAGES = [
    importlib.import_module(f"liftlayers.{name}") for name in ("accuracy", "chains", "couplings", "exact", "invertible")
]
NAMESPACES: list[ModuleType] = [liftlayers, functional, interop, testing, *PACKAGES]


def public_objects() -> dict[str, object]:
    found: dict[str, object] = {}
    for namespace in (liftlayers, functional, interop, testing):
        found |= {f"{namespace.__name__}.{name}": getattr(namespace, name) for name in namespace.__all__}
    return {name: value for name, value in found.items() if not isinstance(value, ModuleType)}


OBJECTS = public_objects()
CLASSES = {name: value for name, value in OBJECTS.items() if isinstance(value, type)}
FUNCTIONS = {name: value for name, value in OBJECTS.items() if inspect.isfunction(value)}
FLAGGED = {"liftlayers.interop.AsFrEIA"}  # has FrEIA's interface, whose `rev` is a flag


def documented(value: object) -> str:
    return inspect.getdoc(value) or ""


def section(text: str, title: str) -> str:
    """What stands under a heading of a Google-style docstring."""
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)+)", text, flags=re.MULTILINE)
    return found.group(1) if found else ""


@pytest.mark.parametrize("namespace", NAMESPACES, ids=lambda namespace: namespace.__name__)
def test_lists_are_sorted_and_name_existing_objects(namespace: ModuleType) -> None:
    assert list(namespace.__all__) == sorted(set(namespace.__all__))
    assert all(hasattr(namespace, name) for name in namespace.__all__)


def test_the_list_is_complete() -> None:
    """Every public name of a package can be imported from `liftlayers`."""
    for namespace in PACKAGES:
        for name in namespace.__all__:
            assert name in liftlayers.__all__, name
            assert getattr(liftlayers, name) is getattr(namespace, name)
    assert {"functional", "interop", "testing"} <= set(liftlayers.__all__)
    imported = {name for name, value in vars(liftlayers).items() if isinstance(value, type)}
    assert imported <= set(liftlayers.__all__)


def test_every_promised_name_exists() -> None:
    """Names that others rely on: more may be added, and none removed."""
    promised = """AdditiveCoupling ConvPredictor Haar Inverse Invertible LayerNorm2d LiftingBlock LiftingPyramid
    MultiTaskNAFUNet NAFBlock NAFUNet Predict ResidualPredictor Sequential SimpleGate Update check_inverse"""
    assert set(promised.split()) <= set(liftlayers.__all__)
    assert {"haar_analysis", "haar_synthesis"} <= set(functional.__all__)
    assert {"assert_inverts", "assert_same_gradients", "randomise_"} <= set(testing.__all__)


@pytest.mark.parametrize("name", list(OBJECTS))
def test_every_public_object_has_a_docstring_with_an_example(name: str) -> None:
    text = documented(OBJECTS[name])
    assert text.split("\n")[0].endswith("."), "the first line is one sentence"
    example = section(text, "Example")
    assert ">>> " in example, "an Example: section with a doctest"
    shown = [line for line in example.split("\n") if line.strip() and not line.lstrip().startswith((">>>", "..."))]
    assert shown or ">>> assert_" in example, "the example shows a result, or asserts one"


@pytest.mark.parametrize("name", list(OBJECTS))
def test_every_public_object_has_an_equation_its_errors_and_a_source(name: str) -> None:
    text = documented(OBJECTS[name])
    assert ".. math::" in text
    assert section(text, "References").strip(), "a References: section"
    if not (name in CLASSES and issubclass(CLASSES[name], tuple)):  # a record raises nothing
        assert re.search(r"^ +[A-Z]\w+Error: \S", section(text, "Raises"), flags=re.MULTILINE), "a Raises: section"


@pytest.mark.parametrize("name", [name for name, value in CLASSES.items() if issubclass(value, nn.Module)])
def test_every_public_module_documents_its_arguments_and_shapes(name: str) -> None:
    kind = CLASSES[name]
    text, own = documented(kind), "__init__" in vars(kind)
    arguments = [name for name in inspect.signature(kind.__init__).parameters if name != "self"] if own else []
    for argument in arguments:
        assert re.search(rf"^ +{argument}: \S", section(text, "Args"), flags=re.MULTILINE), argument
    assert section(text, "Shape").strip(), "a Shape: section"


@pytest.mark.parametrize("name", list(CLASSES))
def test_every_public_method_is_documented(name: str) -> None:
    """By its own docstring or that of the method that it overrides."""
    kind = CLASSES[name]
    for attribute, value in vars(kind).items():
        if not attribute.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert documented(getattr(kind, attribute)), attribute


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_every_public_function_documents_its_arguments(name: str) -> None:
    text, function = documented(FUNCTIONS[name]), FUNCTIONS[name]
    assert callable(function)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^ +{argument}: \S", section(text, "Args"), flags=re.MULTILINE), argument


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - FLAGGED))
def test_public_methods_name_no_direction_by_a_flag(name: str) -> None:
    """Two methods, no flag."""
    for method in ("forward", "inverse"):
        if function := getattr(CLASSES[name], method, None):
            assert not {"rev", "reverse", "inverse", "direction"} & set(inspect.signature(function).parameters)


def test_version_is_three_numbers() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", liftlayers.__version__)


def test_the_compiler_is_not_imported() -> None:
    """It would double the time until `import liftlayers` is done."""
    code = "import liftlayers, sys; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
