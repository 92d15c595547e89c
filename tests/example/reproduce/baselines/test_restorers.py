"""Laws of every restorer of the comparison: the identity at the start, gradients, saving, training, errors."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch
from pirnet.config import cleared, quick
from pirnet.support.photos import bundled_photos
from pirnet.support.registry import with_baseline_rates
from pirnet.trainer import Trainer
from reproduce.baselines import RESTORERS
from reproduce.baselines.fmen import FMEN
from torch import nn

from liftlayers.testing import randomise_
from tests.example.helpers import same_weights
from tests.example.reproduce.baselines.unets import image

STARTS_AS_THE_IDENTITY = ("nafnet", "nafnet_gopro", "mirnetv2", "xydeblur", "rlfn", "fmen")
MULTIPLES = ("cbdnet", "mirnetv2", "xydeblur")  # need sides divisible by 4
LARGE = ("nafnet", "nafnet_gopro", "mirnetv2")
OWN_CHECKS = ("nafnet", "nafnet_gopro")  # the library's network has its own message


KINDS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "nafnet_gopro"), id=name) for name in RESTORERS]


def built(name: str) -> nn.Module:
    restorer = RESTORERS[name]()
    assert isinstance(restorer, nn.Module)
    return restorer


@pytest.mark.parametrize("name", STARTS_AS_THE_IDENTITY)
def test_it_starts_as_the_identity(name: str) -> None:
    x = image(1, 3, 16, 32, dtype=torch.float32)
    assert torch.equal(built(name)(x), x)


@pytest.mark.parametrize("name", [name for name in KINDS if name.id != "ridnet"])  # some of RIDNet's are never trained
def test_every_weight_has_a_finite_gradient(name: str) -> None:
    net = randomise_(built(name))
    x, truth = image(2, 3, 16, 24, dtype=torch.float32), image(2, 3, 16, 24, seed=1, dtype=torch.float32)
    (net(x) - truth).square().mean().backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", [*KINDS, "fmen, deployed"])
def test_it_saves_and_loads(name: str, tmp_path: Path) -> None:
    def build() -> nn.Module:
        return FMEN().deployed() if name == "fmen, deployed" else built(name).eval()

    saved, loaded = randomise_(build()), build()
    torch.save(saved.state_dict(), tmp_path / "restorer.pt")
    assert not same_weights(saved, loaded)
    loaded.load_state_dict(torch.load(tmp_path / "restorer.pt", weights_only=True))
    x = image(1, 3, 16, 16, dtype=torch.float32)
    assert torch.equal(loaded(x), saved(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", RESTORERS)
def test_sixty_steps_teach_it(name: str) -> None:
    """Training in the clear, but twelve times on the same five batches: the last five losses are below the first.

    The largest networks take half of the steps.
    """
    start = quick()
    train = replace(start.train, steps=(0, 60, 0), crop=24, batch_size=2, tasks=("denoise", "deblur"), warmup=6)
    config = cleared(with_baseline_rates(replace(start, restorer=name, train=train)))
    run = Trainer(config, bundled_photos(), device=torch.device("cpu"))
    run.upcoming = itertools.cycle([run.batches[step] for step in range(5)])
    losses = [float(str(run.take_step()["loss"])) for _ in range(30 if name in LARGE else 60)]
    assert mean(losses[-5:]) < 0.8 * mean(losses[:5])
    assert run.guard.skipped == 0


WRONG = [
    (name, shape)
    for name in RESTORERS
    for shape in (
        *((1, 1, 16, 16), (3, 16, 16)),
        *([(1, 3, 16, 18), (1, 3, 17, 16), (1, 3, 0, 16)] if name in MULTIPLES else []),
        *([(1, 3, 14, 16), (1, 3, 16, 14)] if name == "rlfn" else []),
    )
]


@pytest.mark.parametrize(("name", "shape"), WRONG)
def test_other_images_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        restorer = built(name)
    needs = r"an RGB image of shape \(B, 3, H, W\), got " + re.escape(str(shape))
    if name in OWN_CHECKS:
        needs = r"a \(B, 3, H, W\) tensor, got " + re.escape(str(shape))
    elif len(shape) == 4 and shape[1] == 3 and all(shape):
        size = f"{shape[2]} x {shape[3]}"
        needs = f"sides divisible by 4, got {size}" if name in MULTIPLES else f"at least 15 pixels a side, got {size}"
    with pytest.raises(ValueError, match=f"{type(restorer).__name__} needs {needs}$"):
        restorer(torch.zeros(shape))
