r"""
A flow for images
=================

This page trains a small flow like Glow [Kingma2018]_ on crops of photos. The flow has several scales. The blocks of a
scale normalise the channels, mix them, and change half of them by functions of the other half. Then half of the
channels become an output band, and the next scale processes the others at half the resolution. The loss is the length
of a code for the crops, in bits.
"""

import math

import matplotlib.pyplot as plt
import skimage.data
import torch
from torch import Tensor, nn

from liftlayers import (
    ActNorm,
    AffineCoupling,
    ConvPredictor,
    Inverse,
    InvertibleConv1x1,
    LiftingPyramid,
    PixelUnshuffle,
    Sequential,
    Split,
)
from liftlayers.interop import as_transform

SIDE, NUM_STEPS = 8, 300
torch.manual_seed(0)
torch.set_num_threads(1)

# %%
# The flow
# --------
#
# `PixelUnshuffle` makes four channels of one at half the resolution, `Split` separates half of them as a band, and
# `LiftingPyramid` passes the others to the next level. ``as_transform`` joins the bands to one vector, which should
# have a standard normal distribution. The result is a distribution of `torch.distributions`, which Pyro and zuko use.


def step(channels: int) -> Sequential:
    halves = Split(channels // 2, channels - channels // 2)
    network = ConvPredictor(channels // 2, 2 * (channels - channels // 2), hidden_channels=32, num_hidden=2)
    return Sequential(ActNorm(channels), InvertibleConv1x1(channels), halves, AffineCoupling(network), Inverse(halves))


def level(channels: int, num_steps: int) -> Sequential:
    steps = (step(4 * channels) for _ in range(num_steps))
    return Sequential(PixelUnshuffle(2), *steps, Split(2 * channels, 2 * channels))


flow = LiftingPyramid([level(3, 6), level(6, 6)])
dimensions = 3 * SIDE**2
base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(dimensions), torch.ones(dimensions)), 1)
density = torch.distributions.TransformedDistribution(base, as_transform(flow, (3, SIDE, SIDE)).inv)

# %%
# Training
# --------
#
# Pixels are grey levels 0 to 255. A uniform number in [0, 1) is added to each, so that the density cannot be infinite.

photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.cat()]


def crops(number: int) -> Tensor:
    """Crops (B, 3, 8, 8) in [-0.5, 0.5]."""
    found = []
    for _ in range(number):
        photo = torch.from_numpy(photos[int(torch.randint(len(photos), ()))])
        top, left = (int(torch.randint(side - SIDE, ())) for side in photo.shape[:2])
        found.append(photo[top : top + SIDE, left : left + SIDE].permute(2, 0, 1))
    levels = torch.stack(found).float()
    return (levels + torch.rand_like(levels)) / 256 - 0.5


def bits(log_prob: Tensor) -> Tensor:
    """Bits of a code for one grey level; 256 levels without a model need eight."""
    return 8 - log_prob.mean() / (math.log(2) * dimensions)


flow(crops(256))  # ActNorm sets its parameters on its first batch
optimiser = torch.optim.Adam(flow.parameters(), 2e-3)
history = []
for _ in range(NUM_STEPS):
    loss = bits(density.log_prob(crops(64)))
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
    optimiser.step()
    history.append(loss.item())
print(
    f"{sum(history[:10]) / 10:.2f} bits per dimension at first, {sum(history[-50:]) / 50:.2f} after {NUM_STEPS} steps"
)

# %%
# Samples
# -------
#
# The upper row shows crops of the photos, the lower one samples of the flow.

with torch.no_grad():
    samples = density.sample((12,))
plt.figure(figsize=(8, 1.6))
for row, images in enumerate((crops(12), samples)):
    for column, image in enumerate(images):
        plt.subplot(2, 12, 12 * row + column + 1)
        plt.imshow((image + 0.5).clamp(0, 1).permute(1, 2, 0))
        plt.axis("off")
plt.show()
