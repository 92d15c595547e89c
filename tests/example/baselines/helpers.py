"""What every hider among the baselines goes through: random weights, photos, a hundred steps, a file."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from pirnet.config import quick
from pirnet.support.photos import bundled_photos
from pirnet.support.registry import suited
from pirnet.trainer import Trainer
from reproduce.baselines import HIDERS, Hider
from torch import Tensor, nn
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.helpers import same_weights


def num_parameters(build: Callable[[], nn.Module]) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


def images(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(*shape, generator=generator, dtype=dtype) for _ in range(count)]


def dense(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """HiNet's dense network, by definition: four convolutions that see all before them, and a linear one."""
    for number in range(4):
        weight, bias = (weights[f"{name}.hidden.{number}.{kind}"] for kind in ("weight", "bias"))
        x = torch.cat([x, F.leaky_relu(F.conv2d(x, weight, bias, padding=1), 0.01)], dim=1)
    return F.conv2d(x, weights[f"{name}.last.weight"], weights[f"{name}.last.bias"], padding=1)


def assert_every_weight_has_a_finite_gradient(hider: Hider, height: int, width: int) -> None:
    """Of what a training step looks at: the stego image, and the secret revealed from it."""
    assert isinstance(hider, nn.Module)
    randomise_(hider)
    cover, secret = images(2, 2, 3, height, width, dtype=torch.float32)
    stego = hider.conceal(cover, secret)
    ((stego - cover).square().mean() + (hider.reveal(stego) - secret).square().mean()).backward()
    for name, parameter in hider.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def assert_a_hundred_steps_teach(name: str, *, crop: int, batch_size: int) -> None:
    """Training as everywhere here, but on the same ten batches ten times: the last ten losses are well below."""
    start = quick()
    train = replace(start.train, steps=(100, 0, 0), crop=crop, batch_size=batch_size, warmup=10)
    run = Trainer(suited(replace(start, hider=name, train=train)), bundled_photos(), device=torch.device("cpu"))
    run.upcoming = itertools.cycle([run.batches[step] for step in range(10)])
    losses = [float(str(run.take_step()["loss"])) for _ in range(100)]
    assert mean(losses[-10:]) < 0.7 * mean(losses[:10])
    assert run.guard.skipped == 0


def assert_it_saves_and_loads(name: str, folder: Path) -> None:
    """A file of its weights is all that another of its kind needs to reveal."""
    saved, loaded = HIDERS[name](), HIDERS[name]()
    assert isinstance(saved, nn.Module)
    assert isinstance(loaded, nn.Module)
    torch.save(randomise_(saved).state_dict(), folder / "hider.pt")
    assert not same_weights(saved, loaded)
    loaded.load_state_dict(torch.load(folder / "hider.pt", weights_only=True))
    assert same_weights(saved, loaded)
    cover, secret = images(2, 1, 3, 8, 8, dtype=torch.float32)
    assert torch.equal(loaded.reveal(saved.conceal(cover, secret)), saved.reveal(saved.conceal(cover, secret)))
