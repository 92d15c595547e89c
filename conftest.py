"""What doctests find in their namespace without importing it."""

from importlib.util import find_spec

import pytest
import torch

import liftlayers

# Doctests import every module, this one only where its kernels can be.
collect_ignore = [] if find_spec("triton") else ["liftlayers/functional/_haar_triton.py"]


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace.update({name: getattr(liftlayers, name) for name in liftlayers.__all__})
    doctest_namespace.update({name: getattr(liftlayers.testing, name) for name in liftlayers.testing.__all__})
    doctest_namespace.update({name: getattr(liftlayers.functional, name) for name in liftlayers.functional.__all__})
    doctest_namespace.update(torch=torch, nn=torch.nn)
