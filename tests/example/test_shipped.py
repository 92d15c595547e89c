"""The shipped weights reach the promised quality on photos that were not used for training."""

from functools import cache

import pytest
import torch
from pirnet.degrade import Degradation
from pirnet.metrics import psnr
from pirnet.pixels import quantise_uint8
from pirnet.support import places
from pirnet.tasks import TASKS, degrade
from pirnet.weights import load_lih, load_lsr
from skimage import data
from torch import Tensor


def photo(pixels, top: int, left: int) -> Tensor:
    crop = pixels[top : top + 192, left : left + 192]
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None] / 255  # (1, 3, 192, 192)


@cache
def distances(task: str) -> dict[str, float]:
    """PSNRs in dB of secret and stego image; all images are rounded to 8 bit."""
    lih, lsr = load_lih(places.SHIPPED / places.LIH_WEIGHTS), load_lsr(places.SHIPPED / places.LSR_WEIGHTS)
    cover, secret = photo(data.coffee(), 60, 180), photo(data.astronaut(), 0, 96)
    with torch.inference_mode():
        degraded = degrade(secret, task, Degradation(), generator=torch.Generator().manual_seed(0))
        stego = quantise_uint8(lih.conceal(cover, degraded))
        restored = quantise_uint8(lsr(stego, task))
        images = {"do nothing": degraded, "no restoration": lih.reveal(stego), "ours": lih.reveal(restored)}
        found = {name: float(psnr(quantise_uint8(image), secret)) for name, image in images.items()}
        return found | {"stego": float(psnr(restored, cover))}


@pytest.mark.parametrize("task", TASKS)
def test_the_cloud_mends_the_secret_and_leaves_the_cover(task: str) -> None:
    """The cloud improves the secret by more than 0.5 dB and keeps the stego image above 30 dB."""
    found = distances(task)
    assert found["ours"] > max(found["do nothing"], found["no restoration"]) + 0.5
    assert found["stego"] > 30
