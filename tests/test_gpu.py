"""What only a GPU shows: the bits of the CPU, the sizes of its own kernels, streams, several devices.

The laws run on a GPU in their own files, where the device is a parameter; see `tests/devices.py`.
"""

import pytest
import torch

from liftlayers import AdditiveCoupling, IntegerPredictor, check_inverse
from liftlayers._bands import as_tuple
from liftlayers.functional import haar_synthesis
from liftlayers.testing import randomise_
from tests.memory.helpers import MODES, assert_close, forward_step, gradients_of, grads, leaves, loss, stack
from tests.nn.integers import FIXED_SHA256, fixed_network, sha256
from tests.registry import LAWS, deep_chain, listed
from tests.strategies import Case
from tests.tensors import tensor

pytestmark = pytest.mark.gpu

names = pytest.mark.parametrize("name", LAWS)
float_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@names
def test_agrees_with_the_cpu_in_float64(name: str) -> None:
    case = listed(name, dtype=torch.float64)
    expected = as_tuple(case.module(*case.bands))
    module, bands = case.to("cuda")
    for actual, band in zip(as_tuple(module(*bands)), expected, strict=True):
        assert actual.device.type == "cuda"
        torch.testing.assert_close(actual.cpu(), band, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["Swap", "Split", "PixelUnshuffle"])
def test_permutations_give_the_bits_of_the_cpu(name: str) -> None:
    case = listed(name)
    expected = as_tuple(case.module(*case.bands))
    module, bands = case.to("cuda")
    assert all(torch.equal(y.cpu(), z) for y, z in zip(as_tuple(module(*bands)), expected, strict=True))


def test_networks_of_integers_return_the_numbers_of_the_cpu() -> None:
    network, x = fixed_network()
    assert sha256(network.cuda()(x.cuda())) == FIXED_SHA256
    trained = randomise_(IntegerPredictor(3, 9, num_hidden=2))
    assert torch.equal(trained.cuda()(x.cuda()).cpu(), trained.cpu()(x))


@float_dtypes
@pytest.mark.parametrize("num_blocks", [24, 96])
def test_deep_chains_invert(num_blocks: int, dtype: torch.dtype) -> None:
    """At the size of a training crop's bands, where the GPU picks other kernels than for a tiny one."""
    shapes = (2, 3, 112, 112), (2, 9, 112, 112)
    pair = tuple(tensor(seed, *shape, dtype=dtype) for seed, shape in enumerate(shapes))
    module, bands = Case(deep_chain(num_blocks, dtype, seed=0), pair).to("cuda")
    check = check_inverse(module, *bands)
    assert check.growth <= 4
    assert check.units <= 32


@pytest.mark.parametrize("memory", MODES)
def test_a_training_step_on_another_stream(memory: str) -> None:
    """Bands are rebuilt on the stream of the forward pass, whichever stream calls backward."""
    expected = gradients_of(stack(3), forward_step, device="cuda")
    chain, bands = stack(3, memory=memory).double().cuda(), leaves(torch.float64, "cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        total = loss(*chain(*bands))
    total.backward()
    torch.cuda.synchronize()
    actual = dict(zip(expected, grads((*bands, *chain.parameters())).values(), strict=True))
    assert_close(actual, expected)


def test_bands_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="haar_synthesis needs its bands on one device, got cpu and cuda:0"):
        haar_synthesis(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4, device="cuda"))
    with pytest.raises(ValueError, match="AdditiveCoupling needs its bands on one device, got cuda:0 and cpu"):
        AdditiveCoupling(torch.nn.Identity())(torch.zeros(1, 2, device="cuda"), torch.zeros(1, 2))
