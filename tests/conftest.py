"""Hypothesis profiles; the order of files; tests marked `gpu` run in full precision, if there is a GPU."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("short", max_examples=4, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(autouse=True)
def _full_precision_on_a_gpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """The laws are about float32 and float64 arithmetic: convolutions use no TF32 and give the same bits twice."""
    if request.node.get_closest_marker("gpu"):
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    else:
        yield


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist would leave the files with the fewest tests to the end, and these are among the longest."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != "test_without_reproduce.py")  # runs the example's tests once more
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
