"""NAFNet among the restorers: its sizes and its training; the network itself is tested as `NAFUNet`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from reproduce.baselines.nafnet import nafnet, nafnet_gopro

from liftlayers import NAFUNet
from tests.example.baselines.unets import (
    assert_a_hundred_steps_teach,
    assert_every_weight_has_a_finite_gradient,
    assert_it_saves_and_loads,
    assert_it_starts_as_the_identity,
    num_parameters,
)

each = pytest.mark.parametrize("build", [nafnet, nafnet_gopro])


@pytest.mark.parametrize(("build", "expected"), [(nafnet, 29_159_715), (nafnet_gopro, 17_111_907)])
def test_it_is_of_the_published_size(build: Callable[[], NAFUNet], expected: int) -> None:
    with torch.device("meta"):
        assert num_parameters(build()) == expected


@each
def test_it_starts_as_the_identity(build: Callable[[], NAFUNet]) -> None:
    assert_it_starts_as_the_identity(build())


@each
def test_every_weight_has_a_finite_gradient(build: Callable[[], NAFUNet]) -> None:
    assert_every_weight_has_a_finite_gradient(build())


def test_it_saves_and_loads(tmp_path: Path) -> None:
    assert_it_saves_and_loads(nafnet_gopro, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nafnet", "nafnet_gopro"])
def test_a_hundred_steps_teach_it(name: str) -> None:
    assert_a_hundred_steps_teach(name)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 16, 16)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"NAFUNet needs a \(B, 3, H, W\) tensor, got \((1, 1|3), 16, 16\)$"):
        nafnet_gopro()(torch.zeros(shape))
