"""What doctests find in their namespace without importing it."""

import pytest
import torch

import liftlayers


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace.update({name: getattr(liftlayers, name) for name in liftlayers.__all__})
    doctest_namespace.update({name: getattr(liftlayers.testing, name) for name in liftlayers.testing.__all__})
    doctest_namespace.update({name: getattr(liftlayers.functional, name) for name in liftlayers.functional.__all__})
    doctest_namespace.update(torch=torch, nn=torch.nn)
