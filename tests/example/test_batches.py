"""Training batches are the same in every process, and processes divide them without loss."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from pirnet.data import Batches, PairCrops
from pirnet.degrade import Degradation

from tests.example.helpers import EXAMPLE, smooth_photos

TASKS = ["deblur", "denoise", "denoise", "sr"]


def batches(
    part: slice = slice(None), degradation: Degradation | None = None, blocks: tuple[int, ...] = (0,)
) -> Batches:
    crops = PairCrops(smooth_photos(), crop=24, seed=3)
    degradation = degradation or Degradation(noise_sigma=(0.0, 55.0))
    return Batches(crops, TASKS, degradation=degradation, blocks=blocks, part=part)


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


def test_batches_that_nobody_takes_do_not_keep_python_from_ending() -> None:
    code = """
        from tests.example.test_batches import batches
        unfinished = batches().from_step(0, 9, workers=1, pinned=False)
        next(unfinished)
        raise SystemExit(7)
    """
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(root), str(EXAMPLE)))}
    done = subprocess.run([sys.executable, "-c", dedent(code)], env=environment, timeout=120)
    assert done.returncode == 7


@pytest.mark.parametrize("count", [2, 4])
def test_parts_make_up_the_whole(count: int) -> None:
    """The parts of all processes are together the whole batch."""
    whole = batches()[5]
    for rank in range(count):
        part = slice(rank, None, count)
        assert all(torch.equal(a, b[part]) for a, b in zip(batches(part)[5], whole, strict=True))


def test_true_and_degraded_secret_are_scrambled_alike() -> None:
    """The same pixels in another order; where nothing is degraded, both stay equal. The covers stay as they are."""
    none = Degradation(noise_sigma=(0.0, 0.0), blur_kernel=(1, 1), factors=(1,))
    plain, scrambled = (batches(degradation=none, blocks=blocks)[7] for blocks in ((0,), (8,)))
    assert torch.equal(plain[0], scrambled[0])
    assert torch.allclose(scrambled[1], scrambled[2], atol=1e-5)
    assert not torch.allclose(plain[1], scrambled[1], atol=0.01)
    for before, after in zip(plain[1], scrambled[1], strict=True):
        distances = ((before - 0.5).abs().flatten().sort().values, (after - 0.5).abs().flatten().sort().values)
        assert torch.allclose(*distances, atol=1e-6)  # 1 - x is as far from 1/2 as x


def test_each_pair_draws_its_size_of_blocks() -> None:
    """With the size 0 among others, some secrets of a batch stay plain."""
    plain, mixed, again = (batches(blocks=blocks) for blocks in ((0,), (0, 8), (0, 8)))
    same = [bool(torch.equal(a, b)) for step in range(8) for a, b in zip(plain[step][1], mixed[step][1], strict=True)]
    assert 0 < sum(same) < len(same)
    assert all(torch.equal(a, b) for a, b in zip(mixed[3], again[3], strict=True))


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
