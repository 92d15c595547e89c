"""The additive coupling: its equation, what it needs of its network, and what it refuses."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    IntegerConv2d,
    IntegerNetwork,
    IntegerPredictor,
    Inverse,
    Invertible,
    Predict,
    Sequential,
    Swap,
    Update,
)
from liftlayers._bands import as_tuple
from liftlayers.memory._leaves import Leaf
from liftlayers.memory._recompute import rebuild
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.strategies import part_of_the_examples, seeds, tensor

widths = st.tuples(st.integers(1, 5), st.integers(1, 5))


@given(seed=seeds(), widths=widths, rest=st.lists(st.integers(1, 4), max_size=3))
def test_adds_a_function_of_the_first_band_to_the_second(seed: int, widths: tuple[int, int], rest: list[int]) -> None:
    """Bands of any rank, with a linear map of the channels."""

    class OfChannels(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input.movedim(1, -1)).movedim(-1, 1)

    network = randomise_(OfChannels(*widths), seed)
    step = AdditiveCoupling(network)
    a, b = tensor(seed, 2, widths[0], *rest), tensor(seed + 1, 2, widths[1], *rest)
    out_a, out_b = step(a, b)
    assert out_a is a
    assert torch.equal(out_b, b + network(a))
    assert torch.equal(step.inverse(a, b)[1], b - network(a))
    assert_inverts(step, a, b)


def test_network_keeps_its_name_in_the_state_dict() -> None:
    assert list(AdditiveCoupling(nn.Linear(2, 2)).state_dict()) == ["network.weight", "network.bias"]


class In(nn.Module):
    """A linear map of the channels, computed in another dtype."""

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear, self.dtype = nn.Linear(2, channels).to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.to(self.dtype))


STEPS: dict[str, Callable[[nn.Module], Invertible]] = {
    "AdditiveCoupling": AdditiveCoupling,
    "Predict": Predict,
    "Update": lambda network: Sequential(Swap(), Update(network), Swap()),
    "AffineCoupling": AffineCoupling,
}
each_step = pytest.mark.parametrize("name", list(STEPS))
DTYPES = [
    (torch.bfloat16, torch.float32),
    (torch.float32, torch.float64),
    (torch.bfloat16, torch.float16),
    (torch.float32, torch.bfloat16),
]


@each_step
@pytest.mark.parametrize(("dtype", "inside"), DTYPES, ids=str)
def test_bands_keep_their_dtype_with_a_network_of_another_dtype(
    name: str, dtype: torch.dtype, inside: torch.dtype
) -> None:
    step = STEPS[name](randomise_(In(4 if name == "AffineCoupling" else 2, inside)))
    a, b = tensor(0, 3, 2).to(dtype), tensor(1, 3, 2).to(dtype)
    for direction in (step, Inverse(step)):
        outputs = as_tuple(direction(a, b))
        assert all(y.dtype == dtype for y in outputs)
        for y, x in zip(as_tuple(Inverse(direction)(*outputs)), (a, b), strict=True):
            assert torch.allclose(y, x, rtol=0, atol=16 * torch.finfo(dtype).eps)
        for bands in rebuild(Leaf(step, isinstance(direction, Inverse), 0, 0), outputs, {}):
            assert all(x.dtype == dtype for x in bands)


@pytest.mark.parametrize("inside", [torch.float64, torch.bfloat16], ids=str)
def test_gradients_agree_with_a_network_of_another_dtype(inside: torch.dtype) -> None:
    step = randomise_(AdditiveCoupling(In(2, inside)))
    stored, kept = Sequential(step), Sequential(step, memory="reversible")
    assert_same_gradients(stored, kept, tensor(0, 3, 2), tensor(1, 3, 2))


def test_under_autocast_the_lower_dtype_is_left_to_the_sum() -> None:
    """The conversion from 16 to 32 bits rounds nothing."""
    network, a, b = randomise_(nn.Linear(2, 2)), tensor(0, 3, 2), tensor(1, 3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert AdditiveCoupling(network).evaluate(a, b, None).dtype == torch.bfloat16
        assert torch.equal(AdditiveCoupling(network)(a, b)[1], b + network(a).float())


def test_a_network_of_another_dtype_compiles_in_one_graph() -> None:
    step, a, b = randomise_(AdditiveCoupling(In(2, torch.float64))), tensor(0, 3, 2), tensor(1, 3, 2)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(a, b), step(a, b))


class Offset(nn.Module):
    def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
        return x + condition


@each_step
@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda network: torch.compile(network, backend="eager")])
def test_a_wrapped_network_takes_the_condition_that_it_took_before(
    name: str, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    assert STEPS[name](wrap(Offset())).conditional
    assert not STEPS[name](wrap(nn.Linear(2, 2))).conditional
    assert STEPS[name](nn.DataParallel(wrap(Offset()))).conditional


def test_a_wrapped_network_gets_the_condition() -> None:
    a, b, condition = (tensor(i, 3, 2) for i in range(3))
    wrapped = AdditiveCoupling(nn.DataParallel(Offset()))(a, b, condition=condition)
    assert torch.equal(wrapped[1], b + (a + condition))


@each_step
def test_other_objects_than_networks_are_refused(name: str) -> None:
    for network, got in ((torch.tanh, "builtin_function_or_method"), (lambda x: x, "function"), (nn.Tanh, "Tanh")):
        with pytest.raises(TypeError, match=f"^{name} needs an nn.Module as its network, got {got}$"):
            STEPS[name](network)  # type: ignore[arg-type]
    for step in (AdditiveCoupling(nn.Tanh()), Inverse(Swap())):
        with pytest.raises(TypeError, match=f"^{name} needs a network, got {type(step).__name__}, which is an inv"):
            STEPS[name](step)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool])
def test_a_network_of_complex_numbers_or_truth_values_is_refused(dtype: torch.dtype) -> None:
    class Converts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.to(dtype)

    step, a, b = AdditiveCoupling(Converts()), tensor(0, 3, 2), tensor(1, 3, 2)
    for direction in (step, step.inverse):
        with pytest.raises(TypeError, match=rf"AdditiveCoupling needs .* real numbers, got {dtype}"):
            direction(a, b)


def test_an_output_that_would_broadcast_is_refused() -> None:
    step = AdditiveCoupling(nn.Conv2d(3, 1, 1))
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 9, 4, 4)
    message = r"AdditiveCoupling needs a network output of shape \(2, 9, 4, 4\), got \(2, 1, 4, 4\)"
    for direction in (step, step.inverse):
        with pytest.raises(ValueError, match=message):
            direction(a, b)


def test_a_network_that_returns_no_tensor_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(TypeError, match="AdditiveCoupling needs a network that returns a tensor, got tuple"):
        AdditiveCoupling(Pair())(torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64], ids=str)
def test_integer_bands_are_refused(position: int, dtype: torch.dtype) -> None:
    bands = [torch.zeros(1, 2), torch.zeros(1, 2)]
    bands[position] = bands[position].to(dtype)
    step = AdditiveCoupling(nn.Linear(2, 2))
    for direction in (step, step.inverse):
        with pytest.raises(TypeError, match=f"AdditiveCoupling needs floating-point tensors, got {dtype}"):
            direction(*bands)


@pytest.mark.parametrize("kind", [AdditiveCoupling, Predict, Update])
@part_of_the_examples(2, least=10)
@given(seed=seeds(), dtype=st.sampled_from([torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]))
def test_networks_of_integers_take_integers(kind: type[Coupling], seed: int, dtype: torch.dtype) -> None:
    step = randomise_(kind(nn.Sequential(IntegerConv2d(2, 2), IntegerPredictor(2, 2))), seed)
    limits, generator = torch.iinfo(dtype), torch.Generator().manual_seed(seed)
    a, b = (torch.randint(limits.min, limits.max, (1, 2, 4, 3), generator=generator).to(dtype) for _ in range(2))
    outputs = step(a, b)
    assert all(band.dtype == dtype for band in outputs)
    assert all(torch.equal(x, y) for x, y in zip(step.inverse(*outputs), (a, b), strict=True))
    expected = step(a.long(), b.long())  # sums wrap around
    assert all(torch.equal(x, y.to(dtype)) for x, y in zip(outputs, expected, strict=True)) or dtype == torch.int64
    assert step.forward_and_log_det(a, b)[1].dtype == torch.float32


def test_a_network_that_returns_floats_for_integers_is_refused() -> None:
    class Half(IntegerNetwork):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    with pytest.raises(
        TypeError, match=r"AdditiveCoupling needs a network that returns integers for integers, got torch"
    ):
        AdditiveCoupling(Half())(torch.zeros(1, 2, dtype=torch.int16), torch.zeros(1, 2, dtype=torch.int16))


def test_integers_and_floats_are_not_mixed() -> None:
    step, bands = AdditiveCoupling(IntegerConv2d(1, 1)), [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4).int()]
    for a, b in (bands, bands[::-1]):
        with pytest.raises(TypeError, match=r"AdditiveCoupling needs floating-point tensors, got torch\.int32"):
            step(a, b)


def test_other_objects_than_tensors_are_refused() -> None:
    with pytest.raises(TypeError, match="AdditiveCoupling needs tensors, got list"):
        AdditiveCoupling(nn.Linear(2, 2))([1.0, 2.0], torch.zeros(1, 2))


def test_bands_on_two_devices_are_refused() -> None:
    step = AdditiveCoupling(nn.Linear(2, 2))
    for direction in (step, step.inverse):
        with pytest.raises(ValueError, match="AdditiveCoupling needs its bands on one device, got cpu and meta"):
            direction(torch.zeros(1, 2), torch.zeros(1, 2, device="meta"))


def test_the_wrong_number_of_channels_is_refused_by_the_network() -> None:
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 4 channels"):
        AdditiveCoupling(nn.Conv2d(3, 9, 1))(torch.zeros(1, 4, 2, 2), torch.zeros(1, 9, 2, 2))
