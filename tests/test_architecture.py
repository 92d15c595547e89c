"""The dependency rule: a package of the library imports only from packages below its own."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import liftlayers

ROOT = Path(__file__).parents[1]
LIBRARY, EXAMPLES = ROOT / "liftlayers", ROOT / "examples"

LAYERS = (  # from the bottom up; packages and modules of one layer do not import each other
    ("_checks", "_bands", "_graphs", "_random"),
    ("_maps",),
    ("functional",),
    ("invertible",),
    ("memory", "nn"),
    ("couplings", "mixing", "chains"),
    ("wavelets", "accuracy"),
    ("exact", "testing"),
    ("interop",),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
LIBRARY_NEEDS = {"torch", "einops", "numpy", "liftlayers"}
LIBRARY_MAY_FIND = {
    "functional/_haar_triton.py": "triton",
    "testing/integers.py": "onnxruntime",
    "interop/hub.py": "huggingface_hub safetensors",
}  # a file that is imported only where its needs are met
PUBLIC_PARTS = {
    "functional": liftlayers.functional.__all__,
    "testing": liftlayers.testing.__all__,
    "interop.hub": ["NAFUNet", "Pretrained"],
}


def imports(source: str, package: str) -> Iterator[tuple[str, str | None]]:
    """Every import, wherever it stands: the module in full, and the name taken from it if there is one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield module, alias.name


def dependency_violations(path: str, source: str) -> list[str]:
    """Returns what breaks the dependency rule in a file of the library, given by its path inside `liftlayers`."""
    parts = path.removesuffix(".py").split("/")
    if parts == ["__init__"]:
        return []  # it exports everything
    package, found, optional = parts[0], [], LIBRARY_MAY_FIND.get(path, "").split()
    for module, name in imports(source, ".".join(["liftlayers", *parts[:-1]])):
        top, *below = module.split(".")
        if top != "liftlayers":
            if top not in LIBRARY_NEEDS and top not in sys.stdlib_module_names and top not in optional:
                found.append(f"`{path}` imports `{top}`, which the library does not need")
            continue
        target = below[0] if below else name if name in HEIGHT else "liftlayers"
        if target != package and HEIGHT.get(target, 99) >= HEIGHT.get(package, -1):
            found.append(f"`{path}` imports `{target}`, which is not below `{package}`")
    return found


OF_ALL_BASELINES = {"__init__.py", "published.py"}  # every other file there is one system and imports no other


def example_violations(path: str, source: str) -> list[str]:
    """Imports of a file of the examples that are not public, from pirnet to reproduce, or to another baseline."""
    found = []
    for module, name in imports(source, ".".join(Path(path).parent.parts)):
        top, *below = module.split(".")
        if top == "liftlayers":
            inside = PUBLIC_PARTS.get(".".join(below))
            public = inside or ([] if below else liftlayers.__all__)
            if name is None and (inside or not below):
                continue
            if name not in public:
                taken = f"{module}.{name}" if name else module
                found.append(f"`{path}` imports `{taken}`, which is not public")
        elif top == "reproduce" and path.startswith("pirnet/pirnet/"):
            found.append(f"`{path}` imports `{module}`, without which `pirnet/` has to work")
        elif "baselines" in Path(path).parent.parts and Path(path).name not in OF_ALL_BASELINES:
            whole = f"{module}.{name}" if name else module
            package, _, rest = whole.partition("baselines.")
            if rest and package.endswith((".", "")) and Path(path).with_suffix("").parts[-1] != rest.split(".")[-1]:
                found.append(f"`{path}` imports `baselines.{rest}`, another baseline")
    attributes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    used = (node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "liftlayers")
    public = {*liftlayers.__all__, "__version__"}
    return found + [f"`{path}` uses `liftlayers.{name}`, which is not public" for name in used if name not in public]


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))


@pytest.mark.parametrize("path", files_of(LIBRARY))
def test_library_keeps_the_dependency_rule(path: str) -> None:
    assert dependency_violations(path, (LIBRARY / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files_of(EXAMPLES))
def test_examples_use_public_names_only(path: str) -> None:
    assert example_violations(path, (EXAMPLES / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files_of(LIBRARY))
def test_every_file_is_in_a_known_package_and_is_short(path: str) -> None:
    unit = path.removesuffix(".py").split("/")[0]
    assert unit in HEIGHT or path == "__init__.py"
    assert len((LIBRARY / path).read_text(encoding="utf-8").splitlines()) <= 250


# That the rules catch what they are for


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("couplings/lifting.py", "from liftlayers.wavelets import Haar", "`wavelets`, which is not below `couplings`"),
        ("couplings/lifting.py", "import liftlayers.exact.plan as p", "`exact`, which is not below `couplings`"),
        ("couplings/lifting.py", "from ..wavelets.named import Haar", "`wavelets`, which is not below `couplings`"),
        ("couplings/lifting.py", "from .. import wavelets", "`wavelets`, which is not below `couplings`"),
        ("couplings/lifting.py", "from liftlayers.chains import Parallel", "`chains`, which is not below `couplings`"),
        ("chains/pyramid.py", "def f():\n    from liftlayers import exact", "`exact`, which is not below `chains`"),
        ("chains/pyramid.py", "from liftlayers import Haar", "`liftlayers`, which is not below `chains`"),
        ("chains/pyramid.py", "import liftlayers", "`liftlayers`, which is not below `chains`"),
        ("chains/pyramid.py", "from liftlayers.testing import randomise_", "`testing`, which is not below `chains`"),
        ("chains/pyramid.py", "from liftlayers.unknown import x", "`unknown`, which is not below `chains`"),
        ("unknown.py", "from liftlayers.functional import haar", "`functional`, which is not below `unknown`"),
        ("testing.py", "from liftlayers.interop import bands", "`interop`, which is not below `testing`"),
        ("memory/reversible.py", "from liftlayers.chains import Parallel", "`chains`, which is not below `memory`"),
        ("functional/haar.py", "from liftlayers.invertible import x", "`invertible`, which is not below `functional`"),
        ("nn/unet.py", "import matplotlib.pyplot as plt", "`matplotlib`, which the library does not need"),
        ("nn/unet.py", "from PIL import Image", "`PIL`, which the library does not need"),
        ("nn/unet.py", "import pirnet", "`pirnet`, which the library does not need"),
    ],
)
def test_bad_imports_are_caught(path: str, source: str, message: str) -> None:
    assert dependency_violations(path, source) == [f"`{path}` imports {message}"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("couplings/lifting.py", "from liftlayers.invertible import Invertible\nimport liftlayers.functional"),
        ("couplings/lifting.py", "from liftlayers.couplings.additive import x\nfrom .additive import y"),
        ("chains/pyramid.py", "from liftlayers.memory.reversible import x\nfrom liftlayers import functional"),
        ("nn/unet.py", "import math\nimport numpy as np\nimport torch.nn.functional as F\nimport einops"),
        ("interop/nafnet.py", "from liftlayers.nn import NAFUNet"),
        ("__init__.py", "from liftlayers.nn import NAFUNet"),
    ],
)
def test_good_imports_are_not(path: str, source: str) -> None:
    assert dependency_violations(path, source) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from liftlayers.nn import Haar", "imports `liftlayers.nn.Haar`, which is not public"),
        ("from liftlayers.nn.naf import NAFBlock", "imports `liftlayers.nn.naf.NAFBlock`, which is not public"),
        ("import liftlayers.invertible", "imports `liftlayers.invertible`, which is not public"),
        ("from liftlayers import nn", "imports `liftlayers.nn`, which is not public"),
        ("from liftlayers.functional import _checks", "imports `liftlayers.functional._checks`, which is not public"),
        ("from liftlayers.functional.haar import x", "imports `liftlayers.functional.haar.x`, which is not public"),
        ("import liftlayers\nliftlayers.nn", "uses `liftlayers.nn`, which is not public"),
        ("from .ridnet import RIDNet", "imports `baselines.ridnet.RIDNet`, another baseline"),
        ("from . import ridnet", "imports `baselines.ridnet`, another baseline"),
        ("from reproduce.baselines.ridnet import x", "imports `baselines.ridnet.x`, another baseline"),
    ],
)
def test_bad_imports_of_an_example_are_caught(source: str, message: str) -> None:
    path = "pirnet/reproduce/baselines/dncnn.py"
    assert example_violations(path, source) == [f"`{path}` {message}"]


@pytest.mark.parametrize(
    "source",
    [
        "import liftlayers\nliftlayers.Haar()\nliftlayers.__version__",
        "from liftlayers import Haar, Sequential, functional, testing",
        "from liftlayers.functional import haar_analysis\nimport liftlayers.testing",
        "import matplotlib.pyplot as plt\nfrom PIL import Image\nfrom pirnet.images import read_picture",
    ],
)
def test_public_imports_of_an_example_are_fine(source: str) -> None:
    assert example_violations("pirnet/reproduce/baselines/dncnn.py", source) == []


@pytest.mark.parametrize("source", ["import reproduce.attacks", "from reproduce.attacks import Attacks"])
def test_pirnet_does_not_import_reproduce(source: str) -> None:
    path = "pirnet/pirnet/support/report.py"
    message = f"`{path}` imports `reproduce.attacks`, without which `pirnet/` has to work"
    assert example_violations(path, source) == [message]
    assert example_violations("pirnet/reproduce/compare.py", source) == []


@pytest.mark.parametrize("path", files_of(EXAMPLES))
def test_files_of_the_examples_are_short(path: str) -> None:
    assert len((EXAMPLES / path).read_text(encoding="utf-8").splitlines()) <= 250


def test_pirnet_can_be_read_in_an_hour() -> None:
    assert len(list((EXAMPLES / "pirnet" / "pirnet").glob("*.py"))) <= 14


@pytest.mark.parametrize("name", ["__init__", "published"])
def test_what_is_of_all_baselines_may_import_them(name: str) -> None:
    assert example_violations(f"pirnet/reproduce/baselines/{name}.py", "from .ridnet import RIDNet") == []
