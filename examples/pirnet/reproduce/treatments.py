"""How a hidden secret changes when its stego image is denoised or made noisy: section 3.1 of the paper.

Its finding: a treatment that brings the stego image closer to the cover also brings the revealed secret closer to its
truth. Each pair with each treatment is a point; the correlation of the points shows how far that holds.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from pirnet.data import Pair
from pirnet.degrade import Degradation, add_noise
from pirnet.metrics import psnr, ssim
from pirnet.model import LIH
from pirnet.pixels import quantise_uint8
from pirnet.support.seeds import seeded_generator
from pirnet.tasks import degrade
from torch import Tensor

NOISES = (5, 10, 15)
"""Standard deviations of added noise, in 8-bit grey levels."""

UNTREATED = "as hidden"
"""The name of leaving a stego image unchanged."""

Treatment = Callable[[Tensor, torch.Generator], Tensor]
"""Stego image (1, 3, H, W) to stego image; random numbers come from the generator."""


@dataclass(frozen=True)
class Point:
    """One pair, hidden by one network and treated in one way. PSNR in dB; all on 8-bit RGB."""

    hider: str
    treatment: str
    secret: str
    cover: str
    stego_psnr: float
    """Treated stego against cover."""
    secret_psnr: float
    """Revealed secret against its truth, the photo before noise was added."""
    stego_ssim: float
    secret_ssim: float


def as_hidden(stego: Tensor, _generator: torch.Generator) -> Tensor:
    """Leaves a stego image unchanged."""
    return stego


def added_noise(sigma: float) -> Treatment:
    """Adds white Gaussian noise of that standard deviation, in 8-bit grey levels."""
    return lambda stego, generator: add_noise(stego, sigma, generator=generator)


def partly(treatment: Treatment, share: float) -> Treatment:
    """A weaker treatment: a weighted mean of the treated image, with that share as its weight, and the stego image."""
    return lambda stego, generator: torch.lerp(stego, treatment(stego, generator), share)


@torch.no_grad()
def points(
    hider: str, network: LIH, treatments: Mapping[str, Treatment], pair: Pair, *, number: int
) -> Iterator[Point]:
    """Adds noise of sigma 25 to a pair's secret, hides it, treats the stego image in each way and reveals.

    Stego images are rounded to 8 bit before and after the treatment. Random numbers depend on the pair's number alone.

    Args:
        hider: The network's name.
        network: The network that hides and reveals.
        treatments: By name.
        pair: Photos with sides divisible by 16.
        number: The pair's number.
    """
    device = next(network.parameters()).device
    secret = degrade(pair.secret[None], "denoise", Degradation(), generator=seeded_generator(number))
    cover, truth, secret = (image.to(device) for image in (pair.cover[None], pair.secret[None], secret))
    stego = quantise_uint8(network.conceal(cover, secret))
    for name, treatment in treatments.items():
        treated = quantise_uint8(treatment(stego, seeded_generator(number, 1)))
        revealed = network.reveal(treated)
        qualities = psnr(treated, cover), psnr(revealed, truth), ssim(treated, cover), ssim(revealed, truth)
        yield Point(hider, name, pair.secret_name, pair.cover_name, *map(float, qualities))


def correlations(found: Sequence[Point]) -> dict[str, float | None]:
    r"""Pearson's correlation of stego and secret quality, over all pairs and treatments of one hider.

    .. math:: r = \frac{\sum_i (x_i - \bar x)(y_i - \bar y)}{\sqrt{\sum_i (x_i - \bar x)^2 \sum_i (y_i - \bar y)^2}}

    with the two qualities :math:`x_i, y_i` of a point. `psnr` and `ssim` use them directly, so pairs that are easy on
    both sides contribute; `psnr_change` and `ssim_change` use differences to the same pair without treatment, so only
    the treatments contribute.

    Args:
        found: Points of one hider; each pair is among them without treatment.

    Returns:
        Four coefficients in [-1, 1]; None if a quality does not vary.

    Example:
        >>> start = Point("a", UNTREATED, "s", "c", 30.0, 20.0, 0.9, 0.5)
        >>> better = Point("a", "denoised", "s", "c", 31.0, 22.0, 0.95, 0.6)
        >>> worse = Point("a", "noise", "s", "c", 28.0, 16.0, 0.8, 0.4)
        >>> round(correlations([start, better, worse])["psnr"], 6)
        1.0
    """
    start = {(point.secret, point.cover): point for point in found if point.treatment == UNTREATED}
    treated = [(p, start[p.secret, p.cover]) for p in found if p.treatment != UNTREATED]
    result: dict[str, float | None] = {}
    for quality in ("psnr", "ssim"):
        names = (f"stego_{quality}", f"secret_{quality}")
        result[quality] = _pearson(*([getattr(point, name) for point in found] for name in names))
        changes = ([getattr(p, name) - getattr(untreated, name) for p, untreated in treated] for name in names)
        result[f"{quality}_change"] = _pearson(*changes)
    return result


def _pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    if len(x) < 2 or not all(map(math.isfinite, (*x, *y))):
        return None
    try:
        return statistics.correlation(x, y)
    except statistics.StatisticsError:  # one of the lists is constant
        return None
