"""
Lossless wavelet transforms for compression
===========================================

An integer-to-integer wavelet transform is invertible without any error. Its bands have a lower entropy than the photo,
so an entropy coder needs fewer bits for them. JPEG 2000 uses such a transform as the first stage of lossless
compression.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

from liftlayers import Invertible, LiftingPyramid, LosslessColour, LosslessWavelet, Sequential

photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None]
print(tuple(photo.shape), photo.dtype)

# %%
# The bands of an 8-bit photo are signed and can exceed 255, so we convert the photo to 16 bits first.

level = LosslessWavelet("5/3")
approx, detail = level(photo.to(torch.int16))
print(f"photo          {photo.min():4d} to {photo.max():4d}")
print(f"approximation  {approx.min():4d} to {approx.max():4d}")
print(f"detail         {detail.min():4d} to {detail.max():4d}")

# %%
# The inverse returns exactly the same integers.

assert torch.equal(level.inverse(approx, detail).to(torch.uint8), photo)

# %%
# The distribution of the values has changed. The values of the photo are spread over all grey levels. Those of the
# details are concentrated around zero.

BLUE, ORANGE = "#0072B2", "#D55E00"


def shares(samples: Tensor) -> tuple[Tensor, Tensor]:
    values, counts = samples.unique(return_counts=True)
    return values, counts / samples.numel()


figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
axes.plot(*shares(photo), color=ORANGE, linestyle="--", label="photo")
axes.plot(*shares(detail), color=BLUE, label="detail of one level")
axes.set(xlabel="value", ylabel="relative frequency", yscale="log", xlim=(-260, 260))
axes.set_title("Relative frequency of each value", fontsize=10)
axes.legend()

# %%
# The entropy of a band is the smallest mean number of bits per sample that is possible for a code that depends only on
# these frequencies. We use a separate code for each band of each colour channel.


def bits(samples: Tensor) -> Tensor:
    _, share = shares(samples)
    return -samples.numel() * (share * share.log2()).sum()


def bits_per_pixel(bands: tuple[Tensor, ...], pixels: int) -> float:
    return float(sum(bits(plane) for band in bands for plane in band[0])) / pixels


pixels = photo[0, 0].numel()
before = bits_per_pixel((photo,), pixels)
print(f"photo: {before:.2f} of 24 bits per pixel")

# %%
# We compute the entropy for one to four levels of haar (the S-transform) and 5/3, and check that each is lossless.

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
# The next table gives the bits per sample for each band of three levels of 5/3. The approximation needs about as many
# bits per sample as the photo, but it has only 1/64 of the samples. The finest details, which are three quarters of all
# samples, need the fewest bits.

pyramid = LiftingPyramid([LosslessWavelet("5/3") for _ in range(3)])
approx, *details = pyramid(photo.to(torch.int16))


def bits_per_sample(band: Tensor) -> float:
    return float(sum(bits(plane) for plane in band[0])) / band.numel()


print(f"photo {bits_per_sample(photo):.2f}, approximation {bits_per_sample(approx):.2f}")
print("detail    horizontal  vertical  diagonal")
for number, detail in zip((3, 2, 1), details, strict=True):
    horizontal, vertical, diagonal = map(bits_per_sample, detail.chunk(3, dim=1))
    print(f"level {number}{horizontal:13.2f}{vertical:10.2f}{diagonal:10.2f}")

# %%
# The second level still reduces the entropy, but the fourth hardly does, because it transforms only 1/64 of the
# samples. The 5/3 transform predicts each sample from its neighbours on both sides, so its details are zero where the
# brightness changes linearly.

figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
axes.axhline(before, color="black", linewidth=1, linestyle=":", label="photo")
axes.plot(range(1, 5), after["haar"], color=ORANGE, marker="s", linestyle="--", label="S-transform")
axes.plot(range(1, 5), after["5/3"], color=BLUE, marker="o", label="5/3")
axes.set(xlabel="levels", ylabel="bits per pixel", xticks=range(1, 5), ylim=(0, 24))
axes.set_title("Entropy of the bands of a 24-bit photo; all transforms are lossless", fontsize=10)
axes.legend()

# %%
# The colour channels of a photo are similar. A lossless colour transform separates brightness from colour before the
# wavelet transform. The chain is still lossless.


def rate(*steps: Invertible) -> float:
    chain = Sequential(*steps)
    bands = chain(photo.to(torch.int16))
    assert torch.equal(chain.inverse(*bands).to(torch.uint8), photo)
    return bits_per_pixel(bands, pixels)


def levels(name: str) -> LiftingPyramid:
    return LiftingPyramid([LosslessWavelet(name) for _ in range(4)])


print(f"no colour transform     {rate(levels('5/3')):6.2f} bits per pixel")
print(f"JPEG 2000's, RCT        {rate(LosslessColour('rct'), levels('5/3')):6.2f}")
print(f"YCoCg-R                 {rate(LosslessColour('ycocg-r'), levels('5/3')):6.2f}")

# %%
# Every wavelet of the library has a lossless version. Long orthogonal wavelets need more bits than 5/3: each of their
# many lifting steps rounds, and the bands contain the rounding errors.

for name in ("haar", "5/3", "bior2.4", "rbio1.5", "9/7", "bior6.8", "sym4", "sym8", "db4", "db10"):
    print(f"{name:8}{rate(LosslessColour(), levels(name)):6.2f} bits per pixel")
