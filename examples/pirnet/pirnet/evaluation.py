"""The quality that a trained PIRNet reaches on photos it has not seen, with rows that show what the figures mean."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from liftlayers.functional import scramble_blocks, unscramble_blocks
from pirnet.band_hider import Z
from pirnet.data import Pair
from pirnet.degrade import Degradation
from pirnet.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim
from pirnet.model import LIH, LSR, PIRNet
from pirnet.pixels import Pipeline, as_sent, smooth_borders
from pirnet.support.keys import random_key
from pirnet.support.lpips import LPIPS, LPIPS_SIDE
from pirnet.support.seeds import seeded_generator
from pirnet.tasks import degrade

TEST = Degradation()


@dataclass(frozen=True)
class Networks:
    """The networks to evaluate, all on one device."""

    lih: LIH
    lsr: LSR
    clear: LSR | None = None
    """A network like `lsr`, trained to restore the degraded photo itself, which is not hidden."""
    z: Z = "zero"


@dataclass(frozen=True)
class Example:
    """One pair at one task with all intermediate images, each (1, 3, H, W)."""

    task: str
    truth: Tensor
    secret: Tensor
    cover: Tensor
    stego: Tensor
    revealed: Tensor
    restored_stego: Tensor
    restored: Tensor
    clear: Tensor | None = None
    """The degraded secret, restored without being hidden."""
    without_key: Tensor | None = None
    """What LIH's weights alone reveal from the restored stego image; None if nothing was scrambled."""


@dataclass(frozen=True)
class Row:
    """Figures of one pair, or their means; None if a figure has no meaning. PSNR in dB; all on 8-bit RGB."""

    task: str
    row: str
    """`do nothing`: the degraded secret. `no restoration`: hidden and revealed without the cloud. `in the clear`: the
    degraded secret, restored without being hidden. `ours`: hidden, restored in the cloud and revealed.
    `no key`: the same, if `ours` scrambles with a key."""
    pipeline: str
    """`uint8`: stego rounded to 8 bit as in a file; or `float`."""
    stego_psnr: float | None
    """Stego or restored stego against cover."""
    secret_psnr: float
    """Secret against its truth."""
    stego_ssim: float | None
    secret_ssim: float
    revealed_psnr: float | None = None
    """Revealed against degraded secret: the fidelity of the client's network alone."""
    stego_ms_ssim: float | None = None
    secret_ms_ssim: float | None = None
    stego_lpips: float | None = None
    secret_lpips: float | None = None


FIGURES = tuple(field.name for field in fields(Row))[3:]


@dataclass(frozen=True)
class Difference:
    """Differences between the rows of one task, in dB of the secret's PSNR."""

    task: str
    pipeline: str
    over_nothing: float
    """Ours minus doing nothing."""
    cloud_gain: float
    """Ours minus no restoration: the gain by the cloud."""
    price_of_privacy: float | None
    """In the clear minus ours: the cost of hiding; None without a network in the clear."""
    price_of_key: float | None
    """No key minus ours: the cost of scrambling; None if ours does not scramble."""


@torch.no_grad()
def run(
    networks: Networks,
    pair: Pair,
    task: str,
    *,
    number: int,
    pipeline: Pipeline,
    block: int = 0,
    degradation: Degradation = TEST,
) -> Example:
    """Hides, restores and reveals a pair at the degradation of the test.

    With a `block`, the secret is scrambled in blocks of that side; noise and key depend on the number alone.
    """
    truth, cover, device = pair.secret[None], pair.cover[None], next(networks.lih.parameters()).device
    secret = degrade(truth, task, degradation, generator=seeded_generator(number))
    truth, cover, secret = (image.to(device, memory_format=torch.channels_last) for image in (truth, cover, secret))
    key = random_key(seeded_generator(number, block))
    hidden = scramble_blocks(secret, key, block=block) if block else secret
    stego = as_sent(networks.lih.conceal(cover, hidden), pipeline)
    restored_stego = as_sent(networks.lsr(stego, task), pipeline)
    revealed, restored = (networks.lih.reveal(image, networks.z) for image in (stego, restored_stego))
    clear = None if networks.clear is None else networks.clear(secret, task)
    without_key = restored if block else None
    if block:
        found = (unscramble_blocks(image, key, block=block) for image in (revealed, restored))
        revealed, restored = (smooth_borders(image, block) for image in found)
    return Example(task, truth, secret, cover, stego, revealed, restored_stego, restored, clear, without_key)


def measure(
    example: Example, *, pipeline: Pipeline, without_key: Example | None = None, lpips: LPIPS | None = None
) -> list[Row]:
    """The figures of one example: a row for each way to obtain the secret, and one for the same pair without a key."""
    ways = {"do nothing": (None, example.secret), "no restoration": (example.stego, example.revealed)}
    if example.clear is not None:
        ways["in the clear"] = (None, example.clear)
    if without_key is not None:
        ways["no key"] = (without_key.restored_stego, without_key.restored)
    ways["ours"] = (example.restored_stego, example.restored)
    rows = []
    for name, (stego, secret) in ways.items():
        figures = _compare("secret", secret, example.truth, lpips) | _compare("stego", stego, example.cover, lpips)
        if name == "no restoration":
            figures["revealed_psnr"] = float(psnr(secret, example.secret))
        rows.append(Row(example.task, name, pipeline, **figures))  # type: ignore[arg-type]
    return rows


def evaluate(model: PIRNet, pairs: Sequence[Pair], *, block: int = 0) -> tuple[list[Row], list[Example]]:
    """Measures a model on pairs: three rows for each task.

    Args:
        model: The network; its config decides about 8 bit or float.
        pairs: Photos with sides divisible by 2^K.
        block: Side of the blocks that are scrambled, in pixels; 0 scrambles nothing.

    Returns:
        The rows, and the example of the first pair at each task for the sheets.
    """
    model.eval()
    networks = Networks(model.lih, model.lsr, z=model.z)
    figures: dict[tuple[str, str], list[Row]] = {}
    firsts: dict[str, Example] = {}
    for task in model.lsr.tasks:
        for number, pair in enumerate(pairs):
            example = run(networks, pair, task, number=number, pipeline=model.stego, block=block)
            firsts.setdefault(task, example)
            for row in measure(example, pipeline=model.stego):
                figures.setdefault((row.task, row.row), []).append(row)
    return [mean(rows) for rows in figures.values()], list(firsts.values())


def mean(rows: Sequence[Row]) -> Row:
    """The mean of every figure over the pairs; None if a pair lacks it."""
    means = {name: _reduced(statistics.fmean, rows, name) for name in FIGURES}
    return replace(rows[0], **means)  # type: ignore[arg-type]


def deviations(rows: Sequence[Row]) -> dict[str, float | None]:
    """The standard deviation of every figure over the pairs; None for one pair, and if a figure is not finite."""
    return {name: _reduced(_deviation, rows, name) for name in FIGURES}


def differences(rows: Sequence[Row]) -> list[Difference]:
    """The gain by the cloud, the price of privacy and that of the key, for each pipeline and task."""
    secrets = {(row.pipeline, row.task, row.row): row.secret_psnr for row in rows}
    result = []
    for (pipeline, task, name), ours in secrets.items():
        if name == "ours":
            nothing, unrestored = (secrets[pipeline, task, way] for way in ("do nothing", "no restoration"))
            others = (secrets.get((pipeline, task, way)) for way in ("in the clear", "no key"))
            prices = [None if other is None else other - ours for other in others]
            result.append(Difference(task, pipeline, ours - nothing, ours - unrestored, *prices))
    return result


def _compare(name: str, image: Tensor | None, target: Tensor, lpips: LPIPS | None) -> dict[str, float | None]:
    """The figures of an image with that name in `Row`; without an image, those that every row states."""
    if image is None:
        return {f"{name}_psnr": None, f"{name}_ssim": None}
    side = min(image.shape[-2:])
    return {
        f"{name}_psnr": float(psnr(image, target)),
        f"{name}_ssim": float(ssim(image, target)),
        f"{name}_ms_ssim": float(ms_ssim(image, target)) if side >= MS_SSIM_SIDE else None,
        f"{name}_lpips": float(lpips(image, target)) if lpips is not None and side >= LPIPS_SIDE else None,
    }


def _reduced(reduce: Callable[[list[float]], float | None], rows: Sequence[Row], name: str) -> float | None:
    values = [getattr(row, name) for row in rows]
    value = None if None in values else reduce(values)
    return None if value is None else round(value, 4)


def _deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
