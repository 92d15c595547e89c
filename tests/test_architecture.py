"""The floor rule: a module imports only from floors below its own, or from siblings in its own package."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import liftlayers

ROOT = Path(__file__).parents[1]
LIBRARY, EXAMPLES = ROOT / "liftlayers", ROOT / "examples"

FLOORS = {"functional": 0, "layers": 2, "testing": 2, "networks": 3, "interop": 4} | dict.fromkeys(
    ("replay", "drift", "memory", "places", "invertible", "sequential", "accuracy"), 1
)
SIBLINGS = {  # files of the top package on one floor, the one above the other
    ("memory", "drift"),
    ("memory", "replay"),
    ("invertible", "replay"),
    ("sequential", "invertible"),
    ("sequential", "memory"),
    ("sequential", "places"),
    ("sequential", "replay"),
    ("accuracy", "invertible"),
    ("accuracy", "replay"),
}
LIBRARY_NEEDS = {"torch", "einops", "numpy", "liftlayers"}
LIBRARY_MAY_FIND = {"functional/_haar_triton.py": "triton"}  # a file that is imported only where its need is met
PUBLIC_PARTS = {"functional": liftlayers.functional, "testing": liftlayers.testing}


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


def floor_violations(path: str, source: str) -> list[str]:
    """What breaks the floor rule in a file of the library, given by its path inside `liftlayers`."""
    parts = path.removesuffix(".py").split("/")
    if parts == ["__init__"]:
        return []  # the roof: it sees everything
    unit, found = parts[0], []
    for module, name in imports(source, ".".join(["liftlayers", *parts[:-1]])):
        top, *below = module.split(".")
        if top != "liftlayers":
            if top not in LIBRARY_NEEDS and top not in sys.stdlib_module_names and top != LIBRARY_MAY_FIND.get(path):
                found.append(f"`{path}` imports `{top}`, which the library does not need")
            continue
        target = below[0] if below else name if name in FLOORS else "liftlayers"
        allowed = target == unit or (unit, target) in SIBLINGS or FLOORS.get(target, 99) < FLOORS.get(unit, -1)
        if not allowed:
            found.append(f"`{path}` imports `{target}`, which is not below it")
    return found


OF_ALL_BASELINES = {"__init__.py", "published.py"}  # every other file there is one system and imports no other


def example_violations(path: str, source: str) -> list[str]:
    """Imports of a file of the examples that are not public, from pirnet to reproduce, or to another baseline."""
    found = []
    for module, name in imports(source, ".".join(Path(path).parent.parts)):
        top, *below = module.split(".")
        if top == "liftlayers":
            inside = PUBLIC_PARTS.get(below[0]) if len(below) == 1 else None
            public = inside.__all__ if inside else [] if below else liftlayers.__all__
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
def test_library_keeps_the_floor_rule(path: str) -> None:
    assert floor_violations(path, (LIBRARY / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files_of(EXAMPLES))
def test_examples_use_public_names_only(path: str) -> None:
    assert example_violations(path, (EXAMPLES / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files_of(LIBRARY))
def test_every_file_stands_on_a_floor_and_is_short(path: str) -> None:
    unit = path.removesuffix(".py").split("/")[0]
    assert unit in FLOORS or path == "__init__.py"
    assert len((LIBRARY / path).read_text(encoding="utf-8").splitlines()) <= 300


# That the rules catch what they are for


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("layers/lifting.py", "from liftlayers.networks import NAFUNet", "`networks`, which is not below it"),
        ("layers/lifting.py", "import liftlayers.networks.unet as u", "`networks`, which is not below it"),
        ("layers/lifting.py", "from ..networks.unet import NAFUNet", "`networks`, which is not below it"),
        ("layers/lifting.py", "from .. import networks", "`networks`, which is not below it"),
        ("layers/lifting.py", "def f():\n    from liftlayers import networks", "`networks`, which is not below it"),
        ("layers/lifting.py", "from liftlayers import Haar", "`liftlayers`, which is not below it"),
        ("layers/lifting.py", "import liftlayers", "`liftlayers`, which is not below it"),
        ("layers/lifting.py", "from liftlayers.testing import randomise_", "`testing`, which is not below it"),
        ("layers/lifting.py", "from liftlayers.cellar import x", "`cellar`, which is not below it"),
        ("testing.py", "from liftlayers.layers import Haar", "`layers`, which is not below it"),
        ("memory.py", "from liftlayers.invertible import Inverse", "`invertible`, which is not below it"),
        ("functional/haar.py", "from liftlayers.invertible import Inverse", "`invertible`, which is not below it"),
        ("networks/unet.py", "import matplotlib.pyplot as plt", "`matplotlib`, which the library does not need"),
        ("networks/unet.py", "from PIL import Image", "`PIL`, which the library does not need"),
        ("networks/unet.py", "import pirnet", "`pirnet`, which the library does not need"),
    ],
)
def test_bad_imports_are_caught(path: str, source: str, message: str) -> None:
    assert floor_violations(path, source) == [f"`{path}` imports {message}"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("layers/lifting.py", "from liftlayers.invertible import Invertible\nimport liftlayers.functional"),
        ("layers/lifting.py", "from liftlayers.layers.coupling import evaluate\nfrom .coupling import evaluate"),
        ("invertible.py", "from liftlayers.replay import chain\nfrom liftlayers import functional"),
        ("networks/unet.py", "import math\nimport numpy as np\nimport torch.nn.functional as F\nimport einops"),
        ("interop/nafnet.py", "from liftlayers.networks import NAFUNet"),
        ("__init__.py", "from liftlayers.networks import NAFUNet"),
    ],
)
def test_good_imports_are_not(path: str, source: str) -> None:
    assert floor_violations(path, source) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from liftlayers.layers import Haar", "imports `liftlayers.layers.Haar`, which is not public"),
        ("from liftlayers.layers.naf import NAFBlock", "imports `liftlayers.layers.naf.NAFBlock`, which is not public"),
        ("import liftlayers.invertible", "imports `liftlayers.invertible`, which is not public"),
        ("from liftlayers import layers", "imports `liftlayers.layers`, which is not public"),
        ("from liftlayers.functional import _checks", "imports `liftlayers.functional._checks`, which is not public"),
        ("from liftlayers.functional.haar import x", "imports `liftlayers.functional.haar.x`, which is not public"),
        ("import liftlayers\nliftlayers.layers", "uses `liftlayers.layers`, which is not public"),
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
