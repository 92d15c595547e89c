"""Attacks that learn from leaked pairs of a secret and its stego image, each hidden with a key of its own."""

from collections.abc import Sequence
from itertools import cycle

import torch
import torch.nn.functional as F
from pirnet.band_hider import Bands
from pirnet.data import PairCrops
from pirnet.model import LIH
from pirnet.support.photos import Photos
from pirnet.support.progress import progress_bar
from pirnet.support.seeds import random_below, seeded_generator
from pirnet.support.text import counted
from torch import Tensor, nn

from liftlayers.functional import scramble_blocks
from reproduce.attacks import Estimator
from reproduce.security_pipeline import degraded, fresh_key, hidden

CROP = 128  # side of a leaked pair, in pixels
REACH = 2  # of the linear map, in band pixels: it uses 5 x 5 of them, 10 x 10 pixels of the image
Leak = tuple[Tensor, Tensor, Tensor]
"""A stego image, the secret inside it, and the secret as it was hidden, each (1, 3, CROP, CROP)."""


@torch.no_grad()
def leaked_pairs(
    lih: LIH, photos: Photos, number: int, *, block: int | None, tasks: Sequence[str], crop: int = CROP
) -> list[Leak]:
    """Crops of photos that were hidden with a fresh key each; their secrets have the damage of the tasks in turn."""
    crops, leaks = PairCrops(photos, crop=crop, seed=0), []
    for index, task in zip(progress_bar(range(number), desc="leaked pairs", unit="pair"), cycle(tasks), strict=False):
        cover, truth = crops.batch(index, 1)
        secret = degraded(truth, task, index)
        key = fresh_key(-1, index)
        stego = hidden(lih, cover, secret, key=key, block=block)
        leaks.append((stego, secret, secret if block is None else scramble_blocks(secret, key, block=block)))
    return leaks


def learned(leaks: Sequence[Leak], *, counts: Sequence[int], steps: int, keyed: bool) -> dict[str, Estimator]:
    """The attacks that are learned from the first leaked pairs.

    Args:
        leaks: The pairs.
        counts: Numbers of pairs to learn from.
        steps: Steps of training of each U-Net.
        keyed: Whether to add a map to the secrets as they were hidden, for an attacker who has the key of each leaked
            pair or found it.
    """
    attacks: dict[str, Estimator] = {}
    for with_keys in (False, True)[: 1 + keyed]:
        for count in counts:
            learner = LeastSquares()
            for stego, secret, scrambled in leaks[:count]:
                learner.learn(stego, scrambled if with_keys else secret)
            attacks[f"least squares, {counted(count, 'leaked pair')}{' with keys' * with_keys}"] = learner.solve()
    for count in counts:
        attacks[f"U-Net, {counted(count, 'leaked pair')}"] = trained(leaks[:count], steps=steps)
    return attacks


class LeastSquares:
    """The best linear map from an image to the secret inside it, fitted to leaked pairs of both.

    It predicts every Haar band of the secret from 5 x 5 positions of all twelve bands, with a small ridge penalty.
    """

    def __init__(self) -> None:
        inputs = 12 * (2 * REACH + 1) ** 2 + 1
        self.gram = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.moments = torch.zeros(inputs, 12, dtype=torch.float64)
        self.bands = Bands()

    def learn(self, seen: Tensor, secret: Tensor) -> None:
        """Adds a pair of images (1, 3, H, W)."""
        inputs = F.unfold(self._neighbourhood(seen), 2 * REACH + 1)[0].double()  # (300, places)
        inputs = torch.cat((inputs, torch.ones(1, inputs.shape[1], dtype=torch.float64)))
        outputs = self.bands(secret)[0].flatten(1).double()  # (12, places)
        self.gram += inputs @ inputs.T
        self.moments += inputs @ outputs.T

    def solve(self) -> "LeastSquares":
        """Computes the coefficients and returns itself."""
        ridge = 1e-6 * self.gram.diagonal().mean() * torch.eye(len(self.gram), dtype=torch.float64)
        self.coefficients = torch.linalg.solve(self.gram + ridge, self.moments)
        return self

    def __call__(self, seen: Tensor) -> Tensor:
        """Its estimate of the secret in an image (1, 3, H, W)."""
        weights = self.coefficients.to(seen).T  # (12, 301)
        kernel = weights[:, :-1].reshape(12, 12, 2 * REACH + 1, 2 * REACH + 1)
        return self.bands.inverse(F.conv2d(self._neighbourhood(seen), kernel, weights[:, -1]))

    def _neighbourhood(self, image: Tensor) -> Tensor:
        return F.pad(self.bands(image), (REACH,) * 4, mode="reflect")


class UNet(nn.Module):
    """A small U-Net from the Haar bands of a stego image to those of the secret inside it.

    Args:
        scale: Typical size (12, 1, 1) of each band of a stego image, by which its input is divided.
        width: Channels at the full resolution of the bands.
    """

    def __init__(self, scale: Tensor, width: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.bands = Bands()
        self.enter = nn.Sequential(nn.Conv2d(12, width, 3, padding=1), nn.GELU())
        self.below = nn.Sequential(
            nn.Conv2d(width, 2 * width, 2, stride=2),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(2 * width, width, 2, stride=2),
        )
        self.leave = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 12, 1))

    def forward(self, stego: Tensor) -> Tensor:
        entered = self.enter(self.bands(stego) / self.scale)  # (B, width, H/2, W/2)
        return self.bands.inverse(self.leave(torch.cat((entered, self.below(entered)), dim=1)))


@torch.enable_grad()
def trained(leaks: Sequence[Leak], *, steps: int) -> UNet:
    """A U-Net that was trained on leaked pairs, at most four in a step, with the mean squared error."""
    stegos, secrets = (torch.cat([leak[i] for leak in leaks]) for i in (0, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = UNet(Bands()(stegos).std(dim=(0, 2, 3)).clamp(min=1e-3).view(12, 1, 1))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = seeded_generator(0)
    for _ in progress_bar(range(steps), desc=f"U-Net, {counted(len(leaks), 'leaked pair')}", unit="step"):
        chosen = [random_below(len(leaks), generator) for _ in range(min(4, len(leaks)))]
        optimizer.zero_grad()
        F.mse_loss(net(stegos[chosen]), secrets[chosen]).backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)
