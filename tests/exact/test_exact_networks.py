"""Law: an exact chain inverts bit for bit whichever of its directions records gradients, for networks of every kind.

Kernels may depend on whether autograd records: attention has a fast path without it, recurrent networks another one,
and products of matrices are folded in another way.
"""

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Exact, Haar, Sequential, Swap, exact
from liftlayers._bands import as_tuple
from liftlayers.testing import assert_same_gradients
from tests.exact.exact_chains import casts
from tests.memory.helpers import assert_same_tensors
from tests.strategies import tensor


class OverTokens(nn.Module):
    """A network over tokens, which here are the columns of (B, 8, N)."""

    def __init__(self, inner: nn.Module, *, copies: int = 1) -> None:
        super().__init__()
        self.inner, self.copies = inner, copies

    def forward(self, x: Tensor) -> Tensor:
        output = self.inner(*[x.mT] * self.copies)
        return (output[0] if isinstance(output, tuple) else output).mT


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "encoder": lambda: OverTokens(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
    "attention": lambda: OverTokens(nn.MultiheadAttention(8, 2, batch_first=True), copies=3),
    "lstm": lambda: OverTokens(nn.LSTM(8, 8, batch_first=True)),
    "gru": lambda: OverTokens(nn.GRU(8, 8, batch_first=True)),
    "linear": lambda: OverTokens(nn.Linear(8, 8)),
}
GRAD_MODES = [torch.enable_grad, torch.no_grad, torch.inference_mode]


def tokens() -> tuple[Tensor, Tensor]:
    """Two bands on the grid of 16 bits."""
    return tuple((tensor(seed, 3, 8, 10) * 2**16).round() / 2**16 for seed in range(2))  # type: ignore[return-value]


def chain_of(name: str) -> Exact:
    torch.manual_seed(0)
    steps = [AdditiveCoupling(NETWORKS[name]()), Swap(), AdditiveCoupling(NETWORKS[name]())]
    return exact(Sequential(*steps)).eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", GRAD_MODES)
@casts
def test_inverse_in_another_grad_mode(name: str, mode: Any, cast: torch.dtype | None) -> None:
    chain, bands = chain_of(name), tokens()
    autocast = torch.autocast("cpu", cast) if cast else contextlib.nullcontext()
    if name == "lstm":
        try:
            with autocast:
                NETWORKS[name]()(bands[0])
        except RuntimeError as error:
            pytest.skip(f"oneDNN has no LSTM in {cast} on this processor: {error}")
    with autocast:
        outputs = chain(*(x.clone().requires_grad_() for x in bands))
    with autocast, mode():
        again = chain.inverse(*(x.detach() for x in outputs))
        without = chain(*bands)
    for x, y in zip((*again, *without), (*bands, *outputs), strict=True):
        assert torch.equal(x, y)
    if mode is not torch.enable_grad:
        assert not any(x.requires_grad for x in (*again, *without))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_equal_those_of_the_stored_chain_in_every_bit(name: str) -> None:
    chains = chain_of(name), chain_of(name)
    chains[1].memory = "reversible"
    assert_same_gradients(*chains, *tokens(), tolerance=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_activations_are_not_kept_without_gradients(mode: Any) -> None:
    """The input of the second layer is gone as soon as the layer has been evaluated."""
    kept: list[weakref.ref[Tensor]] = []

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            hidden = x.tanh()  # saves its output for the backward pass
            kept.append(weakref.ref(hidden))
            output = hidden.square()  # saves its input
            assert output.requires_grad
            del hidden
            assert kept[-1]() is None
            return output

    with mode():
        exact(Sequential(AdditiveCoupling(Network())))(*tokens())
    assert len(kept) == 1


class Potential(nn.Module):
    """Returns the gradient of a learned potential, which it computes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv1d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.inner(given).tanh().sum(), given, create_graph=True)
        return gradient


class FunctionalPotential(Potential):
    def forward(self, x: Tensor) -> Tensor:
        return torch.func.grad(lambda given: self.inner(given).tanh().sum())(x)


@pytest.mark.parametrize("kind", [Potential, FunctionalPotential])
@pytest.mark.parametrize("mode", GRAD_MODES[:2])
def test_networks_may_differentiate(mode: Any, kind: type[Potential]) -> None:
    chain, bands = exact(Sequential(AdditiveCoupling(kind()))), tokens()
    outputs = chain(*bands)
    with mode():
        assert all(map(torch.equal, chain(*bands), outputs))
        assert all(map(torch.equal, chain.inverse(*outputs), bands))


def test_chains_built_in_inference_mode_run_there() -> None:
    with torch.inference_mode():
        chain, bands = chain_of("linear"), tokens()
        assert all(map(torch.equal, chain.inverse(*chain(*bands)), bands))


def test_outputs_need_a_gradient_only_where_one_may_be_asked_for() -> None:
    """Of parameters that are trained, of inputs, and of tensors that a network does not hold."""
    chain, gain = chain_of("linear"), torch.ones(1, requires_grad=True)
    a, b = tokens()
    assert chain(a, b)[0].requires_grad
    chain.requires_grad_(False)
    assert not any(x.requires_grad for x in chain(a, b))
    assert chain(a.clone().requires_grad_(), b)[1].requires_grad

    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * gain

    as_tuple(exact(Sequential(AdditiveCoupling(Scaled())))(a, b))[1].sum().backward()
    assert gain.grad is not None


@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_hooks_of_the_chain_and_its_steps_are_not_called(kind: str) -> None:
    """They could change what is on the grid. Hooks of networks are part of what the network computes."""
    calls: list[str] = []
    chain = Sequential(Haar(), Sequential(AdditiveCoupling(nn.Conv2d(2, 6, 1))))
    network = chain[1][0].network  # type: ignore[index]
    named: dict[str, nn.Module] = {"chain": chain, "haar": chain[0], "coupling": chain[1][0], "network": network}  # type: ignore[index]
    for name, module in named.items():
        getattr(module, f"register_{kind}_hook")(lambda *_, name=name: calls.append(name))
    made, x = exact(chain), torch.round(tensor(0, 1, 2, 4, 4) * 16)
    assert_same_tensors(made.inverse(*as_tuple(made(x))), x)
    assert calls == ["network", "network"]
    assert all(getattr(module, f"_{kind}_hooks") for module in named.values())
