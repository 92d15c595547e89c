"""assert_same_integers catches what depends on the way of evaluation."""

import pytest
import torch
from torch import Tensor, nn

from liftlayers import ConvPredictor, IntegerNetwork, IntegerPredictor
from liftlayers.testing import assert_same_integers, randomise_
from tests.nn.integers import numbers


class OfTheBatch(IntegerNetwork):
    def forward(self, x: Tensor) -> Tensor:
        return x + (len(x) > 8)


class OfTheThreads(IntegerNetwork):
    def forward(self, x: Tensor) -> Tensor:
        return x + 2 * (torch.get_num_threads() == 2)


class OfTheLayout(IntegerNetwork):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.is_contiguous() else -x


@pytest.mark.parametrize(
    ("network", "path"),
    [(OfTheBatch(), "batch of 16"), (OfTheThreads(), "two threads"), (OfTheLayout(), "channels last")],
)
def test_what_depends_on_a_path_is_caught(network: nn.Module, path: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.raises(AssertionError, match=rf"output 0 of Of\w+ differs in .* of .*: {path}"):
            assert_same_integers(network, numbers(0, 2, 2, 3, 4) | 1)
    finally:
        torch.set_num_threads(threads)


def test_the_message_has_the_figures() -> None:
    with pytest.raises(AssertionError, match="differs in 4 of 4 numbers, by 1 at most: batch of 16"):
        assert_same_integers(OfTheBatch(), torch.zeros(1, 1, 2, 2))


def test_networks_of_floats_are_caught() -> None:
    with pytest.raises(AssertionError, match="inputs, weights or biases that are no integers, up to a power of two"):
        assert_same_integers(randomise_(ConvPredictor(1, 1)), torch.zeros(1, 1, 4, 4))


def test_unknown_paths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs paths among 'as it is', .*, got 'tpu'"):
        assert_same_integers(IntegerPredictor(1, 1), torch.zeros(1, 1, 4, 4), paths=["tpu"])
