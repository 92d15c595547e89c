"""
A bit-exact invertible network
==============================

In floating-point arithmetic, the inverse of a deep chain returns its input up to rounding, and the error grows with the
depth. On a grid of binary fractions, additions have no rounding error, and the inverse returns every bit at any depth.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import ConvPredictor, Haar, Invertible, LiftingBlock, Sequential, ToGrid, exact
from liftlayers.testing import randomise_

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
pixels = torch.from_numpy(data.astronaut()[48:176, 160:288].copy()).permute(2, 0, 1)[None]
photo = pixels / 255  # (1, 3, 128, 128)
on_grid = ToGrid(16)(photo)  # the nearest multiples of 2^-16
print(f"largest change: {float((on_grid - photo).abs().max()):.1e}; one grey level: {1 / 255:.1e}")

# %%
# Random chains
# -------------
#
# Each chain is a Haar transform followed by lifting blocks with random weights. `exact` returns a chain with the
# same weights that rounds its input and the outputs of its networks to the grid.


def chain(depth: int) -> Sequential:
    blocks = [LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)) for _ in range(depth)]
    return randomise_(Sequential(Haar(), *blocks))


@torch.no_grad()
def round_trip(module: Invertible, precision: str) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return module.inverse(*module(photo))  # an exact chain rounds its input


def wrong_bits(x: Tensor, y: Tensor) -> int:
    different = x.view(torch.int32) ^ y.view(torch.int32)
    return sum(int((different >> bit & 1).sum()) for bit in range(32))


# %%
# We apply chains of several depths and their inverses to the photo, with the networks in float32, and in bfloat16 under
# autocast. Then we compare the result with the photo, or with the photo rounded to the grid, bit by bit.

errors: dict[tuple[str, str], list[float]] = {}
print(f"blocks  wrong bits out of {32 * photo.numel()}")
for depth in DEPTHS:
    plain = chain(depth)
    wrong = []
    for precision in ("float32", "bfloat16"):
        for kind, module, given in (("float", plain, photo), ("grid", exact(plain), on_grid)):
            again = round_trip(module, precision)
            errors.setdefault((kind, precision), []).append(float((again - given).abs().max()))
            wrong.append(f"{kind}, {precision}: {wrong_bits(again, given):7d}")
            assert kind == "float" or torch.equal((255 * again).round().to(torch.uint8), pixels)
    print(f"{depth:6d}  " + "   ".join(wrong))
assert all(error == 0 for (kind, _), values in errors.items() if kind == "grid" for error in values)
assert max(errors["float", "float32"]) < 0.5 / 255

# %%
# The figure shows the largest error for each depth. In float32 this error is small enough to recover 8-bit photos. A
# network in bfloat16 rounds its input to few digits. An error in the last bit of a band can therefore change this
# input, and the output of the network, by one unit in the last place of bfloat16, which is much larger. On the grid,
# the networks get the same input in both directions, bit for bit, so they return the same output.

BLUE, ORANGE = "#0072B2", "#D55E00"
colours = {"float": ORANGE, "grid": BLUE}
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
for (kind, precision), values in errors.items():
    style = "-o" if precision == "float32" else "--x"
    axes.plot(DEPTHS, values, style, color=colours[kind], label=f"{kind}, networks in {precision}")
axes.axhline(0.5 / 255, color="0.5", linewidth=1, linestyle=":", label="half a grey level")
axes.set_xscale("log", base=2)
axes.set_yscale("symlog", linthresh=1e-8)
axes.set(xlabel="lifting blocks", ylabel="largest error", xticks=DEPTHS, xticklabels=DEPTHS, ylim=(-5e-9, 1))
axes.set_title("Round-trip error of random chains on a photo", fontsize=10)
figure.legend(fontsize=8, loc="outside right upper")
plt.show()

# %%
# The next figure shows where the errors of the deepest chain are, with its networks in bfloat16:

deepest = chain(DEPTHS[-1])
maps = {
    "float": (round_trip(deepest, "bfloat16"), photo),
    "grid": (round_trip(exact(deepest), "bfloat16"), on_grid),
}
figure, (first, *others) = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
first.imshow(photo[0].permute(1, 2, 0).numpy())
first.set_title("photo", fontsize=10)
for panel, (kind, (again, given)) in zip(others, maps.items(), strict=True):
    error = (again - given)[0].abs().amax(dim=0)
    image = panel.imshow(error.numpy(), cmap="magma", vmin=0, vmax=errors["float", "bfloat16"][-1])
    panel.set_title(f"{kind}: {wrong_bits(again, given)} wrong bits", fontsize=10)
figure.colorbar(image, ax=others, label="error", shrink=0.8)
for panel in (first, *others):
    panel.set_axis_off()
plt.show()

# %%
# The page :doc:`/exactness` describes the conditions of this guarantee and the allowed range of values.
