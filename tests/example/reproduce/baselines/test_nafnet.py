"""NAFNet among the restorers: its numbers of parameters. The network itself is tested as `NAFUNet`."""

from collections.abc import Callable

import pytest
import torch
from reproduce.baselines.nafnet import nafnet, nafnet_gopro

from liftlayers import NAFUNet
from tests.example.reproduce.baselines.unets import (
    num_parameters,
)

each = pytest.mark.parametrize("build", [nafnet, nafnet_gopro])


@pytest.mark.parametrize(("build", "expected"), [(nafnet, 29_159_715), (nafnet_gopro, 17_111_907)])
def test_it_is_of_the_published_size(build: Callable[[], NAFUNet], expected: int) -> None:
    with torch.device("meta"):
        assert num_parameters(build()) == expected
