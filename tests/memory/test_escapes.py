"""Activations that a network keeps in a list, a dictionary or a closure, or that a hook collects."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Sequential, Update, exact


class Keeping(nn.Module):
    """Hands its activation to a function outside of it."""

    def __init__(self, keep: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        activation = torch.tanh(self.layer(x))
        self.keep(activation)
        return activation * 2


def train(network: nn.Module, form: Callable[[Sequential], nn.Module] = lambda chain: chain) -> None:
    """One pass of a chain whose second network is given; the first makes the input of the second need a gradient."""
    chain = form(Sequential(AdditiveCoupling(nn.Conv2d(3, 3, 1)), Update(network), memory="reversible"))
    torch.cat(chain(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))).sum().backward()


@pytest.mark.parametrize("form", [lambda chain: chain, exact])
@pytest.mark.parametrize("change", [lambda x: x, lambda x: x.mean()])
def test_a_kept_activation_is_reported(
    form: Callable[[Sequential], nn.Module], change: Callable[[Tensor], Tensor]
) -> None:
    kept: list[Tensor] = []
    with pytest.warns(RuntimeWarning, match="step 1 .Update.: a tensor that depends on its inputs is kept"):
        train(Keeping(lambda x: kept.append(change(x))), form)


def test_what_a_hook_collects_is_reported() -> None:
    collected: list[object] = []
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh())
    network[0].register_forward_hook(lambda _module, _inputs, output: collected.append(output))
    with pytest.warns(RuntimeWarning, match="or by a hook"):
        train(network)


@pytest.mark.parametrize("change", [Tensor.detach, torch.ones_like, lambda x: x.mean().item()])
def test_what_needs_no_gradient_may_be_kept(change: Callable[[Tensor], object]) -> None:
    kept: list[object] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(Keeping(lambda x: kept.append(change(x))))
    assert len(kept) == 2
