"""Training batches are the same in every process, and processes divide them without loss."""

import pytest
import torch
from pirnet.data import Batches, PairCrops
from pirnet.degrade import Degradation

from tests.example.helpers import smooth_photos

TASKS = ["deblur", "denoise", "denoise", "sr"]


def batches(part: slice = slice(None), degradation: Degradation | None = None) -> Batches:
    crops = PairCrops(smooth_photos(), crop=24, seed=3)
    return Batches(crops, TASKS, degradation=degradation or Degradation(noise_sigma=(0.0, 55.0)), part=part)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes:UserWarning")  # on a single core
def test_workers_make_the_same_batches() -> None:
    state = torch.random.get_rng_state()
    alone = list(batches().from_step(2, 7, workers=0, pinned=False))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(alone) == 5
    for step, batch in enumerate(alone, 2):
        assert all(torch.equal(a, b) for a, b in zip(batch, batches()[step], strict=True))
    for helped, batch in zip(batches().from_step(2, 7, workers=2, pinned=False), alone, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(helped, batch, strict=True))


@pytest.mark.parametrize("count", [2, 4])
def test_parts_make_up_the_whole(count: int) -> None:
    """The parts of all processes are together the whole batch."""
    whole = batches()[5]
    for rank in range(count):
        part = slice(rank, None, count)
        assert all(torch.equal(a, b[part]) for a, b in zip(batches(part)[5], whole, strict=True))


def test_each_secret_is_spoilt_for_its_task() -> None:
    """Each secret of a batch is degraded in the way of its own task, and only in that way."""
    none = Degradation(noise_sigma=(0.0, 0.0), blur_kernel=(1, 1), factors=(1,))
    degraded = {"denoise": {"noise_sigma": (25.0, 25.0)}, "deblur": {"blur_kernel": (7, 7)}, "sr": {"factors": (4,)}}
    for task, changes in degraded.items():
        degradation = Degradation(**{"noise_sigma": (0.0, 0.0), "blur_kernel": (1, 1), "factors": (1,)} | changes)
        _, truth, secret = batches(degradation=degradation)[0]
        differs = [not torch.allclose(a, b, atol=1e-3) for a, b in zip(truth, secret, strict=True)]
        assert differs == [name == task for name in TASKS]
    cover, truth, secret = batches(degradation=none)[0]
    assert torch.allclose(truth, secret, atol=1e-5)
    assert not torch.equal(cover, truth)
