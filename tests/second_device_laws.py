"""Laws for the simulated device alone; `tests/test_second_device.py` runs them."""

import pytest
import torch

from liftlayers import ConvPredictor, Haar, Invertible, LiftingBlock, Sequential, check_inverse
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_same_gradients, randomise_
from tests.compatibility.layers import case
from tests.memory.helpers import in_saving_modes, with_memory
from tests.registry import ROWS
from tests.second_device import refuse_float64


@pytest.mark.parametrize("name", ROWS)
def test_float64_is_not_needed(name: str) -> None:
    layer, bands = case(name)
    expected = [y.detach() for y in as_tuple(layer(*bands))]
    layer.to("second")
    with refuse_float64():
        outputs = as_tuple(layer(*(band.to("second").requires_grad_(band.is_floating_point()) for band in bands)))
        total = torch.zeros((), device="second")
        for y in outputs:
            total = total + y.sum() if y.requires_grad else total
        if total.requires_grad:
            total.backward()
        found = [*outputs, *(as_tuple(layer.inverse(*outputs)) if isinstance(layer, Invertible) else ())]
    assert all(y.device.type == "second" for y in found)
    for y, z in zip(found, [*expected, *bands], strict=False):
        torch.testing.assert_close(y.detach().cpu(), z, rtol=1e-5, atol=1e-5)


@in_saving_modes
def test_training_needs_no_float64(memory: str) -> None:
    blocks = (LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)) for _ in range(3))
    chain, x = randomise_(Sequential(Haar(), *blocks)).to("second"), torch.rand(2, 3, 8, 8).to("second")
    with refuse_float64():
        assert check_inverse(chain, x).units <= 32
        assert_same_gradients(chain, with_memory(chain, memory), x)
