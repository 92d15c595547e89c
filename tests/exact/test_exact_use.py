"""Exact chains in use: their range, what they refuse, and what they keep of a chain."""

import copy
import pickle
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Exact,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    OnGrid,
    Parallel,
    Predict,
    Sequential,
    ToGrid,
    VolumePreserving,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.exact.exact_chains import (
    Bands,
    Conditioned,
    Join,
    Pair,
    Swap,
    Thrice,
    assert_exact,
    gradients,
    pair,
    rounded,
    same,
    stack,
)
from tests.strategies import tensor

# The range


@pytest.mark.parametrize("inverse", [False, True])
def test_a_sum_beyond_the_range_is_refused(inverse: bool) -> None:
    step, ones = exact(Sequential(Sequential(), AdditiveCoupling(nn.Identity()))), torch.ones(1, 1, 2, 2)
    message = (
        r"exact: step 1 of 2 \(AdditiveCoupling\) has a value of 300, but on a grid of 2\^-16 in float32 it is exact "
        "only below 256; use bits=15 or smaller values"
    )
    with pytest.raises(ValueError, match=message):
        (step.inverse if inverse else step)(200 * ones, (-100 if inverse else 100) * ones)
    with torch.no_grad():
        assert_exact(step, 100 * ones, 100 * ones)
    assert_exact(exact(AdditiveCoupling(nn.Identity()), bits=15), 200 * ones, 100 * ones, bits=15)


def test_deeper_bands_have_less_range() -> None:
    chain = exact(Sequential(Haar(), AdditiveCoupling(Thrice()), Inverse(Haar())))
    with pytest.raises(
        ValueError, match=r"step 1 of 3 \(AdditiveCoupling\) .* 150, .* 2\^-17 .* only below 128; use bits=14"
    ):
        chain(25 * torch.ones(1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"step 0 of 3 \(Haar\) .* of 100, .* 2\^-16 .* only below 64; use bits=12"):
        chain(100 * torch.ones(1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"step 2 of 3 \(Haar\) has a value of 200, .* 2\^-16 .* only below 64"):
        chain(20 * torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    x = torch.ones(1, 1, 2, 2)
    x[..., 0, 0] = value
    with pytest.raises(ValueError, match=r"step 0 of 1 \(Haar\) has a value of nan, .*; use smaller values"):
        exact(Haar())(x)


def test_the_range_of_float64_is_wide() -> None:
    x = 1e6 * tensor(0, 1, 1, 4, 4, dtype=torch.float64)
    assert_exact(exact(Sequential(Haar(), AdditiveCoupling(Thrice())), bits=16), x)
    with pytest.raises(ValueError, match=r"step 0 of 1 \(Haar\) has a value of .*e\+12, .* in float64 .* below 3.4359"):
        exact(Haar())(1e6 * x)


# What is refused


class Scale(VolumePreserving):
    def forward(self, a: Tensor, b: Tensor) -> Bands:
        return 2 * a, 0.5 * b

    def inverse(self, a: Tensor, b: Tensor) -> Bands:
        return 0.5 * a, 2 * b


@pytest.mark.parametrize("wrap", [lambda step: step, Inverse], ids=["step", "inverse"])
def test_other_steps_are_refused_by_name(wrap: Callable[[Invertible], Invertible]) -> None:
    chain = Sequential(Haar(), LiftingBlock(nn.Identity(), nn.Identity()), Sequential(wrap(Scale())))
    with pytest.raises(TypeError, match=r"exact needs additive couplings, Haar .*exact_on_grid.* got Scale as step 3"):
        exact(chain)
    with pytest.raises(TypeError, match="got ToGrid as step 0"):
        exact(ToGrid())
    with pytest.raises(TypeError, match="got Exact as step 0"):
        exact(exact(Haar()))


class Squashed(AdditiveCoupling):
    """Does arithmetic outside its network, where nothing rounds it."""

    def forward(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return a, b + torch.tanh(self.evaluate(a, b, condition))

    def inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return a, b - torch.tanh(self.evaluate(a, b, condition))


class Dimmed(Haar):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        approx, detail = super().forward(x)
        return 0.7 * approx, detail


class Negated(LiftingPyramid):
    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        approx, *details = super().forward(x, condition=condition)
        return (-approx, *details)


class Crossed(Parallel):
    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        return as_tuple(super().inverse(*reversed(bands), condition=condition))


ANEW = [
    Squashed(nn.Identity()),
    Inverse(Squashed(nn.Identity())),
    Dimmed(),
    Negated([Haar()]),
    Inverse(Negated([Haar()])),
    Crossed(Sequential(), Sequential()),
]


@pytest.mark.parametrize("step", ANEW, ids=repr)
def test_a_layer_that_changes_the_map_of_its_base_is_refused(step: Invertible) -> None:
    inputs = [tensor(i, 1, 1, 4, 4) for i in range(1 if isinstance(step, Dimmed) else 2)]
    message = r"(Squashed|Dimmed)\) changes the map|but (Negated|Crossed), step 0, redefines forward or inverse"
    with pytest.raises(TypeError, match=message):
        exact(Sequential(step))(*inputs)


def test_a_layer_with_levels_is_not_for_that_a_pyramid() -> None:
    class Tripled(Invertible):
        def __init__(self) -> None:
            super().__init__()
            self.levels = nn.ModuleList([Haar()])

        def forward(self, x: Tensor) -> Tensor:
            return 3 * x

        def inverse(self, x: Tensor) -> Tensor:
            return x / 3

    with pytest.raises(TypeError, match=r"got Tripled as step 0"):
        exact(Tripled())


def test_a_pyramid_that_only_builds_its_levels_is_one() -> None:
    class Twice(LiftingPyramid):
        def __init__(self) -> None:
            super().__init__([Haar(), Haar()])

    assert_exact(exact(Twice()), tensor(0, 2, 3, 8, 8))


def test_several_bands_of_a_step_in_parallel_are_refused() -> None:
    for chain in (Parallel(Haar(), Sequential()), Inverse(Parallel(Sequential(), Inverse(Haar())))):
        with pytest.raises(
            ValueError,
            match=r"Parallel needs steps (that return|whose inverse returns) one band, got 2 from step [01] \(",
        ):
            exact(chain)


def test_a_layer_that_only_builds_its_network_is_not() -> None:
    class Named(AdditiveCoupling):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 3, 1))

    image = tensor(0, 1, 3, 4, 4)
    chain = exact(Sequential(Named()))
    assert torch.equal(chain.inverse(*chain(image, image))[1], ToGrid(16)(image))


def test_too_few_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="exact needs more bits than there are nested Haar transforms, got 2 for 2"):
        exact(LiftingPyramid([Haar(), Haar()]), bits=2)
    exact(Sequential(Haar(), Inverse(Haar()), Haar(), Inverse(Haar())), bits=2)


@pytest.mark.parametrize("bits", [-1, 53, 15.5, "16"])
def test_what_is_no_exponent_is_refused(bits: int) -> None:
    error, needs = (ValueError, "0 to 52 bits") if isinstance(bits, int) else (TypeError, "an integer number of bits")
    makers: dict[str, Callable[[], object]] = {
        "exact": lambda: exact(Haar(), bits=bits),
        "ToGrid": lambda: ToGrid(bits),
        "OnGrid": lambda: OnGrid(nn.Tanh(), bits=bits),
    }
    for who, make in makers.items():
        with pytest.raises(error, match=f"^{who} needs {needs}, got {bits!r}$"):
            make()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int32], ids=str)
def test_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"got {dtype}; call .float"):
        exact(Haar())(torch.zeros(1, 1, 2, 2, dtype=dtype))


def test_networks_without_tensors_or_conditions_are_refused() -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(TypeError, match=r"OnGrid needs an nn\.Module as its network, got builtin"):
        OnGrid(torch.tanh)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="OnGrid needs a network that returns a floating-point tensor, got tuple"):
        OnGrid(Pair())(x)
    with pytest.raises(ValueError, match="OnGrid got a condition, but its network, Tanh, takes none"):
        OnGrid(nn.Tanh())(x, condition=x)
    with pytest.raises(ValueError, match="none of its 1 steps takes one"):
        exact(AdditiveCoupling(nn.Tanh()))(x, x, condition=x)


# What a chain keeps


def test_networks_see_one_layout_whatever_is_given() -> None:
    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.stride() == torch.empty(x.shape).stride()
            assert x.storage_offset() == 0
            return x

    for x in (torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5)):
        wide = torch.cat((x, x), dim=1)
        for same_numbers in (x.contiguous(memory_format=torch.channels_last), wide.chunk(2, dim=1)[1]):
            for batch_invariant in (False, True):
                OnGrid(Spy(), batch_invariant=batch_invariant)(same_numbers)


def test_steps_that_move_numbers_about_are_kept() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = AdditiveCoupling(nn.Conv2d(12, 12, 1))
    assert_exact(exact(Sequential(step, Swap(), step, Inverse(Swap()))), *pair(5))
    image = Sequential(Haar(), Predict(Thrice()), Swap(), Swap(), Inverse(Haar()))
    assert_exact(exact(image), tensor(0, 2, 3, 4, 4))
    assert_exact(exact(LiftingPyramid([Sequential(Haar(), Swap(), Swap()), Haar()])), tensor(0, 2, 3, 4, 4))


@pytest.mark.parametrize("batch_invariant", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_conditions_reach_the_networks(batch: int, batch_invariant: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        chain = Sequential(LiftingBlock(Conditioned(), nn.Conv2d(2, 2, 1)), Inverse(AdditiveCoupling(Conditioned())))
    ours = exact(chain, batch_invariant=batch_invariant)
    (a, b), condition = pair(4, 3, channels=(2, 2)), tensor(7, batch, 2, 4, 4)
    assert ours.conditional
    with torch.no_grad():
        outputs = ours(a, b, condition=condition)
        assert same(ours.inverse(*outputs, condition=condition), rounded((a, b)))
        for y, z in zip(outputs, chain(a, b, condition=condition), strict=True):
            torch.testing.assert_close(y, z, rtol=0, atol=1e-4)
    memories = []
    for memory in ("store", "reversible"):
        ours.memory = memory
        leaf = condition.clone().requires_grad_()
        memories.append(torch.autograd.grad(ours(a, b, condition=leaf)[1].sum(), leaf))
    torch.testing.assert_close(*memories)  # two steps share the condition: their gradients are summed in either order


def test_networks_are_shared_and_the_chain_is_left_as_it_was() -> None:
    chain = Sequential(Haar(), LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)), memory="checkpoint")
    names = list(chain.state_dict())
    ours = exact(chain)
    assert [id(p) for p in ours.parameters()] == [id(p) for p in chain.parameters()]
    assert list(chain.state_dict()) == names
    assert ours.memory == "checkpoint"
    assert next(iter(ours.state_dict())) == "1.predict.network.hidden.0.weight"


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["copy", "pickle"]
)
def test_copies_are_the_same(again: Callable[[Exact], Exact]) -> None:
    chain = exact(stack(3))
    chain.memory = "reversible"
    twin, bands = again(chain), pair(6)
    assert twin.memory == "reversible"
    assert same(twin(*bands), chain(*bands))
    other = exact(randomise_(stack(3)))
    other.load_state_dict(chain.state_dict())
    assert same(other(*bands), chain(*bands))


def test_it_is_a_step_like_any_other() -> None:
    inner = exact(stack(2))
    chain, bands = Sequential(inner, Inverse(inner), stack(1), memory="reversible"), rounded(pair(6))
    expected = gradients(Sequential(*chain), bands, None)
    for ours, plain in zip(gradients(chain, bands, None), expected, strict=True):
        torch.testing.assert_close(ours, plain)
    outputs, log_det = inner.forward_and_log_det(*bands)
    assert same(as_tuple(outputs), inner(*bands))
    assert log_det.tolist() == [0, 0]
    assert repr(ToGrid(3)) == "ToGrid(bits=3)"
    assert "bits=16, batch_invariant=False" in repr(inner)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_the_laws_hold_for_what_is_on_the_grid(memory: Literal["reversible", "checkpoint"]) -> None:
    stored, kept = exact(stack(2)), exact(stack(2))
    kept.memory = memory
    assert_inverts(stored, *rounded(pair(6)))
    assert_same_gradients(stored, kept, *rounded(pair(6)))


def test_inputs_are_left_alone() -> None:
    chain, bands = (
        exact(Sequential(Haar(), LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)))),
        tensor(0, 1, 1, 4, 4),
    )
    kept = bands.clone()
    outputs = chain(bands)
    before = [y.clone() for y in outputs]
    chain.inverse(*outputs)
    assert torch.equal(bands, kept)
    assert same(outputs, tuple(before))


# What it costs


def test_exact_form_of_a_trained_hiding_chain_costs_less_than_a_hundredth_of_a_decibel() -> None:
    torch.manual_seed(0)
    blocks = [LiftingBlock(ConvPredictor(12, 12), ConvPredictor(12, 12)) for _ in range(4)]
    both = Parallel(Sequential(Haar(), Join()), Sequential(Haar(), Join()))
    chain = Sequential(both, *blocks, Inverse(both))
    images = nn.functional.interpolate(torch.rand(16, 3, 8, 8), scale_factor=4, mode="bicubic").clamp(0, 1)
    cover, secret = images.roll(1, 0), images

    def hide_and_reveal(hider: Invertible) -> tuple[Tensor, Tensor]:
        stego, _ = hider(cover, secret)
        _, revealed = hider.inverse(stego, torch.zeros_like(stego))
        return (stego - cover).square().mean(), (revealed - secret).square().mean()

    def decibels() -> Tensor:
        with torch.no_grad():
            return -10 * torch.log10(torch.stack([*hide_and_reveal(chain), *hide_and_reveal(exact(chain, bits=16))]))

    before = decibels()
    optimizer = torch.optim.Adam(chain.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        sum(hide_and_reveal(chain), torch.zeros(())).backward()
        optimizer.step()
    trained = decibels()
    assert trained[1] > before[1] + 10  # what was revealed is now the secret
    assert (trained[:2] - trained[2:]).abs().max() < 0.01


# Networks on a grid


def test_a_network_on_a_grid_takes_a_condition_if_the_network_does() -> None:
    ones = torch.ones(1, 2, 4, 4)
    plain, conditioned = AdditiveCoupling(OnGrid(nn.Conv2d(2, 2, 1))), AdditiveCoupling(OnGrid(Conditioned()))
    assert (plain.conditional, conditioned.conditional) == (False, True)
    with pytest.raises(ValueError, match="Sequential got a condition, but none of its 1 steps takes one"):
        Sequential(plain)(ones, ones, condition=ones)
