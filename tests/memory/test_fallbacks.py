"""Law: where a mode cannot work it falls back to the plain loop or raises an error that names another mode.

The cases are transforms of torch.func, forward mode, torch.compile and double backward.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from liftlayers import Inverse, Sequential
from tests.memory.helpers import (
    assert_trains_alike,
    in_both_directions,
    in_every_mode,
    in_saving_modes,
    leaves,
    loss,
    stack,
    two_bands,
    with_memory,
)
from tests.strategies import tensor

# torch's own forward-mode rules are compiled with torch.jit, which warns that it is old.
uses_decompositions = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated")


def assert_all_close(actual: object, expected: object) -> None:
    a, b = tree_leaves(actual), tree_leaves(expected)
    assert len(a) == len(b) > 0
    assert all(torch.allclose(x, y, rtol=1e-12, atol=1e-12) for x, y in zip(a, b, strict=True))


# torch.func and forward mode


@uses_decompositions
@in_every_mode
@in_both_directions
def test_transforms_of_torch_func_fall_back(memory: str, backwards: bool) -> None:
    chain = stack().double()
    bands = tuple(x.double() for x in two_bands())
    images = tuple(x[:, None] for x in bands)
    parameters = {name: p.detach() for name, p in chain.named_parameters()}

    def transformed(module: Sequential) -> list[object]:
        run, prefix = (Inverse(module), "module.") if backwards else (module, "")

        def total(parameters: dict[str, Tensor], *bands: Tensor) -> Tensor:
            named = {prefix + name: p for name, p in parameters.items()}
            return torch.stack([y.square().sum() for y in functional_call(run, named, bands)]).sum()

        return [
            torch.func.grad(total)(parameters, *bands),
            torch.func.jacrev(total, argnums=1)(parameters, *bands),
            torch.func.vmap(total, (None, 0, 0))(parameters, *images),
            torch.func.vmap(torch.func.grad(total), (None, 0, 0))(parameters, *images),
            torch.func.jvp(run, bands, tuple(torch.ones_like(x) for x in bands)),
        ]

    assert_all_close(transformed(with_memory(chain, memory)), transformed(with_memory(chain, "store")))


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

    assert_all_close(tangents(with_memory(chain, memory)), tangents(chain))


# Double backward and several gradients at once


@pytest.mark.parametrize("memory", ["store", "checkpoint"])
def test_double_backward(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        first = torch.autograd.grad(loss(*chain(approx, detail)), [approx, detail], create_graph=True)
        torch.stack([g.square().sum() for g in first]).sum().backward()

    assert_trains_alike(stack(), memory, step)


def test_double_backward_of_a_reversible_chain_is_refused() -> None:
    approx, detail = leaves()
    refusal = "memory='reversible' cannot be differentiated twice; use memory='store' or 'checkpoint'"
    with pytest.raises(RuntimeError, match=refusal):
        torch.autograd.grad(loss(*stack(memory="reversible")(approx, detail)), approx, create_graph=True)


@in_every_mode
def test_backward_a_second_time_without_retaining_is_an_error(memory: str) -> None:
    total = loss(*stack(memory=memory)(*two_bands()))
    total.backward()
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()


def test_gradients_in_batches_are_refused() -> None:
    approx, detail = leaves()
    y, _ = stack(memory="reversible")(approx, detail)
    both = torch.stack([y, y])
    refusal = "for several gradients at once, as is_grads_batched=True or torch.func ask; use memory='store'"
    with pytest.raises(RuntimeError, match=refusal):
        torch.autograd.grad(y, approx, both, is_grads_batched=True, retain_graph=True)
    with pytest.raises(RuntimeError, match=refusal):
        torch.func.vmap(lambda gradient: torch.autograd.grad(y, approx, gradient))(both)


# torch.compile


def gradients(memory: Any, backend: str | None, *, backwards: bool) -> list[Tensor]:
    """The loss of a training step and its gradients, compiled in one graph if there is a backend."""
    chain = stack(memory=memory).double()
    run = Inverse(chain) if backwards else chain

    def total(*bands: Tensor) -> Tensor:
        return loss(*run(*bands))

    function: Callable[..., Tensor] = total
    if backend is not None:
        torch._dynamo.reset()
        function = torch.compile(total, fullgraph=True, backend=backend)
    bands = [tensor(c, 2, c, 4, 4, dtype=torch.float64).requires_grad_() for c in (1, 3)]
    value = function(*bands)
    value.backward()
    found = [value.detach(), *(x.grad for x in (*bands, *chain.parameters()))]
    return [x for x in found if x is not None]


def assert_compiles(memory: str, backend: str, *, backwards: bool) -> None:
    expected = gradients("store", None, backwards=backwards)
    actual = gradients(memory, backend, backwards=backwards)
    assert len(actual) == len(expected) == 1 + 2 + 16
    for x, y in zip(actual, expected, strict=True):
        assert torch.allclose(x, y, rtol=1e-10, atol=1e-14)


# The compiler's own warnings.
warns = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@warns
@in_saving_modes
@in_both_directions
def test_training_step_compiles_in_one_graph(memory: str, backwards: bool) -> None:
    assert_compiles(memory, "aot_eager", backwards=backwards)


@pytest.mark.slow
@warns
def test_training_step_compiles_with_inductor() -> None:
    assert_compiles("reversible", "inductor", backwards=False)
