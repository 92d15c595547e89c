"""The shipped weights reach the promised quality on photos that were not used for training."""

from functools import cache

import pytest
import torch
from pirnet.data import Pair
from pirnet.evaluation import Networks, run
from pirnet.metrics import psnr
from pirnet.pixels import quantise_uint8
from pirnet.support import places
from pirnet.tasks import TASKS
from pirnet.weights import load_lih, load_lsr
from skimage import data
from torch import Tensor


def photo(pixels, top: int, left: int) -> Tensor:
    crop = pixels[top : top + 192, left : left + 192]
    return torch.from_numpy(crop.copy()).permute(2, 0, 1) / 255  # (3, 192, 192)


@cache
def distances(task: str, block: int) -> dict[str, float]:
    """PSNRs in dB of secret and stego image; all images are rounded to 8 bit."""
    lih, lsr = load_lih(places.SHIPPED / places.LIH_WEIGHTS), load_lsr(places.SHIPPED / places.LSR_WEIGHTS)
    pair = Pair("astronaut", "coffee", photo(data.astronaut(), 0, 96), photo(data.coffee(), 60, 180))
    example = run(Networks(lih, lsr), pair, task, number=0, pipeline="uint8", block=block)
    ways = {"do nothing": example.secret, "no restoration": example.revealed, "ours": example.restored}
    found = {name: float(psnr(quantise_uint8(image), example.truth)) for name, image in ways.items()}
    return found | {"stego": float(psnr(example.restored_stego, example.cover))}


@pytest.mark.parametrize("block", [0, 16])
@pytest.mark.parametrize("task", TASKS)
def test_the_cloud_mends_the_secret_and_leaves_the_cover(task: str, block: int) -> None:
    """The cloud improves the secret by more than 0.5 dB and keeps the stego image above 30 dB."""
    found = distances(task, block)
    assert found["ours"] > max(found["do nothing"], found["no restoration"]) + 0.5
    assert found["stego"] > 30
