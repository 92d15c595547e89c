"""
An invertible rescaling network (IRN)
=====================================

An invertible rescaling network downscales an image so that its inverse can upscale it again. The result is better than
interpolation of an ordinary downscaled image. This small version halves the height and width, has fewer than forty
lines, and trains in less than a minute.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from liftlayers import AffineCoupling, ConvPredictor, Haar, Invertible, Sequential, Update
from liftlayers.functional import round_to_grid

NUM_STEPS = 300

# %%
# The network
# -----------
#
# The Haar transform splits the photo into an approximation, which is twice a downscaled photo, and the detail. The
# couplings then change both bands. Thus they can store information about the detail in the approximation, and the
# inverse can recover it. The detail itself is discarded, and the inverse gets zeros in its place.


class Rescaler(torch.nn.Module):
    """Downscales an image (B, 3, H, W) by two, and upscales it again."""

    def __init__(self, num_blocks: int = 4, hidden: int = 32) -> None:
        super().__init__()
        self.network = Sequential(Haar(), *(self.block(hidden) for _ in range(num_blocks)))

    @staticmethod
    def block(hidden: int) -> Invertible:
        return Sequential(
            Update(ConvPredictor(9, 3, hidden_channels=hidden)),
            AffineCoupling(ConvPredictor(3, 18, hidden_channels=hidden), clamp=1.0),
        )

    def down(self, photo: Tensor) -> Tensor:
        approx, _detail = self.network(photo)
        return as_file(approx / 2)  # (B, 3, H/2, W/2)

    def up(self, small: Tensor) -> Tensor:
        batch, _, height, width = small.shape
        return self.network.inverse(2 * small, small.new_zeros(batch, 9, height, width))


def as_file(image: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to 8 bits; the gradient is that of the identity."""
    clamped = image + (image.clamp(0, 1) - image).detach()
    return round_to_grid(255 * clamped, bits=0) / 255


# %%
# This is the complete network. IRN itself has more and larger blocks. It trains the detail to have a normal
# distribution, and the inverse gets samples of this distribution instead of zeros.


def bicubic(image: Tensor, factor: float) -> Tensor:
    return F.interpolate(image, scale_factor=factor, mode="bicubic", antialias=True)


# %%
# Training
# --------
#
# The loss has two terms. The upscaled image should equal the photo. The downscaled image should be close to the bicubic
# downscaling of the photo, so that it is still a natural image.


def read(name: str) -> Tensor:
    """Reads a photo of scikit-image as (3, H, W) in [0, 1], with even height and width."""
    pixels = getattr(data, name)()
    pixels = pixels[0] if isinstance(pixels, tuple) else pixels  # left image of a stereo pair
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    return torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1) / 255


photos = [read(name) for name in ("coffee", "rocket", "stereo_motorcycle", "immunohistochemistry")]
random = np.random.default_rng(0)


def crop(size: int = 48) -> Tensor:
    photo = photos[random.integers(len(photos))]
    top, left = (random.integers(side - size + 1) for side in photo.shape[1:])
    square = photo[:, top : top + size, left : left + size]
    square = square.flip(-1) if random.random() < 0.5 else square
    return square.mT if random.random() < 0.5 else square


torch.manual_seed(0)
rescaler = Rescaler()
print(f"{sum(parameter.numel() for parameter in rescaler.parameters())} parameters")
optimizer = torch.optim.Adam(rescaler.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=NUM_STEPS, pct_start=0.2)
for _ in range(NUM_STEPS):
    batch = torch.stack([crop() for _ in range(8)])  # (8, 3, 48, 48)
    small = rescaler.down(batch)
    enlarging = (rescaler.up(small) - batch).square().mean()
    reducing = (small - bicubic(batch, 0.5)).square().mean()
    optimizer.zero_grad()
    (enlarging + 0.2 * reducing).backward()
    torch.nn.utils.clip_grad_norm_(rescaler.parameters(), 0.1)
    optimizer.step()
    schedule.step()

# %%
# Result on held-out photos
# -------------------------
#
# Both methods store the downscaled image with 8 bits. Bicubic downscaling is antialiased. The comparison is only a
# first impression: bicubic interpolation is not trained, and there are only two photos.


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a.clamp(0, 1) - b).square().mean().log10())


held_out = {name: read(name)[None] for name in ("astronaut", "chelsea")}
for name, photo in held_out.items():
    with torch.no_grad():
        small, plain = rescaler.down(photo), as_file(bicubic(photo, 0.5))
        ways = {"bicubic": bicubic(plain, 2), "learned": rescaler.up(small)}
    assert psnr(ways["learned"], photo) > psnr(ways["bicubic"], photo)
    results = ", ".join(f"{way} {psnr(large, photo):.2f} dB" for way, large in ways.items())
    print(f"{name}: {results}; PSNR between the small images: {psnr(small, plain):.2f} dB")

# %%
# The figures show a magnified part of the last photo for both methods, and the two downscaled images.

panels = {
    "photo": photo,
    f"bicubic: {psnr(ways['bicubic'], photo):.1f} dB": ways["bicubic"],
    f"learned: {psnr(ways['learned'], photo):.1f} dB": ways["learned"],
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for panel, (title, image) in zip(axes, panels.items(), strict=True):
    panel.imshow(image[0, :, 70:166, 120:216].clamp(0, 1).permute(1, 2, 0).numpy())
    panel.set_title(title, fontsize=10)
    panel.set_axis_off()
plt.show()

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for panel, (title, image) in zip(axes, {"small, bicubic": plain, "small, learned": small}.items(), strict=True):
    panel.imshow(image[0].permute(1, 2, 0).numpy())
    panel.set_title(title, fontsize=10)
    panel.set_axis_off()
plt.show()
