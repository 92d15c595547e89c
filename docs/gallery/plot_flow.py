"""
A normalising flow
==================

A normalising flow is an invertible network with a known Jacobian determinant. It transforms a simple density, such as a
normal distribution, into a complicated one. This small flow learns the density of the two-moons data set from samples,
by maximum likelihood.
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
# A block normalises both coordinates (`ActNorm`), mixes them (`InvertibleConv1x1`), and scales and shifts one of them
# by functions of the other (`AffineCoupling`). For points, the coordinates take the role of the channels of an image.


def network(hidden: int = 32) -> nn.Sequential:
    """Maps one coordinate (B, 1) to a scale and a shift (B, 2) for the other."""
    return nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))


def block() -> Sequential:
    split = Split(1, 1)
    return Sequential(ActNorm(2), InvertibleConv1x1(2), split, AffineCoupling(network()), Inverse(split))


flow = Sequential(*(block() for _ in range(8)))

# %%
# The flow maps a point :math:`x` to :math:`z`, which should have a standard normal distribution. The
# change-of-variables formula then gives the density:
# :math:`\log p(x) = \log \mathcal N(z; 0, I) + \log |\det \partial z / \partial x|`.


def log_density(points: Tensor) -> Tensor:
    z, log_det = flow.forward_and_log_det(points)
    return log_det - (z.square().sum(dim=1) + 2 * math.log(2 * math.pi)) / 2


# %%
# Training
# --------
#
# Training maximises the likelihood of the samples. The first batch initialises the `ActNorm` layers.

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
# The true density is known, too: the density of a noisy half circle is an integral over the angle. No model can have a
# higher expected likelihood than the true density. For comparison, we also fit a normal distribution with the mean and
# covariance of the samples.


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
        "true": true_log_density(held_out),
    }
for name, values in densities.items():
    print(f"{name:8}{-values.mean():6.3f} nats per held-out sample")

# %%
# Normalisation and inverse
# -------------------------
#
# A density must integrate to one. The loss does not enforce this. It follows from the determinant, and a sum over a
# fine grid confirms it.

side = torch.linspace(-3, 3, 601)
grid = torch.cartesian_prod(side, side)
with torch.no_grad():
    density = log_density(grid).exp().view(601, 601).T  # rows: second coordinate
    z = torch.randn(4000, 2)
    samples, log_det = flow.inverse_and_log_det(z)
    again, log_det_again = flow.forward_and_log_det(samples)
integral = float(density.sum()) * float(side[1] - side[0]) ** 2
print(f"integral of the density: {integral:.4f}")
assert abs(integral - 1) < 0.01

# %%
# To draw samples, we apply the inverse to normally distributed points. The log-determinants of the two directions
# cancel.

print(f"round-trip error: {float((again - z).abs().max()):.1e}")
print(f"largest sum of both log-determinants: {float((log_det_again + log_det).abs().max()):.1e}")

figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained", sharex=True, sharey=True)
titles = ("held-out samples", "learned density", "generated samples")
axes[0].scatter(*held_out[:4000].T.numpy(), s=1, color="#D55E00")
axes[1].imshow(density.numpy(), origin="lower", extent=(-3, 3, -3, 3), cmap="viridis")
axes[2].scatter(*samples.T.numpy(), s=1, color="#0072B2")
for panel, title in zip(axes, titles, strict=True):
    panel.set_title(title, fontsize=10)
    panel.set(xlim=(-2.2, 2.2), ylim=(-1.6, 1.6), aspect="equal")
plt.show()
