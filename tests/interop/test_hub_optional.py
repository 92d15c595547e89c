"""huggingface_hub is optional: only what is named here imports it, and an error says what to install."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUPPORT = "examples/pirnet/pirnet/support"
MAY_IMPORT = {"liftlayers/interop/hub.py", f"{SUPPORT}/hub.py", f"{SUPPORT}/model_card.py"}
OPTIONAL = {"huggingface_hub", "liftlayers.interop.hub", "pirnet.support.hub", "pirnet.support.model_card"}


def test_nothing_else_imports_it() -> None:
    """Neither the library nor the scripts nor `hubconf.py`, at no time."""
    files = [*ROOT.glob("*.py"), *(path for name in ("liftlayers", "examples") for path in (ROOT / name).rglob("*.py"))]
    found = set()
    for path in files:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "hub" in text or "model_card" in text else ():
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{name}" for name in names} | {str(node.module)}
            if names & OPTIONAL:
                found.add(path.relative_to(ROOT).as_posix())
    assert found == MAY_IMPORT


@pytest.mark.parametrize("missing", ["huggingface_hub", "safetensors.torch"])
def test_without_a_package_the_error_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "liftlayers.interop.hub", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"needs the packages huggingface_hub and safetensors: .* `hub`$"):
        importlib.import_module("liftlayers.interop.hub")
