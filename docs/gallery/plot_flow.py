"""
A small normalising flow
========================

An invertible network that knows its determinant turns a density that we can write down into one that we could not: a
flow. This one learns the density of two moons from samples, by maximum likelihood.
"""

import math

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from liftlayers import ActNorm, AffineCoupling, Inverse, InvertibleConv1x1, Sequential, Split

NUM_STEPS = 1000
torch.manual_seed(0)


def two_moons(number: int) -> Tensor:
    """Points (N, 2) on two half circles, with noise."""
    angle = math.pi * torch.rand(number)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    upper[::2] *= -1  # every other point to the lower moon
    return upper + 0.1 * torch.randn(number, 2)


# %%
# The flow
# --------
#
# A block normalises both coordinates, mixes them, and lets one of them scale and shift the other. What the layers
# do to the channels of an image they do to the coordinates of points.


def network(hidden: int = 32) -> nn.Sequential:
    """From a coordinate (B, 1) to a scale and a shift (B, 2) for the other."""
    return nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))


def block() -> Sequential:
    split = Split(1, 1)
    return Sequential(ActNorm(2), InvertibleConv1x1(2), split, AffineCoupling(network()), Inverse(split))


flow = Sequential(*(block() for _ in range(8)))

# %%
# The change of variables gives the density of a point :math:`x` that the flow takes to :math:`z`, which is to be a
# standard normal: :math:`\log p(x) = \log \mathcal N(z; 0, I) + \log |\det \partial z / \partial x|`.


def log_density(points: Tensor) -> Tensor:
    z, log_det = flow.forward_and_log_det(points)
    return log_det - (z.square().sum(dim=1) + 2 * math.log(2 * math.pi)) / 2


# %%
# Training makes the samples as likely as it can. The first batch sets the normalisations.

held_out = two_moons(10_000)
log_density(two_moons(512))
optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, NUM_STEPS)
for _ in range(NUM_STEPS):
    loss = -log_density(two_moons(512)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()

# %%
# The truth is known too: the density of a noisy half circle is an integral over the angle. Nothing can be more likely
# on average than this, and a normal distribution with the samples' mean and covariance is far from it.


def true_log_density(points: Tensor, num_angles: int = 500) -> Tensor:
    angle = math.pi * (torch.arange(num_angles) + 0.5) / num_angles
    moon = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    distance = torch.cdist(points, torch.cat([moon, -moon])) ** 2
    return torch.logsumexp(-distance / (2 * 0.1**2), dim=1) - math.log(2 * num_angles * 2 * math.pi * 0.1**2)


normal = torch.distributions.MultivariateNormal(held_out.mean(dim=0), held_out.T.cov())
with torch.no_grad():
    densities = {
        "normal": normal.log_prob(held_out),
        "flow": log_density(held_out),
        "truth": true_log_density(held_out),
    }
for name, values in densities.items():
    print(f"{name:8}{-values.mean():6.3f} nats a sample, held out")

# %%
# Does it add up?
# ---------------
#
# A density integrates to one. On a fine grid it does so nearly, which no loss has asked for: it follows from the
# determinant.

side = torch.linspace(-3, 3, 601)
grid = torch.cartesian_prod(side, side)
with torch.no_grad():
    density = log_density(grid).exp().view(601, 601).T  # rows are the second coordinate
    z = torch.randn(4000, 2)
    samples, log_det = flow.inverse_and_log_det(z)
    again, log_det_again = flow.forward_and_log_det(samples)
integral = float(density.sum()) * float(side[1] - side[0]) ** 2
print(f"integral of the density: {integral:.4f}")
assert abs(integral - 1) < 0.01

# %%
# The inverse draws samples: a normal one goes in, a point of the moons comes out. Both directions agree on the
# determinant.

print(f"there and back: {float((again - z).abs().max()):.1e}")
print(f"sum of both log-determinants: {float((log_det_again + log_det).abs().max()):.1e}")

figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained", sharex=True, sharey=True)
titles = ("samples it never saw", "density it learned", "samples it draws")
axes[0].scatter(*held_out[:4000].T.numpy(), s=1, color="#D55E00")
axes[1].imshow(density.numpy(), origin="lower", extent=(-3, 3, -3, 3), cmap="viridis")
axes[2].scatter(*samples.T.numpy(), s=1, color="#0072B2")
for panel, title in zip(axes, titles, strict=True):
    panel.set_title(title, fontsize=10)
    panel.set(xlim=(-2.2, 2.2), ylim=(-1.6, 1.6), aspect="equal")
plt.show()
