"""Exact chains: they invert bit for bit, and their gradients are the same in all memory modes."""

import re
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import (
    ConvPredictor,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    Sequential,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import randomise_
from tests.devices import on_each_device
from tests.exact.exact_chains import (
    IMAGE_CHAINS,
    NUM_CHANNELS,
    Bands,
    assert_exact,
    autocast,
    casts,
    gradients,
    hiding,
    pair,
    rounded,
    same,
    stack,
    with_casts,
)
from tests.strategies import Case, chains, memory_formats, seeds, tensor


@with_casts("depth,gain,size", (24, 1, 8), (24, 4, 8), (96, 1, 4))
def test_a_deep_stack_inverts(depth: int, gain: float, size: int, cast: torch.dtype | None) -> None:
    with autocast(cast):
        assert_exact(exact(stack(depth, gain)), *pair(size))


@pytest.mark.parametrize("cast", [None, pytest.param(torch.bfloat16, marks=pytest.mark.slow)], ids=str)
def test_a_deep_and_strong_stack_inverts_in_a_wider_range(cast: torch.dtype | None) -> None:
    """Its bands grow beyond 256, the limit of 16 bits; the error says so, and fewer bits work."""
    message = r"step \d+ of 192 \((Update|AdditiveCoupling)\) .* exact only below 256; use bits=(\d+) or smaller values"
    chain, bands = stack(96, 4), pair(8)
    with autocast(cast), pytest.raises(ValueError, match=message) as raised:
        exact(chain)(*bands)
    advice = re.search(message, str(raised.value))
    assert advice is not None
    with autocast(cast), torch.no_grad():
        exact(chain, bits=int(advice[2]))(*bands)
    with autocast(cast):
        assert_exact(exact(chain, bits=8), *bands, bits=8)


def test_plain_chains_do_not_return_every_bit() -> None:
    """So the promise of `exact` is not trivial."""
    chain, bands = stack(24), rounded(pair(16))
    with torch.no_grad():
        assert not same(as_tuple(chain.inverse(*chain(*bands))), bands)


@casts
@pytest.mark.parametrize("layout", ["channels_last", "sliced", "mixed", "offset"])
def test_layout_does_not_matter(layout: str, cast: torch.dtype | None) -> None:
    chain, (a, b) = exact(stack(4)), pair(18)
    given_bands = {
        "channels_last": tuple(x.contiguous(memory_format=torch.channels_last) for x in (a, b)),
        "sliced": torch.cat((a, b), dim=1).chunk(2, dim=1),
        "mixed": (a.contiguous(memory_format=torch.channels_last), torch.cat((b, a), dim=1)[:, :NUM_CHANNELS]),
        "offset": tuple(torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape) for x in (a, b)),
    }[layout]
    with autocast(cast):
        outputs = assert_exact(chain, *given_bands)
        with torch.no_grad():
            assert same(outputs, chain(a, b))
            joined = torch.cat(outputs, dim=1).contiguous(memory_format=torch.channels_last)
            assert same(chain.inverse(*joined.split(NUM_CHANNELS, dim=1)), rounded((a, b)))


@casts
@pytest.mark.parametrize("make", list(IMAGE_CHAINS.values()), ids=list(IMAGE_CHAINS))
def test_chains_with_haar_transforms_invert(make: Callable[[], Invertible], cast: torch.dtype | None) -> None:
    chain, x = make(), tensor(0, 2, 4, 24, 16, positive=True)
    with autocast(cast):
        outputs = assert_exact(exact(chain), x)
        assert_exact(exact(Inverse(chain)), *outputs)


@casts
def test_two_images_at_once_invert(cast: torch.dtype | None) -> None:
    images = tuple(tensor(i, 2, 3, 8, 8, positive=True) for i in range(2))
    chain = exact(hiding())
    with autocast(cast):
        assert_exact(chain, *images)
    expected = gradients(chain, images, cast)
    chain.memory = "reversible"
    assert same(tuple(gradients(chain, images, cast)), tuple(expected))


def test_haar_last_inverts() -> None:
    chain = exact(Sequential(*stack(3, channels=(4, 12)), Inverse(Haar())))
    assert_exact(chain, *pair(8, channels=(4, 12)))


@on_each_device
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(
    case=chains(dtype=torch.float32),
    bits=st.sampled_from([8, 12, 16]),
    scale=st.sampled_from([1, 1, 1, 2**4, 2**8, 2**12]),
    inverted=st.booleans(),
)
def test_random_chains_invert_or_raise_an_error(device: str, case: Case, bits: int, scale: int, inverted: bool) -> None:
    module, bands = case.to(device)
    given_bands = tuple(scale * x for x in (as_tuple(module(*bands)) if inverted else bands))
    try:
        outputs = assert_exact(exact(Inverse(module) if inverted else module, bits=bits), *given_bands, bits=bits)
    except ValueError as error:  # an error, not a wrong bit
        assume("exact only below" not in str(error))
        raise
    assert all(torch.isfinite(y).all() for y in outputs)


@on_each_device
@given(
    seed=seeds(),
    depth=st.integers(1, 4),
    bits=st.sampled_from([8, 12, 16]),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    widths=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    memory_format=memory_formats,
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_couplings_invert_at_any_size(
    device: str,
    seed: int,
    depth: int,
    bits: int,
    batch: int,
    size: tuple[int, int],
    widths: tuple[int, int],
    memory_format: torch.memory_format,
    dtype: torch.dtype,
) -> None:
    blocks = (LiftingBlock(ConvPredictor(*widths), ConvPredictor(*widths[::-1])) for _ in range(depth))
    chain = randomise_(Sequential(*blocks), seed).to(device, dtype)
    given_bands = tuple(
        tensor(seed + i, batch, width, *size, dtype=dtype).to(device).contiguous(memory_format=memory_format)
        for i, width in enumerate(widths)
    )
    outputs = assert_exact(exact(chain, bits=bits), *given_bands, bits=bits)
    assert all(torch.equal(y * 2.0**bits, (y * 2.0**bits).round()) for y in outputs)
    assert all(y.dtype == dtype for y in outputs)


def test_outputs_are_close_to_those_of_the_plain_chain() -> None:
    chain, bands = stack(4), pair(8)
    for y, z in zip(exact(chain)(*bands), chain(*bands), strict=True):
        torch.testing.assert_close(y, z, rtol=0, atol=2e-3)


def test_images_of_8_bits_come_back() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8)
    chain = exact(
        randomise_(Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)), Inverse(Haar())))
    )
    with torch.no_grad():
        returned = chain.inverse(chain(image / 255))
    assert isinstance(returned, Tensor)
    assert torch.equal((returned * 255).round().to(torch.uint8), image)


@casts
def test_batches_may_differ_with_batch_invariant(cast: torch.dtype | None) -> None:
    chain, bands = exact(stack(4), batch_invariant=True), pair(16, batch=3)
    with autocast(cast), torch.no_grad():
        outputs = chain(*bands)
        for i in range(3):
            sample = slice(i, i + 1)
            returned = chain.inverse(*(y[sample] for y in outputs))
            assert same(returned, rounded(tuple(x[sample] for x in bands)))
        apart = [chain(*(x[i : i + 1] for x in bands)) for i in range(3)]
        joined = tuple(torch.cat(parts) for parts in zip(*apart, strict=True))
        assert same(joined, outputs)
        assert same(chain.inverse(*joined), rounded(bands))


# Gradients


@with_casts("memory,depth,size", ("reversible", 24, 6), ("checkpoint", 24, 6), ("reversible", 96, 4))
def test_gradients_of_the_memory_modes_are_the_same(
    memory: Literal["reversible", "checkpoint"], depth: int, size: int, cast: torch.dtype | None
) -> None:
    chain, bands = exact(stack(depth)), pair(size)
    expected = gradients(chain, bands, cast)
    chain.memory = memory
    assert same(tuple(gradients(chain, bands, cast)), tuple(expected))


def test_gradients_are_the_same_where_plain_chains_drift() -> None:
    chain, bands = exact(stack(96, 4), bits=8), pair(6)
    expected = gradients(chain, bands, None)
    chain.memory = "reversible"
    assert same(tuple(gradients(chain, bands, None)), tuple(expected))


@casts
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("make", list(IMAGE_CHAINS.values()), ids=list(IMAGE_CHAINS))
def test_gradients_with_haar_transforms_are_the_same(
    make: Callable[[], Invertible], inverse: bool, cast: torch.dtype | None
) -> None:
    chain = exact(make())
    bands: Bands = (tensor(0, 1, 4, 8, 8, positive=True),)
    if inverse:
        bands = tuple(y.detach() + 0.1 for y in as_tuple(chain(*bands)))
    expected = gradients(chain, bands, cast, inverse=inverse)
    chain.memory = "reversible"
    assert same(tuple(gradients(chain, bands, cast, inverse=inverse)), tuple(expected))


def test_gradients_pass_the_rounding() -> None:
    """They are the gradients of the plain chain where nothing needs rounding."""
    chain = Sequential(Haar(), LiftingBlock(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 1, 1)))
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.copy_((parameter * 8).round() / 8)
    x = (tensor(0, 1, 1, 4, 4) * 16).round() / 16
    plain, ours = (gradients(c, (x,), None) for c in (chain, exact(chain)))
    assert same(tuple(plain), tuple(ours))
