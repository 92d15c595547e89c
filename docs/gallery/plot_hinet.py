"""
An image-hiding network (HiNet) in thirty lines
===============================================

HiNet hides a photo in another photo of the same size. Its network is a chain of additive and affine couplings on the
Haar bands of both photos. The library has all of these layers, so the network takes few lines. A small version already
hides photos after less than a minute of training.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage import data
from torch import Tensor

from liftlayers import AffineCoupling, DensePredictor, Haar, Inverse, Parallel, Sequential, Split, Update
from liftlayers.functional import round_to_grid

NUM_STEPS = 250

# %%
# The network
# -----------
#
# In each block, a network computes a correction from the bands of the secret and adds it to the bands of the cover.
# Then another network computes a scale and a shift from the bands of the cover and applies them to the bands of the
# secret. The first output of the chain is the stego image. The second output is discarded. To reveal the secret, the
# inverse gets zeros in its place.


def bands() -> Sequential:
    """Maps a colour image (B, 3, H, W) to a tensor of its Haar bands (B, 12, H/2, W/2)."""
    return Sequential(Haar(), Inverse(Split(3, 9)))


def hinet(num_blocks: int = 16, growth: int = 32) -> Sequential:
    both = Parallel(bands(), bands())
    blocks = [
        Sequential(
            Update(DensePredictor(12, 12, growth=growth)),
            AffineCoupling(DensePredictor(12, 24, growth=growth)),
        )
        for _ in range(num_blocks)
    ]
    return Sequential(both, *blocks, Inverse(both))


def conceal(network: Sequential, cover: Tensor, secret: Tensor) -> Tensor:
    stego, _lost = network(cover, secret)
    return stego


def reveal(network: Sequential, stego: Tensor) -> Tensor:
    _cover, secret = network.inverse(stego, torch.zeros_like(stego))
    return secret


# %%
# The code above has fewer than thirty lines. HiNet itself uses separate networks for scale and shift, and replaces the
# discarded output by noise. HiNet has sixteen blocks; we use four, with fewer channels. The stego image is stored as a
# file, so it is rounded to 8 bits. The gradient of the rounding is that of the identity.

torch.manual_seed(0)
network = hinet(num_blocks=4, growth=8)
print(f"{sum(parameter.numel() for parameter in network.parameters())} parameters")


def as_file(image: Tensor) -> Tensor:
    clamped = image + (image.clamp(0, 1) - image).detach()
    return round_to_grid(255 * clamped, bits=0) / 255


# %%
# Training
# --------
#
# We hide crops of four photos in each other. The loss is the mean squared error between the stego image and the cover,
# plus that between the revealed image and the secret.


def read(name: str) -> Tensor:
    """Reads a photo of scikit-image as (3, H, W) in [0, 1]."""
    pixels = getattr(data, name)()
    pixels = pixels[0] if isinstance(pixels, tuple) else pixels  # left image of a stereo pair
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255


photos = [read(name) for name in ("coffee", "rocket", "stereo_motorcycle", "immunohistochemistry")]
random = np.random.default_rng(0)


def crop(size: int = 48) -> Tensor:
    photo = photos[random.integers(len(photos))]
    top, left = (random.integers(side - size + 1) for side in photo.shape[1:])
    square = photo[:, top : top + size, left : left + size]
    return square.flip(-1) if random.random() < 0.5 else square


optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=NUM_STEPS, pct_start=0.2)
history = []
for _ in range(NUM_STEPS):
    cover, secret = torch.stack([crop() for _ in range(8)]).chunk(2)  # (4, 3, 48, 48) each
    stego = conceal(network, cover, secret)
    hiding = (stego - cover).square().mean()
    revealing = (reveal(network, as_file(stego)) - secret).square().mean()
    optimizer.zero_grad()
    (hiding + revealing).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
    optimizer.step()
    schedule.step()
    history.append((hiding.item(), revealing.item()))

# %%
# Result on held-out photos
# -------------------------
#
# These two photos, a cat and an astronaut, were not used in training.

cover, secret = read("chelsea")[None, :, :288, 80:368], read("astronaut")[None, :, :288, 80:368]
with torch.no_grad():
    stego = as_file(conceal(network, cover, secret))
    revealed = reveal(network, stego).clamp(0, 1)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


difference = 0.5 + 5 * (stego - cover)
panels = {
    "cover": cover,
    f"stego image: {psnr(stego, cover):.1f} dB": stego,
    "difference, times five": difference,
    "secret": secret,
    f"revealed: {psnr(revealed, secret):.1f} dB": revealed,
}
figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
for panel, (title, image) in zip(axes.flat, panels.items(), strict=False):
    panel.imshow(image[0].clamp(0, 1).permute(1, 2, 0).numpy())
    panel.set_title(title, fontsize=10)
    panel.set_axis_off()
smooth = -10 * np.log10([np.convolve(line, np.ones(20) / 20, mode="valid") for line in np.transpose(history)])
axes[1, 2].plot(smooth[0], color="#0072B2", label="stego image")
axes[1, 2].plot(smooth[1], color="#D55E00", label="revealed")
axes[1, 2].set(xlabel="step", ylabel="PSNR on training crops, dB")
axes[1, 2].legend(fontsize=8)
plt.show()

# %%
# The difference shows the secret, and the stego image has a visible grain. Hiding is not encryption; see
# :doc:`/pirnet-security`. With the discarded output, the inverse is exact up to rounding, for all weights:

with torch.no_grad():
    again = network.inverse(*network(cover, secret))
print(f"{max(float((x - y).abs().max()) for x, y in zip(again, (cover, secret), strict=True)):.1e}")
