"""Laws of every hider of the comparison: start, gradients, saving, training, errors."""

import itertools
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch
from pirnet.band_hider import BandHider
from pirnet.config import quick
from pirnet.support.photos import bundled_photos
from pirnet.support.registry import with_baseline_rates
from pirnet.trainer import Trainer
from reproduce.baselines import HIDERS, Hider
from torch import nn

from liftlayers.testing import randomise_
from tests.example.helpers import same_weights
from tests.example.reproduce.baselines.helpers import images

INVERTIBLE = ("hinet", "deepmih")
SIZES = {"hidden": (9, 10), "baluja": (9, 10), "hinet": (8, 10), "deepmih": (8, 10)}


def built(name: str) -> tuple[Hider, nn.Module]:
    """A new hider, once typed as `Hider` and once as a module."""
    hider = HIDERS[name]()
    assert isinstance(hider, nn.Module)
    return hider, hider


@pytest.mark.parametrize("name", INVERTIBLE)
def test_it_starts_as_the_identity(name: str) -> None:
    hider, module = built(name)
    assert isinstance(hider, BandHider)
    cover, secret = images(2, 1, 3, 6, 8)
    stego, lost = module.double()(cover, secret)
    torch.testing.assert_close(stego, cover)
    torch.testing.assert_close(lost, secret)


@pytest.mark.parametrize("name", HIDERS)
def test_every_weight_has_a_finite_gradient(name: str) -> None:
    """Every weight gets a gradient from the losses of training: on the stego image and on the revealed secret."""
    hider, module = built(name)
    randomise_(module).train(name != "hidden")  # with the statistics of a batch, the bias has no gradient
    cover, secret = images(2, 2, 3, *SIZES[name], dtype=torch.float32)
    stego = hider.conceal(cover, secret)
    ((stego - cover).square().mean() + (hider.reveal(stego) - secret).square().mean()).backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", HIDERS)
def test_it_saves_and_loads(name: str, tmp_path: Path) -> None:
    """A hider that loads the saved weights of another one of its kind reveals the same secret."""
    (saved, saved_module), (loaded, loaded_module) = built(name), built(name)
    torch.save(randomise_(saved_module).state_dict(), tmp_path / "hider.pt")
    assert not same_weights(saved_module, loaded_module)
    loaded_module.load_state_dict(torch.load(tmp_path / "hider.pt", weights_only=True))
    assert same_weights(saved_module, loaded_module)
    cover, secret = images(2, 1, 3, 8, 8, dtype=torch.float32)
    assert torch.equal(loaded.reveal(saved.conceal(cover, secret)), saved.reveal(saved.conceal(cover, secret)))


@pytest.mark.slow
@pytest.mark.parametrize("name", HIDERS)
def test_fifty_steps_teach_it(name: str) -> None:
    """Ordinary training, but ten times on the same five batches: the last five losses are well below the first five.

    The two largest networks take half of the steps.
    """
    start = quick()
    train = replace(start.train, steps=(50, 0, 0), crop=16, batch_size=4, warmup=5)
    config = with_baseline_rates(replace(start, hider=name, train=train))
    run = Trainer(config, bundled_photos(), device=torch.device("cpu"))
    run.upcoming = itertools.cycle([run.batches[step] for step in range(5)])
    losses = [float(str(run.take_step()["loss"])) for _ in range(25 if name in INVERTIBLE else 50)]
    assert mean(losses[-5:]) < 0.7 * mean(losses[:5])
    assert run.guard.skipped == 0


@pytest.mark.parametrize("name", HIDERS)
def test_other_images_are_refused(name: str) -> None:
    hider, module = built(name)
    title, good = type(module).__name__, torch.zeros(1, 3, 8, 8)
    rgb = rf"{title} needs an RGB image of shape \(B, 3, H, W\)"
    with pytest.raises(ValueError, match=rf"{title} needs images of one shape, got \(1, 3, 8, 8\) and \(1, 3, 8, 10\)"):
        hider.conceal(good, torch.zeros(1, 3, 8, 10))
    with pytest.raises(ValueError, match=rgb + r", got \(1, 1, 8, 8\)"):
        hider.conceal(good, good[:, :1])
    with pytest.raises(ValueError, match=rgb + r", got \(1, 1, 8, 8\)"):
        hider.reveal(good[:, :1])
    with pytest.raises(ValueError, match=rgb + r", got \(3, 8, 8\)"):
        hider.reveal(good[0])


def test_baluja_needs_two_pixels_a_side() -> None:
    with pytest.raises(ValueError, match="Baluja needs at least 2 pixels a side, got 1 x 8"):
        built("baluja")[0].reveal(torch.zeros(1, 3, 1, 8))


@pytest.mark.parametrize("name", INVERTIBLE)
def test_other_lost_parts_are_refused(name: str) -> None:
    """An invertible hider refuses a substitute for the lost part that is neither zero nor Gaussian."""
    with pytest.raises(ValueError, match='reveal needs z="zero" or z="gaussian", got \'mean\''):
        built(name)[0].reveal(torch.zeros(1, 3, 8, 8), "mean")  # type: ignore[arg-type]
