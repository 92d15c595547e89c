"""The quality that a trained PIRNet reaches on photos it has not seen, with rows that show what the figures mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from pirnet.band_hider import Z
from pirnet.data import Pair
from pirnet.degrade import Degradation
from pirnet.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim
from pirnet.model import LIH, LSR, PIRNet
from pirnet.pixels import quantise_uint8
from pirnet.support.lpips import LPIPS, LPIPS_SIDE
from pirnet.support.rows import Row, mean
from pirnet.support.seeds import seeded_generator
from pirnet.tasks import degrade

Pipeline = Literal["uint8", "float"]

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
    """The degraded secret, restored by a network that is given it."""


@torch.no_grad()
def run(
    networks: Networks, pair: Pair, task: str, *, number: int, pipeline: Pipeline, degradation: Degradation = TEST
) -> Example:
    """Hides, restores and reveals a pair at the degradation of the test; the noise depends on the number alone."""
    truth, cover, device = pair.secret[None], pair.cover[None], next(networks.lih.parameters()).device
    secret = degrade(truth, task, degradation, generator=seeded_generator(number))
    truth, cover, secret = (image.to(device, memory_format=torch.channels_last) for image in (truth, cover, secret))

    def sent(stego: Tensor) -> Tensor:
        return quantise_uint8(stego) if pipeline == "uint8" else stego

    stego = sent(networks.lih.conceal(cover, secret))
    restored_stego = sent(networks.lsr(stego, task))
    revealed, restored = (networks.lih.reveal(image, networks.z) for image in (stego, restored_stego))
    clear = None if networks.clear is None else networks.clear(secret, task)
    return Example(task, truth, secret, cover, stego, revealed, restored_stego, restored, clear)


def measure(example: Example, *, pipeline: Pipeline, lpips: LPIPS | None = None) -> list[Row]:
    """The figures of one example: a row for each way to obtain the secret."""
    ways = {"do nothing": (None, example.secret), "no restoration": (example.stego, example.revealed)}
    if example.clear is not None:
        ways["in the clear"] = (None, example.clear)
    ways["ours"] = (example.restored_stego, example.restored)
    rows = []
    for name, (stego, secret) in ways.items():
        figures: dict[str, float | None] = {f"secret_{k}": v for k, v in _compare(secret, example.truth, lpips).items()}
        stego_figures = dict.fromkeys(("psnr", "ssim")) if stego is None else _compare(stego, example.cover, lpips)
        figures |= {f"stego_{k}": v for k, v in stego_figures.items()}
        if name == "no restoration":
            figures["revealed_psnr"] = float(psnr(secret, example.secret))
        rows.append(Row(example.task, name, pipeline, **figures))  # type: ignore[arg-type]
    return rows


def evaluate(model: PIRNet, pairs: Sequence[Pair]) -> tuple[list[Row], list[Example]]:
    """Measures a model on pairs: three rows for each task.

    Args:
        model: The network; its config decides about 8 bit or float.
        pairs: Photos with sides divisible by 2^K.

    Returns:
        The rows, and the example of the first pair at each task for the sheets.
    """
    model.eval()
    networks = Networks(model.lih, model.lsr, z=model.z)
    pipeline = cast(Pipeline, model.stego)
    figures: dict[tuple[str, str], list[Row]] = {}
    firsts: dict[str, Example] = {}
    for task in model.lsr.tasks:
        for number, pair in enumerate(pairs):
            example = run(networks, pair, task, number=number, pipeline=pipeline)
            firsts.setdefault(task, example)
            for row in measure(example, pipeline=pipeline):
                figures.setdefault((row.task, row.row), []).append(row)
    return [mean(rows) for rows in figures.values()], list(firsts.values())


def _compare(image: Tensor, target: Tensor, lpips: LPIPS | None) -> dict[str, float | None]:
    side = min(image.shape[-2:])
    return {
        "psnr": float(psnr(image, target)),
        "ssim": float(ssim(image, target)),
        "ms_ssim": float(ms_ssim(image, target)) if side >= MS_SSIM_SIDE else None,
        "lpips": float(lpips(image, target)) if lpips is not None and side >= LPIPS_SIDE else None,
    }
