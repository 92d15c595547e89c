"""
Fewer bits, and none lost
=========================

A wavelet transform from integers to integers gives every bit back. Its bands need fewer of them than the photo: this
is the first half of lossless compression, and the one that JPEG 2000 uses.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import LiftingPyramid, LosslessWavelet

photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None]
print(tuple(photo.shape), photo.dtype)

# %%
# Bands of an 8-bit photo are signed and reach beyond 255, so the photo moves to 16 bits first.

level = LosslessWavelet("5/3")
approx, detail = level(photo.to(torch.int16))
print(f"photo          {photo.min():4d} to {photo.max():4d}")
print(f"approximation  {approx.min():4d} to {approx.max():4d}")
print(f"detail         {detail.min():4d} to {detail.max():4d}")

# %%
# The way back is exact: not close, equal.

assert torch.equal(level.inverse(approx, detail).to(torch.uint8), photo)

# %%
# What has changed is how often each value occurs. Values of the photo are spread over all levels of grey. Those of the
# details crowd around zero.

BLUE, ORANGE = "#0072B2", "#D55E00"


def shares(samples: Tensor) -> tuple[Tensor, Tensor]:
    values, counts = samples.unique(return_counts=True)
    return values, counts / samples.numel()


figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
axes.plot(*shares(photo), color=ORANGE, linestyle="--", label="photo")
axes.plot(*shares(detail), color=BLUE, label="detail of one level")
axes.set(xlabel="value", ylabel="share of all samples", yscale="log", xlim=(-260, 260))
axes.set_title("How often each value occurs", fontsize=10)
axes.legend()

# %%
# The entropy of a band is the least number of bits a sample that a code can reach which knows these shares and nothing
# else. Each band of each colour gets a code of its own.


def bits(samples: Tensor) -> Tensor:
    _, share = shares(samples)
    return -samples.numel() * (share * share.log2()).sum()


def bits_per_pixel(bands: tuple[Tensor, ...], pixels: int) -> float:
    return float(sum(bits(plane) for band in bands for plane in band[0])) / pixels


pixels = photo[0, 0].numel()
before = bits_per_pixel((photo,), pixels)
print(f"photo: {before:.2f} bits a pixel, of 24")

# %%
# Now up to four levels of both transforms, each checked for equality on the way.

after: dict[str, list[float]] = {"haar": [], "5/3": []}
for name, rates in after.items():
    for num_levels in range(1, 5):
        pyramid = LiftingPyramid([LosslessWavelet(name) for _ in range(num_levels)])
        bands = pyramid(photo.to(torch.int16))
        assert torch.equal(pyramid.inverse(*bands).to(torch.uint8), photo)
        rates.append(bits_per_pixel(bands, pixels))

print("levels      " + "".join(f"{num_levels:7d}" for num_levels in range(1, 5)))
for name, rates in after.items():
    print(f"{name:12}" + "".join(f"{rate:7.2f}" for rate in rates))

# %%
# Band by band, three levels of 5/3, in bits a sample: the approximation needs as many as the photo, but is a
# sixty-fourth of it; the finest details, three quarters of all samples, need the fewest.

pyramid = LiftingPyramid([LosslessWavelet("5/3") for _ in range(3)])
approx, *details = pyramid(photo.to(torch.int16))


def bits_a_sample(band: Tensor) -> float:
    return float(sum(bits(plane) for plane in band[0])) / band.numel()


print(f"photo {bits_a_sample(photo):.2f}, approximation {bits_a_sample(approx):.2f}")
print("detail    horizontal  vertical  diagonal")
for number, detail in zip((3, 2, 1), details, strict=True):
    horizontal, vertical, diagonal = map(bits_a_sample, detail.chunk(3, dim=1))
    print(f"level {number}{horizontal:13.2f}{vertical:10.2f}{diagonal:10.2f}")

# %%
# The second level still pays, the fourth hardly: what it splits is a sixty-fourth of the photo. The 5/3 transform
# predicts each sample from both sides, so that where brightness changes evenly nothing is left over.

figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
axes.axhline(before, color="black", linewidth=1, linestyle=":", label="photo")
axes.plot(range(1, 5), after["haar"], color=ORANGE, marker="s", linestyle="--", label="S-transform")
axes.plot(range(1, 5), after["5/3"], color=BLUE, marker="o", label="5/3")
axes.set(xlabel="levels", ylabel="bits a pixel", xticks=range(1, 5), ylim=(0, 24))
axes.set_title("Entropy of the bands of a 24-bit photo; all of them return every bit", fontsize=10)
axes.legend()
