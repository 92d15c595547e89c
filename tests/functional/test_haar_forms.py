"""The fast forms of the Haar transform give the bits of the plain form, which transforms and tracers see instead."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import Mock, patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import liftlayers
from liftlayers.functional import _haar_backends as forms
from liftlayers.functional import haar_analysis, haar_synthesis
from tests.strategies import seeds, tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@contextmanager
def blocks_of(numbers: int) -> Iterator[None]:
    """Within, images of every size go through the blocked form, in blocks as small as that."""
    with patch.multiple(forms, SMALL=0, BLOCK=numbers):
        yield


def strided(seed: int, layout: str, *shape: int) -> Tensor:
    """Normal numbers in a tensor of some layout in memory."""
    batch, channels, height, width = shape
    if layout == "channels last":
        return tensor(seed, *shape).contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return tensor(seed, batch, channels, width, height).mT
    if layout == "permuted":
        return tensor(seed, channels, batch, height, width).transpose(0, 1)
    if layout == "sliced":
        return tensor(seed, batch, channels + 2, height + 3, width + 5)[:, 1:-1, 2:-1, 3:-2]
    if layout == "stepped":
        return tensor(seed, batch, channels, 2 * height, 2 * width)[:, :, 1::2, ::2]
    if layout == "expanded":
        return tensor(seed, 1, channels, height, 1).expand(shape)
    return tensor(seed, *shape)


layouts = st.sampled_from(["contiguous", "channels last", "transposed", "permuted", "sliced", "stepped", "expanded"])
channels = st.sampled_from([1, 2, 3, 4, forms.FEW, forms.WIDENED])  # channels last take several paths
shapes = st.tuples(st.integers(0, 3), channels, st.integers(1, 5), st.integers(1, 5))
magnitudes = st.sampled_from([1e-6, 1.0, 1e4])  # sums of float16 leave its range at both ends


@given(
    shape=shapes,
    layout=layouts,
    dtype=st.sampled_from(DTYPES),
    scale=magnitudes,
    numbers=st.sampled_from([1, 50, 2**18]),
    seed=seeds(),
)
def test_blocked_form_gives_the_same_bits(
    shape: tuple[int, int, int, int], layout: str, dtype: torch.dtype, scale: float, numbers: int, seed: int
) -> None:
    batch, channels, height, width = shape
    given = (
        strided(seed, layout, batch, channels, 2 * height, 2 * width),
        strided(seed + 1, layout, batch, channels, height, width),
        strided(seed + 2, layout, batch, 3 * channels, height, width),
    )
    x, approx, detail = (y.to(dtype) if scale == 1 else (scale * y).to(dtype) for y in given)
    before = [y.clone() for y in (x, approx, detail)]
    with blocks_of(numbers):
        actual = (*haar_analysis(x), haar_synthesis(approx, detail))
    expected = (*forms.plain_analysis(x), forms.plain_synthesis(approx, detail))
    for y, z in zip(actual, expected, strict=True):
        assert y.dtype == dtype
        torch.testing.assert_close(y, z, rtol=0, atol=0, equal_nan=True)
    assert all(torch.equal(y, z) for y, z in zip((x, approx, detail), before, strict=True))


@given(sides=st.lists(st.integers(1, 4), min_size=1, max_size=3), numbers=st.sampled_from([1, 50]), seed=seeds())
def test_blocked_form_gives_the_same_bits_for_lines_and_volumes(sides: list[int], numbers: int, seed: int) -> None:
    x = tensor(seed, 2, 3, *(2 * side for side in sides)).requires_grad_()
    dims = len(sides)
    with blocks_of(numbers):
        bands = haar_analysis(x, spatial_dims=dims)
        returned = haar_synthesis(*bands, spatial_dims=dims)
        gradient = torch.autograd.grad(sum((band * band.detach()).sum() for band in bands), x)[0]  # type: ignore[arg-type]
    assert all(map(torch.equal, bands, forms.plain_analysis(x)))
    assert torch.equal(returned, forms.plain_synthesis(*bands))
    torch.testing.assert_close(gradient, x.detach(), rtol=0, atol=1e-5)  # of an orthogonal transform


def test_images_above_the_threshold_take_the_blocked_form() -> None:
    """Without a patch: a batch in blocks of images, an image in blocks of rows, with a smaller last block."""
    for shape in ((5, 3, 224, 240), (1, 3, 700, 612)):
        x = tensor(0, *shape)
        with patch.object(forms, "_blocked_analysis", wraps=forms._blocked_analysis) as blocked:
            bands = haar_analysis(x)
        assert blocked.called
        for band, expected in zip(bands, forms.plain_analysis(x), strict=True):
            assert torch.equal(band, expected)
        assert torch.equal(haar_synthesis(*bands), forms.plain_synthesis(*bands))


@pytest.mark.parametrize("numbers", [1, 2**18])
def test_layout_of_the_results(numbers: int) -> None:
    with blocks_of(numbers):
        for layout in ("contiguous", "sliced", "permuted"):
            bands = haar_analysis(strided(0, layout, 2, 3, 4, 6))
            assert all(band.is_contiguous() for band in bands)
            assert haar_synthesis(*bands).is_contiguous()
        bands = haar_analysis(strided(0, "channels last", 2, 3, 4, 6))
        assert all(band.is_contiguous(memory_format=torch.channels_last) for band in bands)
        assert haar_synthesis(*bands).is_contiguous()


# Derivatives


@given(shape=shapes, layout=layouts, seed=seeds())
def test_gradient_is_the_other_transform(shape: tuple[int, int, int, int], layout: str, seed: int) -> None:
    batch, channels, height, width = shape
    image = strided(seed, layout, batch, channels, 2 * height, 2 * width)
    bands = tuple(strided(seed + k, layout, batch, k * channels, height, width) for k in (1, 3))
    with blocks_of(50):
        leaf, leaves = image.clone().requires_grad_(), tuple(band.clone().requires_grad_() for band in bands)
        (gradient,) = torch.autograd.grad(haar_analysis(leaf), leaf, bands)
        gradients = torch.autograd.grad(haar_synthesis(*leaves), leaves, image)
    assert torch.equal(gradient, forms.plain_synthesis(*bands))
    for actual, expected in zip(gradients, forms.plain_analysis(image), strict=True):
        assert torch.equal(actual, expected)
    assert leaf.grad is None


@pytest.mark.filterwarnings("ignore:Please use `torch.vmap`:FutureWarning")  # of torch 2.6, about its own code
def test_derivatives_of_the_blocked_form_also_in_batches() -> None:
    x = tensor(0, 1, 2, 4, 6, dtype=torch.float64).requires_grad_()
    with blocks_of(8):
        pair = tuple(band.detach().requires_grad_() for band in haar_analysis(x))
        assert torch.autograd.gradcheck(haar_analysis, (x,), check_batched_grad=True)
        assert torch.autograd.gradcheck(haar_synthesis, pair, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(haar_analysis, (x,), check_batched_grad=True)
        assert torch.autograd.gradgradcheck(haar_synthesis, pair, check_batched_grad=True)


@pytest.mark.parametrize("used", [0, 1], ids=["approximation", "detail"])
def test_gradient_through_one_band_alone(used: int) -> None:
    x, y = (tensor(0, 2, 3, 4, 6).requires_grad_() for _ in range(2))
    with blocks_of(8):
        haar_analysis(x)[used].square().sum().backward()
    forms.plain_analysis(y)[used].square().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.grad)


def test_nothing_is_saved_for_backward() -> None:
    saved: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        saved.append(x)
        return x

    with blocks_of(8), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        y = haar_synthesis(*haar_analysis(tensor(0, 1, 3, 4, 6).requires_grad_()))
    assert y.requires_grad
    assert saved == []


# Where the plain form is taken


def round_trip(x: Tensor) -> Tensor:
    return haar_synthesis(*haar_analysis(x))


def compiled(x: Tensor) -> Tensor:
    return torch.compile(round_trip, backend="eager", fullgraph=True)(x)


def mapped(x: Tensor) -> Tensor:
    return torch.func.vmap(round_trip)(x[None])[0]


def pushed_forward(x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(round_trip(forward_ad.make_dual(torch.zeros_like(x), x))).tangent
        assert tangent is not None
        return tangent.clone()


def traced(x: Tensor) -> Tensor:
    other_size = tensor(1, 1, 2, 6, 8)  # nothing of it may be frozen in
    return torch.jit.trace(round_trip, other_size, check_trace=False)(x)  # pyright: ignore[reportCallIssue]


def proxied(x: Tensor) -> Tensor:
    return make_fx(round_trip)(tensor(1, *x.shape))(x)


class Marked(Tensor):
    """A tensor that is not a plain one."""


def marked(x: Tensor) -> Tensor:
    y = round_trip(x.as_subclass(Marked))
    assert type(y) is Marked
    return y.as_subclass(Tensor)


# torch's own, of torch.jit
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*:torch.jit.TracerWarning")
@pytest.mark.parametrize("watched", [compiled, mapped, pushed_forward, traced, proxied, marked])
def test_transforms_and_tracers_see_the_plain_form(watched: Callable[[Tensor], Tensor]) -> None:
    x = tensor(0, 1, 2, 4, 6)
    refuse = Mock(side_effect=AssertionError("the fast form was taken"))
    with blocks_of(8), patch.multiple(forms, analysis=refuse, synthesis=refuse):
        actual = watched(x)
    assert torch.equal(actual, forms.plain_synthesis(*forms.plain_analysis(x)))


def test_tensors_without_storage_get_shapes() -> None:
    with blocks_of(8):
        assert round_trip(torch.zeros(2, 3, 4, 6, device="meta")).shape == (2, 3, 4, 6)
        with FakeTensorMode():
            assert round_trip(torch.zeros(2, 3, 4, 6)).shape == (2, 3, 4, 6)


def test_results_are_on_the_device_of_the_image_under_any_default_device() -> None:
    x = tensor(0, 1, 2, 4, 6)
    with blocks_of(8), torch.device("meta"):
        bands = haar_analysis(x)
        returned = haar_synthesis(*bands)
    assert {y.device.type for y in (*bands, returned)} == {"cpu"}
    assert torch.equal(returned, forms.plain_synthesis(*forms.plain_analysis(x)))


def test_autocast_leaves_the_dtype_alone() -> None:
    x = tensor(0, 2, 3, 4, 6)
    with blocks_of(8), torch.autocast("cpu", dtype=torch.bfloat16):
        bands = haar_analysis(x)
        returned = haar_synthesis(*bands)
    assert all(torch.equal(band, expected) for band, expected in zip(bands, forms.plain_analysis(x), strict=True))
    assert returned.dtype == torch.float32


def test_without_triton_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(liftlayers.functional, "_haar_triton", raising=False)  # imported by a test before
    with patch.dict(sys.modules, {"triton": None, "liftlayers.functional._haar_triton": None}):
        assert forms._kernels.__wrapped__() is None
