"""The GPU's kernels give the plain form's bits: on a GPU, and without one in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from liftlayers.functional import _haar_backends as forms
from liftlayers.functional import haar_analysis, haar_synthesis
from tests.strategies import tensor

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")

# Tiles that end within a row, between rows and between images; one row or column; an odd number of columns.
SHAPES = [(1, 1, 2, 2), (2, 3, 4, 6), (2, 1, 2, 2), (1, 3, 34, 258), (3, 2, 10, 600), (1, 1, 2, 1030), (2, 5, 64, 2)]

INTERPRETED = f"""
import torch
from liftlayers.functional import _haar_backends as forms, _haar_triton as kernels

for dtype in (torch.float16, torch.float32, torch.float64):  # the interpreter knows no arithmetic of bfloat16
    for shape in {SHAPES}:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        bands = forms.plain_analysis(x)
        assert all(torch.equal(y, z) for y, z in zip(kernels.analysis(x), bands, strict=True)), (dtype, shape)
        assert torch.equal(kernels.synthesis(*bands), forms.plain_synthesis(*bands)), (dtype, shape)
print("same bits")
"""


@needs_triton
def test_interpreted_kernels_give_the_same_bits() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # it is read once, when Triton is imported
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "same bits\n"


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_kernels_give_the_same_bits(dtype: torch.dtype) -> None:
    assert forms._kernels() is not None
    for shape in [*SHAPES, (16, 12, 256, 256)]:
        x = tensor(0, *shape).to(dtype).cuda().requires_grad_()
        bands, expected = haar_analysis(x), forms.plain_analysis(x)
        for band, wanted in zip(bands, expected, strict=True):
            assert torch.equal(band, wanted)
        returned = haar_synthesis(*bands)
        assert torch.equal(returned, forms.plain_synthesis(*expected))
        (gradient,) = torch.autograd.grad(returned, x, x.detach())
        assert torch.equal(gradient, forms.plain_synthesis(*forms.plain_analysis(x)))


@pytest.mark.gpu
def test_other_layouts_on_a_gpu() -> None:
    for x in (tensor(0, 2, 3, 6, 4).mT, tensor(0, 2, 3, 4, 6).contiguous(memory_format=torch.channels_last)):
        for band, expected in zip(haar_analysis(x.cuda()), forms.plain_analysis(x), strict=True):
            assert torch.equal(band.cpu(), expected)
    assert haar_analysis(torch.zeros(0, 3, 4, 6, device="cuda"))[1].shape == (0, 9, 2, 3)


@pytest.mark.gpu
@pytest.mark.slow
@needs_triton
def test_more_numbers_than_32_bits_count() -> None:
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of GPU memory")
    x = torch.zeros(9, 16, 4096, 4096, dtype=torch.float16, device="cuda")
    x[-1] = torch.rand_like(x[-1])
    bands = haar_analysis(x)
    for band, expected in zip(bands, forms.plain_analysis(x[-1:]), strict=True):
        assert torch.equal(band[-1:], expected)
        assert not band[:-1].any()
    assert torch.equal(haar_synthesis(*bands)[-1:], forms.plain_synthesis(*(band[-1:] for band in bands)))
