"""Other systems in the place of LIH and LSR: they are built, trained and saved."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from pirnet.model import PIRNet
from pirnet.support.registry import with_baseline_rates
from pirnet.support.taskless import Taskless
from pirnet.trainer import Trainer
from pirnet.weights import CheckpointError, load_lih, load_other, save_weights
from reproduce import learning_rates
from reproduce.baselines import HIDERS, RESTORERS
from reproduce.baselines.hidden import HiDDeN

from tests.example.helpers import TINY, Script, copied, same_weights, smooth_image, smooth_photos, tiny

CPU = torch.device("cpu")


def test_every_system_has_a_learning_rate() -> None:
    assert learning_rates.HIDERS.keys() == HIDERS.keys()
    assert learning_rates.RESTORERS.keys() == RESTORERS.keys()


def test_unknown_names_are_refused() -> None:
    hiders, restorers = ", ".join(HIDERS), ", ".join(RESTORERS)
    with pytest.raises(ValueError, match=f"--hider needs one of lih, {hiders}, got 'hidnet'"):
        PIRNet(replace(tiny(), hider="hidnet"))
    with pytest.raises(ValueError, match=f"--hider needs one of lih, {hiders}, got 'hidnet'"):
        with_baseline_rates(replace(tiny(), hider="hidnet"))
    with pytest.raises(ValueError, match=f"--restorer needs one of lsr, {restorers}, got 'nafnett'"):
        PIRNet(replace(tiny(), restorer="nafnett"))


def test_learning_rates_are_those_of_the_networks() -> None:
    own = tiny()
    assert with_baseline_rates(own) == own
    first, second, third = with_baseline_rates(replace(own, hider="hinet")).train.learning_rates
    assert (first, second) == (learning_rates.HIDERS["hinet"], own.train.learning_rates[1])
    assert third == min(first, second) / 3
    assert with_baseline_rates(replace(own, restorer="rlfn")).train.learning_rates[:2] == (
        own.train.learning_rates[0],
        learning_rates.RESTORERS["rlfn"],
    )


def test_a_restorer_does_not_know_the_task() -> None:
    image = smooth_image(0, 16, 16)[None]
    net = Taskless("dncnn").eval()
    assert torch.equal(net(image, "sr"), net(image, ["denoise"]))
    assert torch.equal(net(image, "sr"), net.network(image))


def test_statistics_of_batches_are_averaged_networks_too_and_freeze_with_the_hider() -> None:
    """The averaged network gets the batch statistics of the trained one, and a frozen hider keeps its statistics."""
    config = replace(tiny((2, 2, 0), ema=0.9), hider="hidden")
    run = Trainer(config, smooth_photos(), device=CPU)
    start = copied(run.model.lih)
    for _ in range(2):
        run.take_step()
    trained = copied(run.model.lih)
    means = [name for name in start if name.endswith("running_mean")]
    assert means
    assert all(not torch.equal(start[name], trained[name]) for name in means)
    assert all(torch.equal(run.average.lih.state_dict()[name], trained[name]) for name in means)
    for _ in range(2):
        run.take_step()
    assert all(torch.equal(run.model.lih.state_dict()[name], trained[name]) for name in means)


def test_training_resumes_with_the_statistics() -> None:
    """A resumed run of a hider with batch statistics ends with the weights of an uninterrupted one."""
    config = replace(tiny((2, 0, 0)), hider="hidden")
    whole, first, second = (Trainer(config, smooth_photos(), device=CPU) for _ in range(3))
    for run in (whole, first):
        run.take_step()
    second.load_state_dict(first.state_dict())
    for run in (whole, second):
        run.take_step()
    assert same_weights(whole.model, second.model)


def test_the_script_trains_and_saves_a_pair(script: Script, photo_folder: Path, tmp_path: Path) -> None:
    options = ("--data", photo_folder, "--hider", "hidden", "--restorer", "dncnn", "--steps", "3", "--out", "run")
    message = script("train.py", *options, *TINY, "--train.crop", "16")
    assert message.status == 0, message.err
    assert "in uint8" in message.out
    assert "conceal.py" not in message.out  # the scripts use LIH and LSR
    hider, restorer = HIDERS["hidden"](), RESTORERS["dncnn"]()
    for name, network in (("hidden", hider), ("dncnn", restorer)):
        path = tmp_path / "run" / f"{name}.safetensors"
        load_other(path, network)  # type: ignore[arg-type]
        assert same_weights_as_file(network, path)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="needs to hold the weights of LIH, got HiDDeN"):
        load_lih(tmp_path / "run" / "hidden.safetensors")


def same_weights_as_file(network: torch.nn.Module, path: Path) -> bool:
    tensors = safetensors.torch.load_file(path)
    state = network.state_dict()
    return tensors.keys() == state.keys() and all(torch.equal(tensor, tensors[name]) for name, tensor in state.items())


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "hidden.safetensors"
    smaller = HiDDeN()
    smaller.decoder = torch.nn.Sequential(*list(smaller.decoder)[:-1])
    save_weights(path, smaller, None)
    with pytest.raises(CheckpointError, match="does not hold HiDDeN"):
        load_other(path, HiDDeN())
