"""
Translation-invariant denoising
===============================

Noise spreads over all wavelet coefficients, but most of a photo is in few of them. Setting small coefficients to zero
therefore removes noise. This page compares the decimated transform, a pyramid, with the undecimated one.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import LiftingPyramid, UndecimatedWavelet, Wavelet
from liftlayers.functional import garrote_threshold, hard_threshold, soft_threshold

NOISE, NUM_LEVELS = 0.1, 3

photo = torch.from_numpy(data.camera()).double()[None, None] / 255
noisy = photo + NOISE * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0), dtype=photo.dtype)


def psnr(image: Tensor) -> float:
    return float(-10 * (image - photo).square().mean().log10())


print(f"noisy photo: {psnr(noisy):.1f} dB")

# %%
# With the orthogonal wavelet db2, the noise has the same standard deviation in every detail band of both transforms.
# So one threshold, three times this standard deviation, is used for all bands. The approximation is kept. After
# thresholding, the undecimated bands are in general not the bands of any image; the inverse returns the mean of the
# images that the decimated transforms in them give.

pyramid = LiftingPyramid([Wavelet("db2") for _ in range(NUM_LEVELS)])
undecimated = UndecimatedWavelet("db2", num_levels=NUM_LEVELS)


def denoised(transform, image: Tensor, shrink=hard_threshold, threshold: float = 3 * NOISE) -> Tensor:
    approx, *details = transform(image)
    return transform.inverse(approx, *(shrink(detail, threshold) for detail in details))


decimated_result, undecimated_result = denoised(pyramid, noisy), denoised(undecimated, noisy)
print(f"decimated:   {psnr(decimated_result):.1f} dB")
print(f"undecimated: {psnr(undecimated_result):.1f} dB")

# %%
# The decimated result has artefacts near edges, in the shape of the wavelet, at places that depend on whether a
# coordinate is even or odd. The undecimated transform treats all places alike.

row, column = slice(60, 220), slice(170, 330)
figure, axes = plt.subplots(2, 2, figsize=(8, 8.4), layout="constrained")
images = {"photo": photo, "noisy": noisy, "decimated": decimated_result, "undecimated": undecimated_result}
for panel, (title, image) in zip(axes.flat, images.items(), strict=True):
    panel.imshow(image[0, 0, row, column].numpy(), cmap="gray", vmin=0, vmax=1)
    panel.set_title(title if image is photo else f"{title}: {psnr(image):.1f} dB", fontsize=10)
    panel.set_axis_off()

# %%
# A shift of the photo shifts the undecimated result, but changes the decimated one:

for name, transform in {"decimated": pyramid, "undecimated": undecimated}.items():
    shifted = denoised(transform, noisy.roll((1, 1), (-2, -1))).roll((-1, -1), (-2, -1))
    print(f"{name}: {(shifted - denoised(transform, noisy)).abs().max():.1e}")

# %%
# In fact, the undecimated result is the mean of the decimated results for all shifts by fewer than :math:`2^L` samples
# (*cycle spinning*). Instead of 64 pyramids it needs one transform.

mean = torch.zeros_like(photo)
for down in range(2**NUM_LEVELS):
    for right in range(2**NUM_LEVELS):
        mean += denoised(pyramid, noisy.roll((-down, -right), (-2, -1))).roll((down, right), (-2, -1))
mean /= 4**NUM_LEVELS
print(f"largest difference: {(mean - undecimated_result).abs().max():.1e}")

# %%
# Soft thresholding also shrinks the coefficients that it keeps, so it needs a smaller threshold. The garrote is a
# compromise between soft and hard. The undecimated transform is better for each of them.

multiples = torch.linspace(0.5, 4, 15)
figure, axes = plt.subplots(figsize=(7.2, 4), layout="constrained")
shrinkages = {"soft": (soft_threshold, "#0072B2"), "garrote": (garrote_threshold, "#009E73")}
shrinkages["hard"] = hard_threshold, "#D55E00"
for name, (shrink, colour) in shrinkages.items():
    for transform, style in ((undecimated, "-"), (pyramid, "--")):
        quality = [psnr(denoised(transform, noisy, shrink, float(k) * NOISE)) for k in multiples]
        which = "undecimated" if transform is undecimated else "decimated"
        axes.plot(multiples, quality, style, color=colour, label=f"{name}, {which}")
axes.set(xlabel="threshold / standard deviation of the noise", ylabel="PSNR, dB")
axes.set_title("Quality after thresholding", fontsize=10)
axes.legend(ncols=2)
