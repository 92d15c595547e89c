"""What the U-Nets among the restorers go through: random weights, photos, a hundred steps, a file."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from pirnet.config import cleared, quick
from pirnet.support.photos import bundled_photos
from pirnet.support.registry import suited
from pirnet.trainer import Trainer
from reproduce.baselines import LEARNING_RATES, RESTORERS
from torch import Tensor, nn

from liftlayers.testing import randomise_
from tests.example.helpers import same_weights


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def image(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_it_starts_as_the_identity(net: nn.Module) -> None:
    x = image(1, 3, 16, 32, dtype=torch.float32)
    assert torch.equal(net(x), x)


def assert_every_weight_has_a_finite_gradient(net: nn.Module) -> None:
    randomise_(net)
    x, truth = image(2, 3, 16, 24, dtype=torch.float32), image(2, 3, 16, 24, seed=1, dtype=torch.float32)
    (net(x) - truth).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def assert_it_saves_and_loads(build: Callable[[], nn.Module], folder: Path) -> None:
    saved, loaded = randomise_(build()), build()
    torch.save(saved.state_dict(), folder / "restorer.pt")
    assert not same_weights(saved, loaded)
    loaded.load_state_dict(torch.load(folder / "restorer.pt", weights_only=True))
    x = image(1, 3, 16, 16, dtype=torch.float32)
    assert torch.equal(loaded(x), saved(x))


def assert_a_hundred_steps_teach(name: str) -> None:
    """Training in the clear, but on the same ten batches ten times: the last ten losses are below the first ten."""
    assert {name} <= RESTORERS.keys() & LEARNING_RATES.keys()
    start = quick()
    train = replace(start.train, steps=(0, 100, 0), crop=32, batch_size=2, tasks=("denoise", "deblur"), warmup=10)
    config = cleared(suited(replace(start, restorer=name, train=train)))
    run = Trainer(config, bundled_photos(), device=torch.device("cpu"))
    run.upcoming = itertools.cycle([run.batches[step] for step in range(10)])
    losses = [float(str(run.take_step()["loss"])) for _ in range(100)]
    assert mean(losses[-10:]) < 0.8 * mean(losses[:10])
    assert run.guard.skipped == 0
