"""The range of exact chains, and what `exact` refuses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    OnGrid,
    Parallel,
    Sequential,
    ToGrid,
    VolumePreserving,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.invertible import Part
from tests.exact.exact_chains import (
    Bands,
    Pair,
    Thrice,
    assert_exact,
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
def test_infinite_and_nan_values_are_refused(value: float) -> None:
    x = torch.ones(1, 1, 2, 2)
    x[..., 0, 0] = value
    with pytest.raises(ValueError, match=rf"step 0 of 1 \(Haar\) has a value of {value}, .*; use smaller values"):
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
    """Computes outside its network, where nothing is rounded to the grid."""

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


CHANGED_MAPS = [
    Squashed(nn.Identity()),
    Inverse(Squashed(nn.Identity())),
    Dimmed(),
    Negated([Haar()]),
    Inverse(Negated([Haar()])),
    Crossed(Sequential(), Sequential()),
]


@pytest.mark.parametrize("step", CHANGED_MAPS, ids=repr)
def test_a_layer_that_changes_the_map_of_its_base_is_refused(step: Invertible) -> None:
    inputs = [tensor(i, 1, 1, 4, 4) for i in range(1 if isinstance(step, Dimmed) else 2)]
    message = r"(Squashed|Dimmed)\) changes the map|but (Negated|Crossed), step 0, redefines forward or inverse"
    with pytest.raises(TypeError, match=message):
        exact(Sequential(step))(*inputs)


@pytest.mark.parametrize("spatial_dims", [1, 3])
def test_haar_of_lines_and_volumes_is_refused(spatial_dims: int) -> None:
    """Its scale is no power of two, so its bands are on no grid."""
    step = Haar(spatial_dims=spatial_dims)
    for chain in (Sequential(step), LiftingPyramid([step]), Inverse(step)):
        with pytest.raises(
            TypeError, match=rf"Haar transforms of images .*, got Haar\(spatial_dims={spatial_dims}\) as"
        ):
            exact(chain)


def test_another_layer_with_levels_is_not_taken_for_a_pyramid() -> None:
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


def test_steps_that_take_some_of_the_bands_are_refused_outside_containers() -> None:
    class Last(VolumePreserving):
        def __init__(self) -> None:
            super().__init__()
            self.step = AdditiveCoupling(nn.Identity())

        def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Bands:
            return a, *self.step(b, c)

        def inverse(self, a: Tensor, b: Tensor, c: Tensor) -> Bands:
            return a, *self.step.inverse(b, c)

        def steps(self) -> tuple[Part, ...]:
            return (Part(self.step, before=1),)

    with pytest.raises(TypeError, match="take all bands in a Last, got AdditiveCoupling, which takes some of them"):
        exact(Last())


def test_a_pyramid_that_only_builds_its_levels_is_accepted() -> None:
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


def test_a_subclass_that_only_builds_its_network_is_accepted() -> None:
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
def test_other_exponents_are_refused(bits: int) -> None:
    error, needs = (ValueError, "0 to 52 bits") if isinstance(bits, int) else (TypeError, "a whole number as bits")
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
