"""Memory modes of Sequential: whatever is kept, outputs and gradients are those of the plain loop."""

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    LiftingPyramid,
    Sequential,
    Update,
)
from liftlayers._bands import as_tuple
from liftlayers.memory._run import Memory
from liftlayers.testing import assert_same_gradients, randomise_
from liftlayers.wavelets.lossless import LosslessWavelet
from tests.strategies import Case, chains, listed, tensor

MODES = ("store", "reversible", "checkpoint")
SAVING = ("reversible", "checkpoint")

Gradients = dict[str, Tensor | None]
Network = Callable[..., nn.Module]


# ---------------------------------------------------------------------------------------------------- what is tried


def network(inputs: int, outputs: int, *middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, 4, 3, padding=1), *middle, nn.SiLU(), nn.Conv2d(4, outputs, 3, padding=1))


def stack(depth: int = 2, *middle: Callable[[], nn.Module], make: Network = network) -> Sequential:
    """Blocks on bands of 1 and 3 channels, each network with new modules in its middle."""
    return randomise_(
        Sequential(
            *(
                LiftingBlock(make(1, 3, *(m() for m in middle)), make(3, 1, *(m() for m in middle)))
                for _ in range(depth)
            )
        )
    )


def with_memory(module: Sequential, memory: Any) -> Sequential:
    module = copy.deepcopy(module)
    module.memory = memory
    return module


def two_bands() -> tuple[Tensor, Tensor]:
    return tensor(1, 2, 1, 5, 5), tensor(2, 2, 3, 5, 5)


def leaves(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    approx, detail = two_bands()
    return approx.to(dtype).requires_grad_(), detail.to(dtype).requires_grad_()


def loss(*bands: Tensor) -> Tensor:
    """Not linear, so that a gradient depends on the outputs, nor the same for any two numbers."""
    return torch.stack([(y.sin() * y).mean() for y in bands]).sum()


def gradients_of(chain: nn.Module, step: Callable[..., None], dtype: torch.dtype = torch.float64) -> Gradients:
    """Calls a training step, which takes the chain and two leaves, and returns what is in every `grad` after it."""
    torch.manual_seed(0)
    approx, detail = leaves(dtype)
    step(chain.to(dtype), approx, detail)
    return {"approx": approx.grad, "detail": detail.grad} | {name: p.grad for name, p in chain.named_parameters()}


def assert_close(actual: Gradients, expected: Gradients, tolerance: float = 1e-10) -> None:
    """Relative to each tensor, or to the largest where its own gradient is nothing but rounding."""
    assert actual.keys() == expected.keys()
    largest = max((float(g.norm()) for g in expected.values() if g is not None), default=0.0)
    for name, trusted in expected.items():
        judged = actual[name]
        assert (trusted is None) == (judged is None), name
        if trusted is not None and judged is not None:
            error = float((judged - trusted).norm())
            assert error <= tolerance * max(float(trusted.norm()), 1e-3 * largest), (name, error)


def assert_trains_alike(
    chain: Sequential,
    memory: str,
    step: Callable[..., None],
    tolerance: float = 1e-10,
    dtype: torch.dtype = torch.float64,
) -> None:
    """A step leaves the gradients, the buffers and the random state that it leaves in the plain loop, and its own
    parameters in their places.

    In float64, where what is wrong stands out from what is rounded.
    """
    plain, judged = with_memory(chain, "store"), with_memory(chain, memory)
    expected = gradients_of(plain, step, dtype)
    random_state, own = torch.get_rng_state(), list(judged.parameters())
    actual = gradients_of(judged, step, dtype)
    assert all(now is then for now, then in zip(judged.parameters(), own, strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert_close(actual, expected, tolerance)
    for (name, buffer), (_, trusted) in zip(judged.named_buffers(), plain.named_buffers(), strict=True):
        assert torch.equal(buffer, trusted), name


def forward_step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
    loss(*chain(approx, detail)).backward()


def inverse_step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
    loss(*chain.inverse(approx, detail)).backward()


def inside_inverse(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
    loss(*Inverse(chain)(approx, detail)).backward()


DIRECTIONS = {"forward": forward_step, "inverse": inverse_step, "Inverse": inside_inverse}
# torch's own forward-mode rules are compiled with torch.jit, which warns that it is old.
uses_decompositions = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated")
in_every_mode = pytest.mark.parametrize("memory", MODES)
in_every_direction = pytest.mark.parametrize("step", DIRECTIONS.values(), ids=DIRECTIONS.keys())


class Own(Invertible):
    """A user's own step, which leaves `rebuild` to its default."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, 2 * b + self.network(a)

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, (b - self.network(a)) / 2


class Turn(Invertible):
    """Swaps two bands."""

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return b, a

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return b, a


class Cut(Invertible):
    """One band of four channels into two, of one and three."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :1], x[:, 1:]

    def inverse(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b], 1)


class Conditioned(nn.Module):
    """A network that is told a vector an image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2, 4)
        self.first = nn.Conv2d(inputs, 4, 3, padding=1)
        self.last = nn.Conv2d(4, outputs, 3, padding=1)

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        told = 0 if condition is None else self.embed(condition)[:, :, None, None]
        return self.last(nn.functional.silu(self.first(x) + told))


class Counts(nn.Module):
    """Multiplies by the number of times it was called, which it keeps in place."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x * self.calls.clone()


class CountsAnew(Counts):
    """The same, with another tensor in the buffer after every call."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x * self.calls


class Scales(nn.Module):
    """Multiplies by a buffer that it only reads."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


# ---------------------------------------------------------------------------------------------- outputs and gradients


@in_every_mode
@in_every_direction
def test_training_step_is_that_of_the_plain_loop(memory: str, step: Callable[..., None]) -> None:
    assert_trains_alike(stack(3), memory, step)


@pytest.mark.parametrize("memory", SAVING)
@given(case=chains(max_steps=4, dtype=torch.float64))
def test_any_chain_has_the_outputs_and_gradients_of_the_plain_loop(memory: str, case: Case) -> None:
    plain, bands = case
    assert isinstance(plain, Sequential)
    judged = with_memory(plain, memory)
    outputs = as_tuple(plain(*bands))
    for a, b in zip(outputs, as_tuple(judged(*bands)), strict=True):
        assert torch.equal(a, b)
    assert_same_gradients(plain, judged, *bands, tolerance=1e-10)
    back = tuple(y.detach() for y in outputs)
    assert_same_gradients(Inverse(plain), Inverse(judged), *back, tolerance=1e-10)


@pytest.mark.parametrize("memory", SAVING)
@pytest.mark.parametrize("name", ["Sequential", "Sequential, nested", "Sequential, sharing", "Sequential, empty"])
@pytest.mark.parametrize("seed", range(3))
def test_float32_gradients_of_listed_chains(memory: str, name: str, seed: int) -> None:
    plain, bands = listed(name, seed)
    assert isinstance(plain, Sequential)
    assert_same_gradients(plain, with_memory(plain, memory), *bands, tolerance=5e-6)


@in_every_mode
def test_float32_gradients_at_depth_24_are_right_to_a_millionth(memory: str) -> None:
    """Against the plain loop in float64; what rounding alone costs the plain loop is 6e-7."""

    def make(inputs: int, outputs: int) -> nn.Module:
        convs = (
            nn.Conv2d(inputs, 32, 3, padding=1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, outputs, 3, padding=1),
        )
        return nn.Sequential(convs[0], nn.SiLU(), convs[1], nn.SiLU(), convs[2])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        steps = [s for _ in range(24) for s in (Update(make(12, 12)), AdditiveCoupling(make(12, 12)))]
        chain = Sequential(*steps)
    given_bands = tensor(1, 1, 12, 16, 16), tensor(2, 1, 12, 16, 16)
    exact = copy.deepcopy(chain).double()
    exact_loss = torch.stack([y.square().mean() for y in exact(*(x.double() for x in given_bands))]).sum()
    exact_loss.backward()
    chain.memory = memory  # type: ignore[assignment]
    torch.stack([y.square().mean() for y in chain(*given_bands)]).sum().backward()
    for (name, p), trusted in zip(chain.named_parameters(), exact.parameters(), strict=True):
        assert p.grad is not None
        assert trusted.grad is not None
        assert float((p.grad - trusted.grad).norm() / trusted.grad.norm()) <= 1e-6, name


@in_every_mode
@in_every_direction
def test_gradcheck(memory: str, step: Callable[..., None]) -> None:
    chain = with_memory(stack(), memory).double()
    run = {forward_step: chain, inverse_step: chain.inverse, inside_inverse: Inverse(chain)}[step]
    given_bands = tuple(x[:1, :, :2, :2].double().requires_grad_() for x in two_bands())
    assert torch.autograd.gradcheck(run, given_bands)


# ------------------------------------------------------------------------------------------------ around the chain


@in_every_mode
@in_every_direction
def test_inputs_are_used_again_after_the_chain_and_in_a_skip(memory: str, step: Callable[..., None]) -> None:
    def skip(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        before = approx.clone().detach(), detail.clone().detach()
        step(chain, approx, detail)
        loss(approx * detail.sum()).backward()
        y = chain(approx, detail)
        loss(y[0] + approx, y[1] * detail).backward()
        assert torch.equal(approx, before[0])
        assert torch.equal(detail, before[1])

    assert_trains_alike(stack(), memory, skip)


@in_every_mode
@pytest.mark.parametrize("inplace", [False, True])
def test_activation_before_the_chain(memory: str, inplace: bool) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        activation = nn.ReLU(inplace=inplace)
        loss(*chain(activation(approx * 1), activation(detail * 1))).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_bands_that_are_views_of_one_tensor(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        whole = torch.cat([approx, detail], 1)
        loss(*chain(whole[:, :1], whole[:, 1:])).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_autograd_grad(memory: str) -> None:
    chain = stack().double()
    expected = _autograd_grad(with_memory(chain, "store"))
    assert_close(_autograd_grad(with_memory(chain, memory)), expected)


def _autograd_grad(chain: Sequential) -> Gradients:
    inputs = dict(zip(("approx", "detail"), leaves(torch.float64), strict=True)) | dict(chain.named_parameters())
    there = loss(*chain(inputs["approx"], inputs["detail"]))
    back = loss(*chain.inverse(inputs["approx"], inputs["detail"]))
    gradients = torch.autograd.grad(there + back, list(inputs.values()))
    assert all(x.grad is None for x in inputs.values())
    return dict(zip(inputs, gradients, strict=True))


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("which", [(True, False), (False, True), (False, False)])
def test_inputs_without_gradients(memory: str, step: Callable[..., None], which: tuple[bool, bool]) -> None:
    def partly(chain: Sequential, *bands: Tensor) -> None:
        for band, need in zip(bands, which, strict=True):
            band.requires_grad_(need)
        step(chain, *bands)
        assert [band.grad is not None for band in bands] == list(which)

    assert_trains_alike(stack(), memory, partly)


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("frozen", ["0.predict", "1.update", "0", "0.predict.network.0.weight"])
def test_frozen_parameters_get_no_gradient(memory: str, step: Callable[..., None], frozen: str) -> None:
    chain = stack()
    for name, parameter in chain.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    assert_trains_alike(chain, memory, step)


@in_every_mode
def test_everything_frozen_but_the_input(memory: str) -> None:
    assert_trains_alike(stack().requires_grad_(False), memory, forward_step)


@in_every_mode
@pytest.mark.parametrize("middle", [nn.Identity, nn.Dropout, lambda: nn.BatchNorm2d(4), Counts])
def test_backward_twice(memory: str, middle: Callable[[], nn.Module]) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*chain(approx, detail))
        total.backward(retain_graph=True)
        total.backward()

    assert_trains_alike(stack(2, middle), memory, step)


@in_every_mode
def test_backward_a_second_time_without_retaining_is_an_error(memory: str) -> None:
    total = loss(*with_memory(stack(), memory)(*two_bands()))
    total.backward()
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()


@pytest.mark.parametrize("memory", ["store", "checkpoint"])
def test_double_backward(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        first = torch.autograd.grad(loss(*chain(approx, detail)), [approx, detail], create_graph=True)
        torch.stack([g.square().sum() for g in first]).sum().backward()

    assert_trains_alike(stack(), memory, step)


def test_double_backward_of_a_reversible_chain_is_refused() -> None:
    chain = with_memory(stack(), "reversible")
    approx, detail = leaves()
    with pytest.raises(
        RuntimeError, match="memory='reversible' cannot be differentiated twice; use memory='store' or 'checkpoint'"
    ):
        torch.autograd.grad(loss(*chain(approx, detail)), approx, create_graph=True)


def test_gradients_in_batches_are_refused() -> None:
    chain = with_memory(stack(), "reversible")
    approx, detail = leaves()
    y, _ = chain(approx, detail)
    both = torch.stack([y, y])
    refusal = "for several gradients at once, as is_grads_batched=True or torch.func ask; use memory='store'"
    with pytest.raises(RuntimeError, match=refusal):
        torch.autograd.grad(y, approx, both, is_grads_batched=True, retain_graph=True)
    with pytest.raises(RuntimeError, match=refusal):
        torch.func.vmap(lambda gradient: torch.autograd.grad(y, approx, gradient))(both)


@in_every_mode
@pytest.mark.parametrize("kept", [0, 1])
def test_unused_output(memory: str, kept: int) -> None:
    """Parameters that only the other output depends on get no gradient at all, as in the plain loop."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        loss(chain(approx, detail)[kept]).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_changed_output_is_right_or_an_error(memory: str) -> None:
    """The plain loop needs no output of a sum; a reversible chain does, and autograd sees that it was written to."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        approx, detail = chain(approx, detail)
        loss(approx.mul_(2), detail).backward()

    if memory == "reversible":
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients_of(with_memory(stack(), memory), step)
    else:
        assert_trains_alike(stack(), memory, step)


@in_every_mode
def test_no_gradient_needed_at_all(memory: str) -> None:
    chain = stack()
    expected, judged = chain(*two_bands()), with_memory(chain, memory)
    assert all(not y.requires_grad for y in with_memory(chain, memory).requires_grad_(False)(*two_bands()))
    for switch in (torch.no_grad, torch.inference_mode):
        for mode in (True, False):
            with switch():
                outputs = judged.train(mode)(*two_bands())
            assert all(not y.requires_grad for y in outputs)
            assert all(torch.equal(y, z) for y, z in zip(outputs, expected, strict=True))


@in_every_mode
def test_batch_of_none(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        torch.stack([y.sum() for y in chain(approx[:0], detail[:0])]).sum().backward()

    assert_trains_alike(stack(), memory, step)


# ----------------------------------------------------------------------------------------- random numbers and buffers


@in_every_mode
@in_every_direction
def test_dropout_draws_the_same_masks(memory: str, step: Callable[..., None]) -> None:
    assert_trains_alike(stack(3, nn.Dropout), memory, step)


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "BatchNorm": lambda: nn.BatchNorm2d(4),
    "BatchNorm, cumulative": lambda: nn.BatchNorm2d(4, momentum=None),  # type: ignore[arg-type]
    "the same BatchNorm twice": lambda: nn.Sequential(*2 * [nn.BatchNorm2d(4)]),
    "InstanceNorm": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
    "counter in place": Counts,
    "counter anew": CountsAnew,
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
}


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES.keys())
def test_buffers_change_once_a_step(memory: str, step: Callable[..., None], middle: Callable[[], nn.Module]) -> None:
    assert_trains_alike(stack(2, middle), memory, step)


@in_every_mode
def test_batch_norm_counts_its_batches_once(memory: str) -> None:
    chain = with_memory(stack(2, MIDDLES["BatchNorm"]), memory)
    for _ in range(3):
        forward_step(chain, *leaves())
    counts = [b.item() for name, b in chain.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts == [3] * 4


@in_every_mode
def test_evaluation_between_forward_and_backward_changes_nothing(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*chain(approx, detail))
        with torch.no_grad():
            chain.eval()(approx, detail)
        total.backward()
        assert not any(module.training for module in chain.modules())

    assert_trains_alike(stack(2, MIDDLES["BatchNorm"], nn.Dropout), memory, step)


@in_every_mode
def test_two_passes_before_the_backward(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        first, second = loss(*chain(approx, detail)), loss(*chain(approx * 2, detail))
        first.backward()
        second.backward()

    assert_trains_alike(stack(2, Counts, nn.Dropout), memory, step)


# --------------------------------------------------------------------------------------------------------- autocast


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_with_backward_outside(memory: str, step: Callable[..., None], dtype: torch.dtype) -> None:
    """Off by less than one rounding of the low precision, and bit-equal where bands are not rebuilt.

    Rebuilt bands differ by 1e-7; few numbers of a network's input are so close to a tie that this changes how they
    are rounded. Outside autocast's states, in float32, the figure would be 5e-2.
    """

    def under_autocast(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        run = {forward_step: chain, inverse_step: chain.inverse, inside_inverse: Inverse(chain)}[step]
        with torch.autocast("cpu", dtype):
            total = loss(*run(approx, detail))
        total.backward()

    tolerance = torch.finfo(dtype).eps / 2 if memory == "reversible" else 0.0
    assert_trains_alike(stack(6), memory, under_autocast, tolerance, torch.float32)


@in_every_mode
def test_autocast_with_the_network_used_again(memory: str) -> None:
    """Autocast caches a weight's low-precision copy, which must not lose its way to the weight inside the chain."""

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            y = chain(approx, detail)
            block = chain[0]
            assert isinstance(block, LiftingBlock)
            total = loss(*y) + loss(block.predict.network(approx))
        total.backward()

    assert_trains_alike(stack(), memory, step, 2**-7, torch.float32)


@pytest.mark.filterwarnings("ignore:Sequential with memory='reversible' rebuilt:RuntimeWarning")
@in_every_mode
@in_every_direction
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 1e-2), (torch.bfloat16, 6e-2)])
def test_bands_and_parameters_of_another_dtype(
    memory: str, step: Callable[..., None], dtype: torch.dtype, tolerance: float
) -> None:
    """Bands in bfloat16 are rebuilt to three digits; torch's checkpoint keeps them, and is exact."""
    assert_trains_alike(stack(), memory, step, tolerance if memory == "reversible" else 0.0, dtype)


# ------------------------------------------------------------------------------------------- modules and parameters


@in_every_mode
def test_pickle_and_deepcopy_keep_the_mode_and_the_gradients(memory: str) -> None:
    chain = with_memory(stack(), memory)
    expected = gradients_of(chain, forward_step)
    for again in (pickle.loads(pickle.dumps(chain)), copy.deepcopy(chain)):
        again.zero_grad()
        assert again.memory == memory
        assert_close(gradients_of(again, forward_step), expected, 0.0)


def _shared_networks() -> Sequential:
    predict, update = network(1, 3), network(3, 1)
    return Sequential(LiftingBlock(predict, update), LiftingBlock(predict, network(3, 1)), AdditiveCoupling(predict))


def _one_step_often() -> Sequential:
    block = LiftingBlock(network(1, 3, nn.BatchNorm2d(4)), network(3, 1, nn.Dropout()))
    return Sequential(block, block, Sequential(block), Inverse(AdditiveCoupling(network(1, 3))), block)


def _tied() -> Sequential:
    predict, update = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Tanh(), nn.Conv2d(3, 3, 1)), network(3, 1)
    assert isinstance(predict[0], nn.Conv2d)
    assert isinstance(predict[2], nn.Conv2d)
    predict[0].bias = predict[2].bias
    return Sequential(LiftingBlock(predict, update), AdditiveCoupling(nn.Conv2d(1, 3, 1)))


def _twice_in_a_network() -> Sequential:
    mix = nn.Conv2d(3, 3, 1)
    predict = nn.Sequential(nn.Conv2d(1, 3, 1), mix, nn.Tanh(), mix)
    return Sequential(LiftingBlock(predict, network(3, 1)), LiftingBlock(predict, network(3, 1)))


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("make", [_shared_networks, _one_step_often, _tied, _twice_in_a_network])
def test_shared_modules_and_parameters(memory: str, step: Callable[..., None], make: Callable[[], Sequential]) -> None:
    assert_trains_alike(randomise_(make()), memory, step)


@in_every_mode
@in_every_direction
def test_parametrised_weights(memory: str, step: Callable[..., None]) -> None:
    def make(inputs: int, outputs: int) -> nn.Module:
        return nn.utils.parametrizations.weight_norm(nn.Conv2d(inputs, outputs, 3, padding=1))

    assert_trains_alike(stack(2, make=make), memory, step)


@in_every_mode
@in_every_direction
def test_functional_call_gives_gradients_to_the_parameters_it_was_given(memory: str, step: Callable[..., None]) -> None:
    given_parameters: list[Tensor] = []

    def with_others(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        others = {name: (1.5 * p).detach().requires_grad_() for name, p in chain.named_parameters()}
        total = _functional(chain, others, step, approx, detail)
        total.backward()
        assert all(p.grad is None for p in chain.parameters())
        for name, p in chain.named_parameters():
            p.grad = others[name].grad
        given_parameters.extend(others.values())

    assert_trains_alike(stack(), memory, with_others)
    assert all(p.grad is not None for p in given_parameters)


def _functional(chain: Sequential, tensors: dict[str, Tensor], step: Callable[..., None], *bands: Tensor) -> Tensor:
    if step is forward_step:
        return loss(*functional_call(chain, tensors, bands))
    inverted = Inverse(chain)
    return loss(*functional_call(inverted, {f"module.{name}": tensor for name, tensor in tensors.items()}, bands))


@in_every_mode
def test_functional_call_with_a_function_of_the_parameters(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        others = {name: p.sin() for name, p in chain.named_parameters()}
        loss(*functional_call(chain, others, (approx, detail))).backward()

    assert_trains_alike(stack(), memory, step)


@in_every_mode
@pytest.mark.parametrize("middle", [Scales, Counts])
def test_functional_call_with_other_buffers(memory: str, middle: Callable[[], nn.Module]) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        others = {name: b + 2 for name, b in chain.named_buffers()}
        loss(*functional_call(chain, others, (approx, detail))).backward()

    assert_trains_alike(stack(2, middle), memory, step)


@in_every_mode
@in_every_direction
def test_parameter_written_to_before_the_backward_is_an_error(memory: str, step: Callable[..., None]) -> None:
    def late(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        run = {forward_step: chain, inverse_step: chain.inverse, inside_inverse: Inverse(chain)}[step]
        total = loss(*run(approx, detail))
        with torch.no_grad():
            chain.get_parameter("0.predict.network.2.weight").mul_(2)
        total.backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients_of(with_memory(stack(), memory), late)


@in_every_mode
def test_buffer_written_to_before_the_backward_is_an_error(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        total = loss(*chain(approx, detail))
        for buffer in chain.buffers():
            buffer.mul_(2)
        total.backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients_of(with_memory(stack(2, Scales), memory), step)


@in_every_mode
def test_networks_that_hold_chains(memory: str) -> None:
    class Held(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.inner = stack()
            self.inner.memory = memory  # type: ignore[assignment]
            self.first, self.last = nn.Conv2d(inputs, 4, 1), nn.Conv2d(4, outputs, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.last(torch.cat(self.inner(y[:, :1], y[:, 1:]), 1))

    plain = stack(2, make=Held)
    for module in plain.modules():
        if isinstance(module, Sequential):
            module.memory = "store"
    judged = with_memory(plain, memory)
    for module in judged.modules():
        if isinstance(module, Sequential):
            module.memory = memory  # type: ignore[assignment]
    assert_close(gradients_of(judged, forward_step), gradients_of(plain, forward_step))


@in_every_mode
@pytest.mark.parametrize("reentrant", [False, True])
def test_inside_a_checkpoint(memory: str, reentrant: bool) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        y = checkpoint(chain, approx, detail, use_reentrant=reentrant)
        assert y is not None
        loss(*y).backward()

    assert_trains_alike(stack(), memory, step)


# ----------------------------------------------------------------------------------------------------- compositions


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("middle", [nn.Identity, nn.Dropout, lambda: nn.BatchNorm2d(4), Counts])
def test_own_step_with_the_default_rebuild(
    memory: str, step: Callable[..., None], middle: Callable[[], nn.Module]
) -> None:
    chain = Sequential(Own(network(1, 3, middle())), LiftingBlock(network(1, 3), network(3, 1)), Own(network(1, 3)))
    assert_trains_alike(randomise_(chain), memory, step)


@in_every_mode
@in_every_direction
def test_subclass_of_a_coupling_does_not_inherit_how_it_is_rebuilt(memory: str, step: Callable[..., None]) -> None:
    class Twice(AdditiveCoupling):
        def forward(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return a, b + 2 * self.evaluate(a, b, condition)

        def inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return a, b - 2 * self.evaluate(a, b, condition)

    class Turned(LiftingBlock):
        def forward(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return super().forward(-approx, detail, condition=condition)

        def inverse(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
            approx, detail = super().inverse(approx, detail, condition=condition)
            return -approx, detail

    chain = randomise_(Sequential(Twice(network(1, 3)), Turned(network(1, 3), network(3, 1))))
    assert_trains_alike(chain, memory, step)


@in_every_mode
@in_every_direction
def test_steps_that_permute_bands_or_change_their_number(memory: str, step: Callable[..., None]) -> None:
    block = LiftingBlock(network(1, 3), network(3, 1))
    swapped = LiftingBlock(network(3, 1), network(1, 3))
    joined = Sequential(Inverse(Cut()), Cut())
    chain = Sequential(block, Turn(), swapped, Turn(), joined, block)
    assert_trains_alike(randomise_(chain), memory, step)


@in_every_mode
@pytest.mark.parametrize("inner", MODES)
@in_every_direction
def test_nested_chains_in_any_mix_of_modes(memory: str, inner: Any, step: Callable[..., None]) -> None:
    block = LiftingBlock(network(1, 3), network(3, 1))
    nested = Sequential(block, Sequential(Inverse(block), memory="store"), memory=inner)
    chain = Sequential(nested, Inverse(Sequential(AdditiveCoupling(network(1, 3)), nested)), Sequential())
    assert_trains_alike(randomise_(chain), memory, step)


@in_every_mode
@pytest.mark.parametrize("make", [Sequential, lambda: Sequential(Sequential(), Inverse(Sequential()))])
@in_every_direction
def test_empty_chain(memory: str, make: Callable[[], Sequential], step: Callable[..., None]) -> None:
    assert_trains_alike(make(), memory, step)


@in_every_mode
def test_pyramid_of_chains(memory: str) -> None:
    def level() -> Sequential:
        return Sequential(Haar(), *stack(2), memory=memory)  # type: ignore[arg-type]

    judged = randomise_(LiftingPyramid([level(), level()]))
    plain = copy.deepcopy(judged)
    for chain in plain.levels:
        assert isinstance(chain, Sequential)
        chain.memory = "store"
    x = tensor(0, 2, 1, 8, 8)
    assert_same_gradients(plain, judged, x, tolerance=5e-6)
    assert_same_gradients(Inverse(plain), Inverse(judged), *(y.detach() for y in plain(x)), tolerance=5e-6)
    outer = Sequential(copy.deepcopy(plain), Inverse(copy.deepcopy(plain)), memory=memory)  # type: ignore[arg-type]
    assert_same_gradients(with_memory(outer, "store"), outer, x, tolerance=5e-6)


# ------------------------------------------------------------------------------------------------------- conditions


@in_every_mode
@pytest.mark.parametrize("backwards", [False, True])
def test_gradient_of_a_condition(memory: str, backwards: bool) -> None:
    block = LiftingBlock(Conditioned(1, 3), network(3, 1))
    told = tensor(3, 2, 2, dtype=torch.float64).requires_grad_()
    chain = randomise_(Sequential(block, AdditiveCoupling(network(1, 3)), Inverse(block), Update(Conditioned(3, 1))))

    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        run = chain.inverse if backwards else chain
        loss(*run(approx, detail, condition=told)).backward()
        loss(*Inverse(chain)(approx, detail, condition=told.detach())).backward()

    assert_trains_alike(chain, memory, step)
    assert told.grad is not None
    both, told.grad = told.grad, None
    for _ in range(2):
        gradients_of(with_memory(chain, "store"), step)
    assert_close({"condition": both}, {"condition": told.grad})


@in_every_mode
@pytest.mark.parametrize("backwards", [False, True])
def test_condition_that_no_step_takes_is_refused(memory: str, backwards: bool) -> None:
    chain = with_memory(stack(), memory)
    run = chain.inverse if backwards else chain
    with pytest.raises(ValueError, match="Sequential got a condition, but none of its 2 steps takes one"):
        run(*leaves(), condition=torch.zeros(2, 2))


def test_a_condition_that_autograd_cannot_follow_is_refused() -> None:
    """Only where it would be lost: the other modes hand on whatever the networks take."""

    class Told(nn.Module):
        def forward(self, x: Tensor, *, condition: dict[str, float] | None = None) -> Tensor:
            return x * (condition or {"gain": 1.0})["gain"]

    bands = torch.ones(1, 2), torch.ones(1, 2)
    for memory in ("store", "checkpoint"):
        _, detail = Sequential(AdditiveCoupling(Told()), memory=memory)(*bands, condition={"gain": 3.0})
        assert torch.equal(detail, torch.full((1, 2), 4.0))
    with pytest.raises(TypeError, match=r"memory='reversible' needs a tensor as condition, .* got dict; with 'store'"):
        Sequential(AdditiveCoupling(Told()), memory="reversible")(*bands, condition={"gain": 3.0})


# ------------------------------------------------------------------------------------------------------- torch.func


@uses_decompositions
@in_every_mode
@pytest.mark.parametrize("backwards", [False, True])
def test_transforms_of_torch_func_fall_back(memory: str, backwards: bool) -> None:
    chain = stack().double()
    approx, detail = (x.double() for x in two_bands())
    plain, judged = with_memory(chain, "store"), with_memory(chain, memory)

    def total(module: Sequential) -> Callable[..., Tensor]:
        run = Inverse(module) if backwards else module
        prefix = "module." if backwards else ""
        return lambda parameters, a, d: torch.stack(
            [y.square().sum() for y in functional_call(run, {prefix + k: p for k, p in parameters.items()}, (a, d))]
        ).sum()

    parameters = {name: p.detach() for name, p in chain.named_parameters()}
    for transform in (
        torch.func.grad,
        lambda f: torch.func.jacrev(f, argnums=1),
        lambda f: torch.func.vmap(f, (None, 0, 0)),
    ):
        bands = (approx[:, None], detail[:, None]) if "vmap" in str(transform.__code__.co_names) else (approx, detail)
        expected, actual = (transform(total(module))(parameters, *bands) for module in (plain, judged))
        _assert_all_equal(actual, expected)
    tangents = tuple(torch.ones_like(x) for x in (approx, detail))
    expected, actual = (
        torch.func.jvp(module.inverse if backwards else module, (approx, detail), tangents)
        for module in (plain, judged)
    )
    _assert_all_equal(actual, expected)
    per_image, trusted = (
        torch.func.vmap(torch.func.grad(total(module)), (None, 0, 0))(parameters, approx[:, None], detail[:, None])
        for module in (judged, plain)
    )
    _assert_all_equal(per_image, trusted)


def _assert_all_equal(actual: object, expected: object) -> None:
    a, b = tree_leaves(actual), tree_leaves(expected)
    assert len(a) == len(b) > 0
    assert all(torch.allclose(x, y, rtol=1e-12, atol=1e-12) for x, y in zip(a, b, strict=True))


@in_every_mode
def test_vmap_with_gradients_outside(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        loss(*torch.func.vmap(chain)(approx[:, None], detail[:, None])).backward()

    assert_trains_alike(stack(), memory, step)


@uses_decompositions
@in_every_mode
def test_forward_mode_differentiation(memory: str) -> None:
    chain = stack()

    def tangents(module: Sequential) -> list[Tensor]:
        with torch.autograd.forward_ad.dual_level():
            duals = [torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)) for x in two_bands()]
            tangents = [torch.autograd.forward_ad.unpack_dual(y).tangent for y in module(*duals)]
        return [tangent for tangent in tangents if tangent is not None]

    _assert_all_equal(tangents(with_memory(chain, memory)), tangents(chain))


# ------------------------------------------------------------------------------------------------- the mode and errors


def test_memory_may_be_set_later_and_names_do_not_depend_on_it() -> None:
    chain = stack()
    assert chain.memory == "store"
    names = list(chain.state_dict())
    for memory in MODES:
        chain.memory = memory
        assert chain.memory == memory
        assert list(chain.state_dict()) == names
        assert [name for name, _ in chain.named_parameters()] == names
        assert chain[:1].memory == memory
        assert Sequential(*chain, memory=memory).memory == memory


def test_other_memory_is_refused() -> None:
    refusal = "Sequential needs a memory of 'store', 'reversible' or 'checkpoint', got 'none'"
    with pytest.raises(ValueError, match=refusal):
        Sequential(memory="none")  # type: ignore[arg-type]
    chain = stack()
    with pytest.raises(ValueError, match=refusal):
        chain.memory = "none"  # type: ignore[assignment]
    assert chain.memory == "store"


@in_every_mode
def test_wrong_channels_are_named(memory: str) -> None:
    approx, detail = leaves()
    chain = Sequential(LiftingBlock(network(1, 2), network(3, 1)), memory=memory)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Predict needs a network output of shape \(2, 3, 5, 5\), got \(2, 2, 5, 5\)"):
        chain(approx, detail)
    with pytest.raises(ValueError, match=r"Predict needs a network output of shape \(2, 3, 5, 5\), got \(2, 2, 5, 5\)"):
        chain.inverse(approx, detail)


@in_every_mode
def test_wrong_numbers_of_bands_are_named(memory: str) -> None:
    """By the positions that the chain has for its user, in every mode."""
    x, block = tensor(0, 1, 1, 4, 4).requires_grad_(), LiftingBlock(network(1, 3), network(3, 1))
    halves = torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2)
    mode: Any = memory
    cases: list[tuple[Sequential, bool, tuple[Tensor, ...], str]] = [
        (Sequential(block), False, (x,), r"step 0 \(LiftingBlock\) takes 2 band\(s\), got 1 from the caller"),
        (
            Sequential(Haar(), block, Haar()),
            False,
            (x,),
            r"step 2 \(Haar\) takes 1 band\(s\), got 2 from step 1 \(LiftingBlock\)",
        ),
        (
            Sequential(Haar(), block, Sequential(Inverse(block), Haar())),
            False,
            (x,),
            r"step 1 \(Haar\) takes 1 band\(s\), got 2 from step 0 \(Inverse\)",
        ),
        (
            Sequential(Haar(), block),
            True,
            (x,),
            r"step 1 \(LiftingBlock\) takes back 2 band\(s\), got 1 from the caller",
        ),
        (
            Sequential(Haar(), Inverse(Haar()), block),
            True,
            halves,
            r"step 1 \(Inverse\) takes back 1 band\(s\), got 2 from step 2 \(LiftingBlock\)",
        ),
    ]
    for chain, backwards, bands, message in cases:
        chain.memory = mode
        with pytest.raises(ValueError, match="Sequential " + message):
            (chain.inverse if backwards else chain)(*bands)


# ------------------------------------------------------------------------------------------------------------- drift


def _growing(gain: float, depth: int = 24) -> Sequential:
    def make() -> nn.Module:
        last = nn.Conv2d(8, 4, 3, padding=1)
        last.weight.data.mul_(gain)
        return nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.LeakyReLU(), last)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Sequential(*(s for _ in range(depth) for s in (Update(make()), AdditiveCoupling(make()))))


@pytest.mark.parametrize("backwards", [False, True])
def test_drift_is_told(backwards: bool) -> None:
    chain = with_memory(_growing(8.0), "reversible")
    outputs = (chain.inverse if backwards else chain)(tensor(1, 1, 4, 8, 8), tensor(2, 1, 4, 8, 8))
    with pytest.warns(RuntimeWarning, match=r"relative error of \d\.\de[-+]\d\d, above 1e-03 from step \d+ of 48 down"):
        loss(*outputs).backward()


@pytest.mark.parametrize("memory", ["store", "checkpoint"])
def test_other_modes_do_not_drift(memory: str) -> None:
    bands = tensor(1, 1, 4, 8, 8), tensor(2, 1, 4, 8, 8)
    loss(*with_memory(_growing(8.0), memory)(*bands)).backward()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("depth", "zeros"), [(1, ()), (24, (0,)), (24, (1,)), (24, (0, 1)), (96, ())])
def test_tame_chains_do_not_warn_even_of_bands_that_are_zero(
    depth: int, backwards: bool, zeros: tuple[int, ...]
) -> None:
    """A band of zeros, such as the lost detail of a hiding network, comes back as 1e-8, which is no drift."""
    chain = with_memory(_growing(0.5, depth), "reversible")
    bands = [tensor(i, 1, 4, 4, 4) * (i not in zeros) for i in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(*(chain.inverse if backwards else chain)(*bands)).backward()


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e30), (torch.float64, 1e39), (torch.float64, 1e-200)])
def test_bands_of_any_size_do_not_drift(dtype: torch.dtype, size: float) -> None:
    chain = Sequential(AdditiveCoupling(nn.Identity()), memory="reversible")
    a, b = (size * tensor(seed, 1, 4, 4, dtype=dtype) for seed in range(2))
    torch.stack([y.sum() for y in chain(a.requires_grad_(), b)]).sum().backward()
    assert a.grad is not None


def test_not_a_number_is_told_too() -> None:
    chain = with_memory(stack(), "reversible")
    with pytest.warns(RuntimeWarning, match="relative error of nan"):
        loss(*chain(tensor(0, 1, 1, 4, 4) * torch.nan, tensor(1, 1, 3, 4, 4))).backward()


@pytest.mark.parametrize("drift", [1e-2, 1e-5])
def test_drift_is_measured(drift: float) -> None:
    """An inverse that is off by a known part is told, or not, by that part."""

    class Off(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

        def inverse(self, x: Tensor) -> Tensor:
            return x / 2 * (1 + drift)

    y = Sequential(Off(), memory="reversible")(tensor(0, 1, 1, 4, 4).requires_grad_())
    assert isinstance(y, Tensor)
    if drift > 1e-3:
        with pytest.warns(RuntimeWarning, match=r"relative error of 1\.0e-02, above 1e-03 from step 0 of 1"):
            loss(y).backward()
    else:
        loss(y).backward()


def test_predictors_train_as_they_come() -> None:
    """Zero last convolutions, as at initialisation: nothing to divide by, nothing to warn of."""
    blocks = [LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)) for _ in range(2)]
    chain = Sequential(*blocks)
    assert_trains_alike(chain, "reversible", forward_step)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_chains_may_begin_with_integers(memory: Memory) -> None:
    class ToFloat(Invertible):
        def forward(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
            return approx / 256, detail / 256

        def inverse(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
            return (256 * approx).round().short(), (256 * detail).round().short()

    block = LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1))
    chain = randomise_(Sequential(LosslessWavelet(), ToFloat(), block))
    x = torch.arange(64, dtype=torch.int16).reshape(1, 1, 8, 8)
    gradients = []
    for chain.memory in ("store", memory):
        total = torch.stack([y.square().sum() for y in as_tuple(chain(x))]).sum()
        gradients.append(torch.autograd.grad(total, list(chain.parameters())))
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected)
