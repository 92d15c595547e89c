"""
A wavelet pyramid
=================

One level of a wavelet transform splits an image into four bands: an approximation of half the height and width, and the
detail in three directions. A pyramid transforms the approximation repeatedly.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import Haar, LiftingPyramid

photo = torch.from_numpy(data.camera()).float()[None, None] / 255
print(tuple(photo.shape))

# %%
# This is a pyramid of three levels of the Haar transform. It returns the coarsest band first: the approximation, then
# one detail tensor per level, in which the three bands are stacked along the channels.

pyramid = LiftingPyramid([Haar(), Haar(), Haar()])
approx, *details = pyramid(photo)
for band in (approx, *details):
    print(tuple(band.shape))

# %%
# A pyramid is usually displayed with the approximation in the top left corner. Each level adds the vertical detail on
# the right, the horizontal detail below, and the diagonal detail in the bottom right corner. The values of the
# approximation double with every level, so they are divided for display. Details are signed, and grey means zero.


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
show(axes, mosaic(approx, *details), "Three levels of the Haar transform: approximation (top left) and details")

# %%
# Details are small except at edges, so most of them can be dropped. Here, the largest tenth of the details of each
# level is kept, and the others are set to zero. The reconstruction lacks the texture of the coat and of the grass, and
# shows the block artefacts of Haar there.


def largest(detail: Tensor, share: float) -> Tensor:
    smallest_kept = detail.abs().flatten().quantile(1 - share)
    return torch.where(detail.abs() >= smallest_kept, detail, 0)


sparse = [largest(detail, share=0.1) for detail in details]
again = pyramid.inverse(approx, *sparse)
psnr = -10 * (again - photo).square().mean().log10()

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.7), layout="constrained")
show(left, photo, "Photo")
show(right, again, f"Reconstruction from a tenth of the details: {psnr:.1f} dB")

# %%
# With all details, the inverse returns the photo up to rounding.

print(f"{(pyramid.inverse(approx, *details) - photo).abs().max():.1e}")
