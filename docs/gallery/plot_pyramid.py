"""
A photo's pyramid
=================

A level of a wavelet transform splits an image in four: an approximation of half the size, and what it leaves out, in
three directions. A pyramid splits the approximation again, and again.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import Haar, LiftingPyramid

photo = torch.from_numpy(data.camera()).float()[None, None] / 255
print(tuple(photo.shape))

# %%
# Three levels of the Haar transform. Bands come coarsest first: the approximation, then the details of every level,
# each with its three bands one after the other.

pyramid = LiftingPyramid([Haar(), Haar(), Haar()])
approx, *details = pyramid(photo)
for band in (approx, *details):
    print(tuple(band.shape))

# %%
# The classical picture lays them out as the sizes suggest: the approximation in the corner, and around it, level by
# level, vertical detail to its right, horizontal detail below, diagonal detail between them. The approximation doubles
# with every level, so it is divided for display; details are signed, and grey is zero.


def mosaic(approx: Tensor, *details: Tensor) -> Tensor:
    image = approx / 2 ** len(details)
    for detail in details:
        horizontal, vertical, diagonal = (0.5 + 2 * detail).chunk(3, dim=1)
        top, bottom = torch.cat((image, vertical), dim=-1), torch.cat((horizontal, diagonal), dim=-1)
        image = torch.cat((top, bottom), dim=-2)
    return image


def show(axes: plt.Axes, image: Tensor, title: str) -> None:
    axes.imshow(image[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


figure, axes = plt.subplots(figsize=(6.4, 6.6), layout="constrained")
show(axes, mosaic(approx, *details), "Three levels of Haar: the approximation in the corner, details in grey")

# %%
# Details are small but at edges, so most of them can go: of every level, the largest tenth stays and the rest is set to
# zero. What is missed is the texture of coat and grass, in whose place Haar leaves its squares.


def largest(detail: Tensor, share: float) -> Tensor:
    smallest_kept = detail.abs().flatten().quantile(1 - share)
    return torch.where(detail.abs() >= smallest_kept, detail, 0)


sparse = [largest(detail, share=0.1) for detail in details]
again = pyramid.inverse(approx, *sparse)
psnr = -10 * (again - photo).square().mean().log10()

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.7), layout="constrained")
show(left, photo, "The photo")
show(right, again, f"From a tenth of its details: {psnr:.1f} dB")

# %%
# With all of them, the inverse returns the photo, up to rounding.

print(f"{(pyramid.inverse(approx, *details) - photo).abs().max():.1e}")
