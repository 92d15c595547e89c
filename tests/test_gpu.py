"""The laws on a CUDA device; skipped where there is none."""

import pytest
import torch
from torch import Tensor

from liftlayers import (
    AdditiveCoupling,
    Inverse,
    MultiTaskNAFUNet,
    NAFUNet,
    check_inverse,
)
from liftlayers._bands import as_tuple
from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.testing import assert_inverts, randomise_
from tests.strategies import INVERTIBLES, deep_chain, listed, tensor

pytestmark = pytest.mark.gpu

names = pytest.mark.parametrize("name", list(INVERTIBLES))
float_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def on_gpu(*bands: Tensor) -> tuple[Tensor, ...]:
    return tuple(band.cuda() for band in bands)


@names
@float_dtypes
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("seed", range(3))
def test_inverts(name: str, dtype: torch.dtype, memory_format: torch.memory_format, seed: int) -> None:
    module, bands = listed(name, seed, dtype=dtype)
    module, bands = module.cuda(), tuple(band.contiguous(memory_format=memory_format) for band in on_gpu(*bands))
    assert_inverts(module, *bands)
    assert_inverts(Inverse(module), *(band.detach() for band in as_tuple(module(*bands))))


@names
def test_agrees_with_the_cpu_in_float64(name: str) -> None:
    module, bands = listed(name, dtype=torch.float64)
    expected = as_tuple(module(*bands))
    for actual, band in zip(as_tuple(module.cuda()(*on_gpu(*bands))), expected, strict=True):
        assert actual.device.type == "cuda"
        torch.testing.assert_close(actual.cpu(), band, rtol=1e-12, atol=1e-12)


@float_dtypes
@pytest.mark.parametrize("num_blocks", [24, 96])
def test_deep_chains_invert(num_blocks: int, dtype: torch.dtype) -> None:
    """At the size of a training crop's bands, where the GPU picks other kernels than for a tiny one."""

    shapes = (2, 3, 112, 112), (2, 9, 112, 112)
    pair = on_gpu(*(tensor(seed, *shape, dtype=dtype) for seed, shape in enumerate(shapes)))
    check = check_inverse(deep_chain(num_blocks, dtype, seed=0).cuda(), *pair)
    assert check.growth <= 4
    assert check.units <= 32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_haar_in_half_precision(dtype: torch.dtype) -> None:
    x = tensor(0, 2, 3, 16, 16, positive=True).to(dtype).cuda()
    returned = haar_synthesis(*haar_analysis(x))
    assert returned.dtype == dtype
    assert float((returned.double() - x.double()).abs().max()) <= 4 * torch.finfo(dtype).eps


def test_a_mixed_batch_equals_its_images_one_by_one() -> None:
    tasks = ("denoise", "deblur", "sr")
    net = MultiTaskNAFUNet(3, 8, encoder=(1, 1), middles=(0, 1, 1), decoder_middle=1, decoder=(1, 1), tasks=tasks)
    net = randomise_(net.double()).cuda()
    x, names_of_x = tensor(0, 4, 3, 13, 10, dtype=torch.float64).cuda(), ("sr", "denoise", "deblur", "denoise")
    one_by_one = torch.cat([net(image[None], task) for image, task in zip(x, names_of_x, strict=True)])
    torch.testing.assert_close(net(x, names_of_x), one_by_one, rtol=1e-10, atol=1e-10)


def test_networks_start_as_the_identity() -> None:
    x = tensor(0, 1, 3, 17, 20, positive=True).cuda()
    assert torch.equal(NAFUNet(3, 8, encoder=(1, 1), middle=1, decoder=(1, 1)).cuda()(x), x)


def test_bands_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="haar_synthesis needs its bands on one device, got cpu and cuda:0"):
        haar_synthesis(torch.zeros(1, 3, 4, 4), torch.zeros(1, 9, 4, 4, device="cuda"))
    with pytest.raises(ValueError, match="AdditiveCoupling needs its bands on one device, got cuda:0 and cpu"):
        AdditiveCoupling(torch.nn.Identity())(torch.zeros(1, 2, device="cuda"), torch.zeros(1, 2))
