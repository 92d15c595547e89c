"""
Training memory of deep chains
==============================

A training step stores activations between its forward and its backward pass. Their size grows with the depth of the
chain, unless the chain recomputes them in the backward pass. This script counts the stored bytes, on any machine and
without a profiler.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from liftlayers import ConvPredictor, LiftingBlock, Sequential
from liftlayers.testing import assert_same_gradients, randomise_

DEPTHS = (4, 8, 16, 32, 64)
MODES = ("store", "checkpoint", "reversible")
bands = torch.rand(1, 3, 64, 64), torch.rand(1, 9, 64, 64)


def chain(depth: int, memory: str) -> Sequential:
    blocks = [LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)) for _ in range(depth)]
    module = randomise_(Sequential(*blocks, memory=memory))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter *= 0.25 if ".last." in name else 1  # small enough that bands do not grow at any depth
    return module


def loss(module: Sequential, *given: Tensor) -> Tensor:
    return torch.stack([band.square().mean() for band in module(*given)]).sum()


# %%
# PyTorch has a hook for all tensors that autograd saves for the backward pass. We count shared storage once and do not
# count parameters, which are in memory in any case.


def held(module: Sequential) -> int:
    """Counts the bytes saved in the forward pass for the backward pass."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = loss(module, *(band.clone().requires_grad_() for band in bands))
    assert graph.requires_grad
    return sum(kept.values())


megabytes = {mode: [held(chain(depth, mode)) / 1e6 for depth in DEPTHS] for mode in MODES}
print("blocks      " + "".join(f"{depth:11d}" for depth in DEPTHS))
for mode, values in megabytes.items():
    print(f"{mode:12}" + "".join(f"{value:8.2f} MB" for value in values))

# %%
# ``"store"`` is the default of autograd: it stores the activations inside all networks. ``"checkpoint"`` stores only
# the bands between the steps. ``"reversible"`` stores only the output bands of the chain.

COLOURS = {"store": "#D55E00", "checkpoint": "#009E73", "reversible": "#0072B2"}
figure, axes = plt.subplots(figsize=(7.2, 4), layout="constrained")
for (mode, values), marker in zip(megabytes.items(), "so^", strict=True):
    axes.plot(DEPTHS, values, color=COLOURS[mode], marker=marker, label=f'memory="{mode}"')
axes.set_xscale("log", base=2)
axes.set_yscale("log")
axes.set(xlabel="lifting blocks", ylabel="stored for the backward pass, MB", xticks=DEPTHS, xticklabels=DEPTHS)
axes.set_title("64 x 64 bands with 3 and 9 channels; networks with 24 hidden channels", fontsize=10)
axes.legend()
plt.show()

# %%
# Computation
# -----------
#
# Values that were not stored are computed again. The forward and backward pass through a network cost three times as
# much as its forward pass. One more forward pass therefore makes this 4/3 as much. ``"checkpoint"`` needs slightly
# less, because it does not recompute values that no gradient needs.


def flops(mode: str) -> int:
    with FlopCounterMode(display=False) as counter:
        loss(chain(8, mode), *(band.clone().requires_grad_() for band in bands)).backward()
    return counter.get_total_flops()


plain = flops("store")
for mode in MODES:
    print(f"{mode:12}{flops(mode) / plain:.3f} times the FLOPs of store")

# %%
# The gradients are the same. With ``"checkpoint"`` they are equal in every bit, because each step is computed again
# from its stored input. With ``"reversible"`` they are equal up to rounding, because the inputs are recomputed by the
# inverse. :doc:`/memory` describes when this error can become large, and the warning that the library then gives.

assert_same_gradients(chain(16, "store"), chain(16, "checkpoint"), *bands, tolerance=0)
assert_same_gradients(chain(16, "store"), chain(16, "reversible"), *bands, tolerance=1e-5)
