"""
Privacy-preserving image restoration (PIRNet)
=============================================

PIRNet hides a degraded photo in another photo, lets a server restore it while it is hidden, and extracts it again. This
script runs the networks of ``examples/pirnet`` with the included weights, on two photos that were not used in training.
Unlike the scripts of the example, it does not scramble the photo with a key first.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

import liftlayers
from liftlayers import Haar

sys.path.insert(0, str(Path(liftlayers.__file__).parents[1] / "examples" / "pirnet"))  # in a clone of the repository

import pirnet
from pirnet.degrade import Degradation
from pirnet.metrics import psnr
from pirnet.pixels import quantise_uint8
from pirnet.tasks import TASKS, degrade
from pirnet.weights import load_lih, load_lsr

weights = Path(pirnet.__file__).parents[1] / "weights"
lih = load_lih(weights / "lih.safetensors")  # for the client: everybody with these weights can reveal
lsr = load_lsr(weights / "lsr.safetensors")  # for the server
for name, network in {"client": lih, "server": lsr}.items():
    print(f"{name}: {sum(parameter.numel() for parameter in network.parameters())} parameters")


def photo(pixels, top: int, left: int) -> Tensor:
    crop = pixels[top : top + 256, left : left + 256]
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None] / 255  # (1, 3, 256, 256)


cover, secret = photo(data.coffee(), 60, 180), photo(data.astronaut(), 0, 96)

# %%
# The secret is degraded in three ways, by noise, blur or downscaling. One network restores all of them; its tasks are
# called ``denoise``, ``deblur`` and ``sr`` (super-resolution). Every transmitted image is rounded to 8 bits, like an
# image file.

generator = torch.Generator().manual_seed(0)
rows: dict[str, dict[str, Tensor]] = {}
with torch.inference_mode():
    for task in TASKS:
        degraded = degrade(secret, task, Degradation(), generator=generator)
        stego = quantise_uint8(lih.conceal(cover, degraded))  # the client hides
        restored_stego = quantise_uint8(lsr(stego, task))  # the server restores the hidden secret
        rows[task] = {
            "degraded secret": degraded,
            "sent to server": stego,
            "sent to client": restored_stego,
            "revealed": lih.reveal(restored_stego),  # the client reveals
        }

print("PSNR in dB      " + "".join(f"{title:>20}" for title in rows["denoise"]))
for task, images in rows.items():
    truth = {title: cover if "sent" in title else secret for title in images}
    print(f"{task:16}" + "".join(f"{float(psnr(image, truth[title])):20.2f}" for title, image in images.items()))

# %%
# The transmitted images should look like the cover, so their PSNR is relative to the cover. The PSNR of the degraded
# and of the revealed secret is relative to the original secret.

figure, panels = plt.subplots(3, 5, figsize=(10, 6.4), layout="constrained")
for row, (task, images) in zip(panels, rows.items(), strict=True):
    for panel, (title, image) in zip(row, (images | {"original secret": secret}).items(), strict=True):
        panel.imshow(image[0].clamp(0, 1).permute(1, 2, 0).numpy())
        value = "" if image is secret else f": {float(psnr(image, cover if 'sent' in title else secret)):.1f} dB"
        panel.set_title(title + value, fontsize=9)
        panel.set(xticks=[], yticks=[])
    row[0].set_ylabel(task, fontsize=10)
plt.show()

# %%
# Security
# --------
#
# A person who only glances at the stego image does not notice the secret. But without a key, everybody who searches for
# it can find it: one Haar transform, without any weights, is enough to see the hidden photo. This is why the scripts of
# the example scramble the photo first. :doc:`/pirnet-security` measures what that protects.

bands = {"the cover": cover, "the stego image": rows["deblur"]["sent to server"]}
figure, panels = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
for panel, (title, image) in zip(panels, bands.items(), strict=True):
    diagonal = Haar()(image)[1][0, 6]  # the red channel of the last band; each band has three channels
    spread = 2 * float(diagonal.std())
    panel.imshow(diagonal.numpy(), cmap="gray", vmin=-spread, vmax=spread)
    panel.set_title(f"diagonal detail of {title}, red channel", fontsize=10)
    panel.set_axis_off()
plt.show()
