"""Law: hooks of steps run in every memory mode as in the plain loop, and gradients see what they change."""

from typing import Any

import pytest
import torch
from torch import nn

from liftlayers import AdditiveCoupling, Haar, Inverse, Invertible, LearnedWavelet, LiftingBlock, Sequential
from liftlayers._bands import as_tuple
from liftlayers.testing import randomise_
from tests.memory.helpers import (
    Step,
    assert_close,
    block,
    forward_step,
    grads,
    in_every_direction,
    in_every_mode,
    leaves,
    loss,
    network,
)

WHERE = ("coupling", "block", "inside a block", "nested chain", "wavelet", "inside a wavelet")


def hooked(where: str) -> tuple[Sequential, Invertible]:
    """A chain, and the module in it that gets the hook."""
    coupling, inner, wavelet = AdditiveCoupling(network(1, 3)), block(), LearnedWavelet("5/3")
    chain = Sequential(
        Sequential(coupling, inner), Inverse(Haar()), wavelet, LiftingBlock(network(1, 3), network(3, 1))
    )
    modules: dict[str, Invertible] = {
        "coupling": coupling,
        "block": inner,
        "inside a block": inner.update,
        "nested chain": chain[0],
        "wavelet": wavelet,
        "inside a wavelet": wavelet.rows,
    }
    return randomise_(chain), modules[where]


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_hooks_are_called_and_what_they_change_is_differentiated(
    memory: str, step: Step, where: str, kind: str
) -> None:
    found, calls = [], []
    for mode in ("store", memory):
        chain, module = hooked(where)
        chain, calls = chain.double(), []
        chain.memory = mode  # type: ignore[assignment]

        def change(_module: nn.Module, bands: Any, *outputs: Any, seen: list[int] = calls) -> Any:
            seen.append(1)
            return tuple(1.5 * x for x in as_tuple(outputs[0] if outputs else bands))

        getattr(module, f"register_{kind}_hook")(change)
        bands = leaves(torch.float64)
        if where == "wavelet" and step is not forward_step:
            loss(*chain(*bands)).backward()
        else:
            step(chain, *bands)
        found.append(grads((*bands, *chain.parameters())))
        assert bool(calls) == (step is forward_step or where == "wavelet")
    assert_close(found[1], found[0])


@in_every_mode
@pytest.mark.parametrize("where", ["coupling", "block", "nested chain"])
def test_backward_hooks_are_called_once(memory: str, where: str) -> None:
    chain, module = hooked(where)
    chain.memory = memory  # type: ignore[assignment]
    calls = []
    module.register_full_backward_hook(lambda *_: calls.append(1))
    loss(*chain(*leaves())).backward()
    assert calls == [1]
