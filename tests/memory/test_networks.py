"""Law: networks of every kind get in each memory mode the gradients that they get in the plain loop.

Each network here once got wrong gradients: it fills memory with random numbers in the order of its input, keeps what it
has computed, or holds its weights where a copy would not find them.
"""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from liftlayers import AdditiveCoupling, Haar, Inverse, Invertible, LearnedWavelet, Sequential, Swap, set_memory
from liftlayers._bands import as_tuple
from liftlayers.testing import randomise_
from tests.memory.helpers import (
    MODES,
    Gradients,
    assert_close,
    chain_of,
    grads,
    in_both_directions,
    in_saving_modes,
    loss,
    two_alike,
)
from tests.strategies import tensor


def gradients(chain: Sequential, memory: str, *bands: Tensor, passes: int = 1) -> Gradients:
    """Gradients of the bands and of all parameters after some training passes of a copy of a chain."""
    return gradients_of_itself(copy.deepcopy(chain), memory, *bands, passes=passes)


def gradients_of_itself(chain: Sequential, memory: str, *bands: Tensor, passes: int = 1) -> Gradients:
    """The same for the chain itself, where a copy would lose its hooks or its leaves."""
    set_memory(chain, memory).zero_grad()  # type: ignore[arg-type]
    given = [x.detach().requires_grad_() for x in bands]
    for _ in range(passes):
        torch.manual_seed(1)
        loss(*as_tuple(chain(*given))).backward()
    return grads((*given, *chain.parameters()))


# Random numbers


class Transposed(Invertible):
    """Exchanges height and width: the band becomes a view with other strides."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT

    def inverse(self, x: Tensor) -> Tensor:
        return x.mT


def dropping(channels: int) -> nn.Module:
    """A network with random numbers in the middle, whose order in memory is that of its input."""
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(4, channels * 3, 1))


def haar_chain() -> Sequential:
    return Sequential(Haar(), AdditiveCoupling(dropping(2)), Inverse(Haar()))


def wavelet_chain() -> Sequential:
    def network(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1)), nn.Dropout(0.5))

    return Sequential(LearnedWavelet("5/3", network=network), AdditiveCoupling(dropping(2)), Inverse(Haar()))


def view_chain() -> Sequential:
    return Sequential(Transposed(), *haar_chain(), Transposed(), *haar_chain())


@in_saving_modes
@in_both_directions
@pytest.mark.parametrize("make", [haar_chain, view_chain, wavelet_chain])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_for_each_layout_of_the_input(
    memory: str, backwards: bool, make: Callable[[], Sequential], layout: torch.memory_format
) -> None:
    chain = randomise_(make()).double()
    x = tensor(0, 2, 2, 8, 8, dtype=torch.float64).to(memory_format=layout)
    turned = Sequential(Inverse(chain)) if backwards else chain
    assert_close(gradients(turned, memory, x), gradients(turned, "store", x))


# Networks that keep what they have computed


class Keeps(nn.Module):
    """Computes its weight at its first call, and keeps it for the calls that follow."""

    def __init__(self) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.zeros(4, 4))
        self.weight: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            self.weight = self.logarithm.exp()
        return torch.einsum("bchw,cd->bdhw", x, self.weight)


class Positions(nn.Module):
    """Adds numbers for the positions, which depend on no parameter and are computed at the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.arange(x.shape[-1], dtype=x.dtype).cos()
        return self.conv(x + self.table)


@in_saving_modes
@pytest.mark.parametrize("shared", [False, True])
def test_weight_that_is_computed_at_the_first_call(memory: str, shared: bool) -> None:
    first = Keeps()
    chain = chain_of(first, first if shared else Keeps())
    assert_close(gradients(chain, memory, *two_alike()), gradients(chain, "store", *two_alike()))


@pytest.mark.parametrize("memory", ["store", "reversible"])
def test_weight_that_is_kept_for_the_next_pass_is_an_error(memory: str) -> None:
    """As with a plain loop, the graph of the weight has been freed by then."""
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        gradients(chain_of(Keeps(), Keeps()), memory, *two_alike(), passes=2)


@in_saving_modes
def test_constant_that_is_computed_at_the_first_call(memory: str) -> None:
    chain = chain_of(Positions(), Positions())
    expected = gradients(chain, "store", *two_alike(), passes=2)
    assert_close(gradients(chain, memory, *two_alike(), passes=2), expected)


@in_saving_modes
def test_what_was_kept_at_the_first_call_stays(memory: str) -> None:
    network = Positions()
    outputs = set_memory(chain_of(network), memory)(*(x.requires_grad_() for x in two_alike()))  # type: ignore[arg-type]
    table = network.table
    loss(*outputs).backward()
    assert network.table is table


@in_saving_modes
def test_weights_of_parametrizations_are_cached(memory: str) -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    def found(mode: str) -> Gradients:
        conv = nn.Conv2d(4, 4, 1)
        parametrize.register_parametrization(conv, "weight", Doubled())
        chain, bands = set_memory(chain_of(conv, conv), mode), two_alike()  # type: ignore[arg-type]
        with parametrize.cached():
            loss(*chain(*bands)).backward()
        return grads(chain.parameters())

    assert_close(found(memory), found("store"))


class Activation(nn.Module):
    """Stores what it computes, for a loss or for a picture of it."""

    def __init__(self, store: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.store = nn.Conv2d(4, 4, 1), store

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        self.stored = self.store(x, y)
        return y.tanh()


@pytest.mark.parametrize("needing", [False, True], ids=["images", "bands with gradients"])
@pytest.mark.parametrize("mode", MODES)
def test_activations_for_a_loss_have_their_gradient_or_a_warning(mode: str, needing: bool) -> None:
    """In the first pass with "reversible" there is a warning; then the step keeps its input."""
    network = Activation(lambda _x, y: y)
    chain = chain_of(network)

    def found(mode: str) -> Gradients:
        bands = [x.detach().requires_grad_(needing) for x in two_alike()]
        set_memory(chain, mode)  # type: ignore[arg-type]
        outputs = chain(*bands)
        chain.zero_grad()
        (loss(*outputs) + network.stored.square().sum()).backward()
        return grads((*bands, *chain.parameters()))

    expected = found("store")
    del network.stored
    if mode == "reversible":
        match = r"step 0 \(AdditiveCoupling\): Activation has stored an activation as stored, which had no graph"
        with pytest.warns(RuntimeWarning, match=match):
            found(mode)
    for _ in range(2):
        assert_close(found(mode), expected)


@pytest.mark.parametrize("store", [lambda _x, y: y.detach(), lambda x, _y: x, lambda x, _y: torch.ones_like(x)])
def test_tensors_that_no_gradient_can_reach_are_stored_without_a_warning(
    store: Callable[[Tensor, Tensor], Tensor],
) -> None:
    chain, bands = set_memory(chain_of(Activation(store)), "reversible"), two_alike()
    for _ in range(2):
        loss(*chain(*(band.detach() for band in bands))).backward()


# Networks that hold their weights in a way of their own


class Recurrent(nn.Module):
    """An LSTM over the rows of the image, which holds its weights in a list besides."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cells(x.flatten(2).mT)[0].mT.reshape(x.shape)


def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()))


def traced() -> nn.Module:
    return torch.jit.trace(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()).double(), two_alike()[0].detach())  # type: ignore[return-value]


def hooked() -> nn.Module:
    """A network whose gradient is doubled by a hook of its weight."""
    network = nn.Conv2d(4, 4, 3, padding=1)
    network.weight.register_hook(lambda gradient: 2 * gradient)
    return network


@in_saving_modes
def test_recurrent_networks(memory: str) -> None:
    chain = chain_of(Recurrent(), Recurrent())
    assert_close(gradients(chain, memory, *two_alike()), gradients(chain, "store", *two_alike()))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("make", [hooked, scripted, traced])
@in_saving_modes
def test_hooks_of_parameters_and_scripted_networks(make: Callable[[], nn.Module], memory: str) -> None:
    """Hooks see the total of a network's gradients, once."""
    network = make()
    chain = chain_of(network, network)
    expected = gradients_of_itself(chain, "store", *two_alike())
    assert all(gradient is not None for gradient in expected.values())
    assert_close(gradients_of_itself(chain, memory, *two_alike()), expected)


class Elsewhere(nn.Module):
    """Scales by a number that it finds in a closure, and shifts by one that it holds in a list."""

    def __init__(self, gain: Tensor) -> None:
        super().__init__()
        self.scaled = lambda x: x * gain

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(x)


@pytest.mark.parametrize("compute", [lambda gain: gain, lambda gain: 2 * gain])
def test_tensors_that_a_network_does_not_hold(compute: Callable[[Tensor], Tensor]) -> None:
    """A reversible chain refuses them; in the other modes autograd finds them."""
    found = []
    for memory in ("store", "checkpoint"):
        gain = torch.ones(3, 1, 1, dtype=torch.float64, requires_grad=True)
        chain = Sequential(AdditiveCoupling(Elsewhere(compute(gain[:1]))), memory=memory)  # type: ignore[arg-type]
        loss(*chain(*two_alike())).backward()
        found.append(gain.grad)
    assert torch.equal(*found)  # type: ignore[arg-type]
    gain = torch.ones(3, 1, 1, dtype=torch.float64, requires_grad=True)
    chain = Sequential(Swap(), AdditiveCoupling(Elsewhere(compute(gain))), memory="reversible")
    outputs = chain(*(x.requires_grad_() for x in two_alike(channels=3)))
    with pytest.raises(RuntimeError, match=r"shape \(3, 1, 1\), which step 1 \(AdditiveCoupling\) uses"):
        loss(*outputs).backward()


class Reentrant(nn.Module):
    """Checkpoints its layer in the older way of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.conv, x, use_reentrant=True)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpoints_inside_a_network() -> None:
    """They cannot be differentiated apart from the graph around them; the error says what to do."""
    chain = chain_of(Reentrant(), Reentrant())
    assert_close(gradients(chain, "checkpoint", *two_alike()), gradients(chain, "store", *two_alike()))
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        gradients(chain, "reversible", *two_alike())


# Conditions


@in_saving_modes
def test_condition_written_to_before_the_backward_is_an_error(memory: str) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, *, condition: Tensor) -> Tensor:
            return x * condition

    chain = Sequential(AdditiveCoupling(Scaled()), memory=memory)  # type: ignore[arg-type]
    condition = torch.ones(1)
    a, b = (x.requires_grad_() for x in two_alike())
    outputs = chain(a, b, condition=condition)
    condition.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*version 1; expected version 0"):
        loss(*outputs).backward()


@pytest.mark.parametrize("memory", ["store", "checkpoint"])  # "reversible" takes tensors only
def test_part_of_a_condition_written_to_before_the_backward_is_an_error(memory: str) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, *, condition: dict[str, Tensor]) -> Tensor:
            return x * condition["scale"]

    chain = Sequential(AdditiveCoupling(Scaled()), memory=memory)  # type: ignore[arg-type]
    condition = {"scale": torch.ones(1)}
    a, b = (x.requires_grad_() for x in two_alike())
    outputs = chain(a, b, condition=condition)  # type: ignore[arg-type]
    condition["scale"].mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*version 1; expected version 0"):
        loss(*outputs).backward()
