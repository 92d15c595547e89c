"""What becomes of a hidden secret when a stego image is denoised or made noisy: section 3.1 of the paper.

Its finding: where a treatment brings the stego image closer to the cover, it brings the revealed secret closer to its
truth too. Each pair, treated in each way, is a point; the correlation of the points says how far that holds.
"""

__all__ = ["NOISES", "UNTREATED", "Point", "Treatment", "added_noise", "as_hidden", "correlations", "partly", "points"]

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from pirnet.band_hider import Z
from pirnet.data import Pair
from pirnet.degrade import Degradation, add_noise, degrade
from pirnet.images import quantise_uint8
from pirnet.metrics import psnr, ssim
from pirnet.model import LIH
from pirnet.support.seeds import seeded_generator
from torch import Tensor

NOISES = (5, 10, 15)
"""Standard deviations of added noise, in 8-bit grey levels."""

UNTREATED = "as hidden"
"""The name of the treatment that is none."""

Treatment = Callable[[Tensor, torch.Generator], Tensor]
"""Stego image (1, 3, H, W) to stego image; what it draws comes from the generator."""

QUALITIES = ("psnr", "ssim")


@dataclass(frozen=True)
class Point:
    """One pair, hidden by one network and treated in one way. PSNR in dB; everything on 8-bit RGB."""

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
    """Leaves a stego image as it is."""
    return stego


def added_noise(sigma: float) -> Treatment:
    """Adds white Gaussian noise of that standard deviation, in 8-bit grey levels."""
    return lambda stego, generator: add_noise(stego, sigma, generator=generator)


def partly(treatment: Treatment, share: float) -> Treatment:
    """Goes that share of the way from a stego image to its treated one, as a weaker treatment would."""
    return lambda stego, generator: torch.lerp(stego, treatment(stego, generator), share)


@torch.no_grad()
def points(
    hider: str, network: LIH, treatments: Mapping[str, Treatment], pair: Pair, *, number: int, z: Z = "zero"
) -> Iterator[Point]:
    """Hides a pair's secret with noise of sigma 25 on it, treats the stego image in each way and reveals.

    Stego images are rounded to 8 bit before and after the treatment. All that is drawn depends on the number alone.

    Args:
        hider: The network's name.
        network: What hides and reveals.
        treatments: By name.
        pair: Photos with sides divisible by 16.
        number: The pair's number.
        z: What takes the place of the lost part.
    """
    device = next(network.parameters()).device
    secret = degrade(pair.secret[None], "denoise", Degradation(), generator=seeded_generator(number))
    cover, truth, secret = (image.to(device) for image in (pair.cover[None], pair.secret[None], secret))
    stego = quantise_uint8(network.conceal(cover, secret))
    for name, treatment in treatments.items():
        treated = quantise_uint8(treatment(stego, seeded_generator(number, 1)))
        revealed = network.reveal(treated, z)
        yield Point(
            *(hider, name, pair.secret_name, pair.cover_name),
            stego_psnr=float(psnr(treated, cover)),
            secret_psnr=float(psnr(revealed, truth)),
            stego_ssim=float(ssim(treated, cover)),
            secret_ssim=float(ssim(revealed, truth)),
        )


def correlations(found: Sequence[Point]) -> dict[str, float | None]:
    r"""Pearson's correlation of stego and secret quality, over all pairs and treatments of one hider.

    .. math:: r = \frac{\sum_i (x_i - \bar x)(y_i - \bar y)}{\sqrt{\sum_i (x_i - \bar x)^2 \sum_i (y_i - \bar y)^2}}

    with :math:`x_i, y_i` the two qualities of a point. `psnr` and `ssim` take them as they are, so that pairs which are
    easy on both sides count; `psnr_change` and `ssim_change` take differences to the same pair untreated, which leaves
    the treatments alone.

    Args:
        found: Points of one hider, each pair untreated among them.

    Returns:
        Four coefficients in [-1, 1]; null where a quality does not vary.

    Example:
        >>> start = Point("a", UNTREATED, "s", "c", 30.0, 20.0, 0.9, 0.5)
        >>> better = Point("a", "denoised", "s", "c", 31.0, 22.0, 0.95, 0.6)
        >>> worse = Point("a", "noise", "s", "c", 28.0, 16.0, 0.8, 0.4)
        >>> round(correlations([start, better, worse])["psnr"], 6)
        1.0
    """
    start = {(point.secret, point.cover): point for point in found if point.treatment == UNTREATED}
    result: dict[str, float | None] = {}
    for quality in QUALITIES:
        stego, secret = ([getattr(point, f"{side}_{quality}") for point in found] for side in ("stego", "secret"))
        result[quality] = _pearson(stego, secret)
        treated = [point for point in found if point.treatment != UNTREATED]
        changes = (
            [
                getattr(point, f"{side}_{quality}") - getattr(start[point.secret, point.cover], f"{side}_{quality}")
                for point in treated
            ]
            for side in ("stego", "secret")
        )
        result[f"{quality}_change"] = _pearson(*changes)
    return result


def _pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    if len(x) < 2 or not all(map(math.isfinite, (*x, *y))):
        return None
    try:
        return statistics.correlation(x, y)
    except statistics.StatisticsError:  # one of them is constant
        return None
