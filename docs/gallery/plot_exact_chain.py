"""
A chain that returns every bit
==============================

In floating point the inverse of a deep chain returns its input up to rounding, and the error grows with the depth. On
a grid of binary fractions there is no rounding to begin with: the inverse returns every bit, at any depth.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import ConvPredictor, Haar, Invertible, LiftingBlock, Sequential, ToGrid, exact
from liftlayers.testing import randomise_

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
pixels = torch.from_numpy(data.astronaut()[:256, 96:352].copy()).permute(2, 0, 1)[None]
photo = pixels / 255  # (1, 3, 256, 256)
on_grid = ToGrid(16)(photo)  # the nearest multiples of 2^-16
print(f"moved by {float((on_grid - photo).abs().max()):.1e} at most; a grey level is {1 / 255:.1e}")

# %%
# Random chains
# -------------
#
# A Haar transform, then lifting blocks whose networks have random weights. `exact` rounds what the networks return to
# the grid, and leaves the rest of the chain alone; both chains share their weights.


def chain(depth: int) -> Sequential:
    blocks = [LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)) for _ in range(depth)]
    return randomise_(Sequential(Haar(), *blocks))


@torch.no_grad()
def there_and_back(module: Invertible, precision: str) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return module.inverse(*module(photo))  # an exact chain rounds what enters it


def wrong_bits(x: Tensor, y: Tensor) -> int:
    different = x.view(torch.int32) ^ y.view(torch.int32)
    return sum(int((different >> place & 1).sum()) for place in range(32))


# %%
# The photo goes through chains of several depths and back, with networks in float32, and in bfloat16 as autocast has
# them. What comes back is compared with the photo, or with the photo on the grid, in every bit of every number.

errors: dict[tuple[str, str], list[float]] = {}
print(f"blocks  wrong bits, of {32 * photo.numel()}")
for depth in DEPTHS:
    plain = chain(depth)
    wrong = []
    for precision in ("float32", "bfloat16"):
        for kind, module, given in (("float", plain, photo), ("grid", exact(plain), on_grid)):
            again = there_and_back(module, precision)
            errors.setdefault((kind, precision), []).append(float((again - given).abs().max()))
            wrong.append(f"{kind}, {precision}: {wrong_bits(again, given):7d}")
            assert kind == "float" or torch.equal((255 * again).round().to(torch.uint8), pixels)
    print(f"{depth:6d}  " + "   ".join(wrong))
assert all(error == 0 for (kind, _), values in errors.items() if kind == "grid" for error in values)
assert max(errors["float", "float32"]) < 0.5 / 255

# %%
# The largest error by depth. In float32 it stays small enough for photos of 8 bits. A network in bfloat16 sees so few
# digits of its input that an error in the last place of a band can move its answer by one in *its* last place, which is
# much more. On the grid both ways show the network the same input, bit for bit, and it gives the same answer.

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
axes.set_title("A photo there and back through random chains", fontsize=10)
figure.legend(fontsize=8, loc="outside right upper")
plt.show()

# %%
# Where the deepest chain errs, with its networks in bfloat16:

deepest = chain(DEPTHS[-1])
maps = {
    "float": (there_and_back(deepest, "bfloat16"), photo),
    "grid": (there_and_back(exact(deepest), "bfloat16"), on_grid),
}
figure, (first, *others) = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
first.imshow(photo[0].permute(1, 2, 0).numpy())
first.set_title("the photo", fontsize=10)
for panel, (kind, (again, given)) in zip(others, maps.items(), strict=True):
    error = (again - given)[0].abs().amax(dim=0)
    image = panel.imshow(error.numpy(), cmap="magma", vmin=0, vmax=errors["float", "bfloat16"][-1])
    panel.set_title(f"{kind}: {wrong_bits(again, given)} wrong bits", fontsize=10)
figure.colorbar(image, ax=others, label="error", shrink=0.8)
for panel in (first, *others):
    panel.set_axis_off()
plt.show()

# %%
# What the promise needs, and how large values may be, is on :doc:`/exactness`.
