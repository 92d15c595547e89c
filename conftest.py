"""What doctests of docstrings find in their namespace without importing it; threads of tests that share a machine."""

import os
from importlib.util import find_spec

import pytest
import torch

import liftlayers

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: more threads would wait for one another
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start, whose bits are compared with these

# Doctests import every module, but these only where their needs are met.
HUB = "liftlayers/interop/hub.py", *(f"examples/pirnet/pirnet/support/{name}.py" for name in ("hub", "model_card"))
NEEDS = {
    "huggingface_hub": (*HUB, "docs/hub.md"),
    "sphinx": ("docs/mathml.py",),
    "triton": ("liftlayers/functional/_haar_triton.py",),
}
collect_ignore = [file for need, files in NEEDS.items() if not find_spec(need) for file in files]


@pytest.fixture(autouse=True)
def _doctest_names(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Docstrings find public names; pages import what they use, as who copies from them has to."""
    doctest_namespace.clear()
    if request.path.suffix == ".md":
        return
    for namespace in (liftlayers, liftlayers.testing, liftlayers.functional):
        doctest_namespace.update({name: getattr(namespace, name) for name in namespace.__all__})
    doctest_namespace.update(torch=torch, nn=torch.nn)
