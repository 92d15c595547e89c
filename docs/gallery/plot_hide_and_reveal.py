"""
Hide, restore and reveal
========================

PIRNet hides a spoilt photo in another one, lets a server restore it there, and takes it out again. This runs the
example in ``examples/pirnet`` with the weights that come with it, on two photos that these were not trained on.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import Tensor

import liftlayers
from liftlayers import Haar

sys.path.insert(0, str(Path(liftlayers.__file__).parents[1] / "examples" / "pirnet"))  # in a checkout

import pirnet
from pirnet.checkpoint import load_lih, load_lsr
from pirnet.degrade import TASKS, Degradation, degrade
from pirnet.images import quantise_uint8
from pirnet.metrics import psnr

weights = Path(pirnet.__file__).parents[1] / "weights"
lih = load_lih(weights / "lih.safetensors")  # the client's: whoever has it can reveal
lsr = load_lsr(weights / "lsr.safetensors")  # the server's
for name, network in {"client": lih, "server": lsr}.items():
    print(f"{name}: {sum(parameter.numel() for parameter in network.parameters())} parameters")


def photo(pixels, top: int, left: int) -> Tensor:
    crop = pixels[top : top + 256, left : left + 256]
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None] / 255  # (1, 3, 256, 256)


cover, secret = photo(data.coffee(), 60, 180), photo(data.astronaut(), 0, 96)

# %%
# Three ways to spoil the secret, one network to mend them. Every picture that is sent is rounded to 8 bit, as a file
# would be.

generator = torch.Generator().manual_seed(0)
rows: dict[str, dict[str, Tensor]] = {}
with torch.inference_mode():
    for task in TASKS:
        spoilt = degrade(secret, task, Degradation(), generator=generator)
        stego = quantise_uint8(lih.conceal(cover, spoilt))  # the client hides
        restored_stego = quantise_uint8(lsr(stego, task))  # the server restores what it does not see
        rows[task] = {
            "secret, spoilt": spoilt,
            "sent to the server": stego,
            "sent back": restored_stego,
            "revealed": lih.reveal(restored_stego),  # the client reveals
        }

print("PSNR in dB      " + "".join(f"{title:>20}" for title in rows["denoise"]))
for task, images in rows.items():
    truth = {title: cover if "sent" in title else secret for title in images}
    print(f"{task:16}" + "".join(f"{float(psnr(image, truth[title])):20.2f}" for title, image in images.items()))

# %%
# What is sent is to look like the cover, so it is compared with that; the secret, before and after, with the photo
# that it was.

figure, panels = plt.subplots(3, 5, figsize=(10, 6.4), layout="constrained")
for row, (task, images) in zip(panels, rows.items(), strict=True):
    for panel, (title, image) in zip(row, (images | {"as it was": secret}).items(), strict=True):
        panel.imshow(image[0].clamp(0, 1).permute(1, 2, 0).numpy())
        value = "" if image is secret else f": {float(psnr(image, cover if 'sent' in title else secret)):.1f} dB"
        panel.set_title(title + value, fontsize=9)
        panel.set(xticks=[], yticks=[])
    row[0].set_ylabel(task, fontsize=10)
plt.show()

# %%
# What it protects
# ----------------
#
# This keeps the secret from somebody who glances at the picture, and from nobody who looks for it:
# :doc:`/pirnet-security` measures how little that is. One Haar transform, without any weights, is enough to see what
# was hidden.

bands = {"the cover": cover, "what is sent": rows["deblur"]["sent to the server"]}
figure, panels = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
for panel, (title, image) in zip(panels, bands.items(), strict=True):
    diagonal = Haar()(image)[1][0, 6]  # of red: bands of three colours each, the diagonal one last
    spread = 2 * float(diagonal.std())
    panel.imshow(diagonal.numpy(), cmap="gray", vmin=-spread, vmax=spread)
    panel.set_title(f"diagonal detail of {title}, red", fontsize=10)
    panel.set_axis_off()
plt.show()
