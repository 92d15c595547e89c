"""Puts the folder of the example on the path, and makes a model of random integers."""

import sys
from pathlib import Path

import pytest
import torch

from liftlayers import frozen
from liftlayers.testing import randomise_

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "lossless")
if EXAMPLE not in sys.path:
    sys.path.append(EXAMPLE)


@pytest.fixture(scope="session")
def weights():
    """Frozen networks with random weights, and the distributions that training starts from."""
    from photo_codec.container import weights_of
    from photo_codec.model import Model
    from photo_codec.training import integer_tables, logistic_tables

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = frozen(randomise_(Model(12)))
    model.tables = torch.from_numpy(integer_tables(logistic_tables()))
    return weights_of(model, b"of tests")
