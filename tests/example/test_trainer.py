"""Training: what each stage changes, reproducibility, resuming after any step, and rejected steps."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pirnet import data, losses
from pirnet.config import Config, LIHConfig, TrainConfig, cleared
from pirnet.support.photos import Photos
from pirnet.support.schedule import learning_rate
from pirnet.support.spike_guard import PATIENCE
from pirnet.trainer import Trainer
from pirnet.weights import load_state, save_state
from torch import Tensor

from tests.example.helpers import copied, same_weights, smooth_photos, tiny

CPU = torch.device("cpu")


def trainer(config: Config | None = None) -> Trainer:
    return Trainer(config or tiny(), smooth_photos(), device=CPU)


Finished = tuple[Trainer, list[dict[str, object]]]  # a run and its rows


def finished(config: Config | None = None) -> Finished:
    run = trainer(config)
    return run, [run.take_step() for _ in range(run.total)]


@pytest.fixture(scope="module")
def whole() -> Finished:
    """A finished run and its rows, for tests that compare others with it."""
    return finished()


@pytest.fixture(scope="module")
def in_float32() -> list[dict[str, object]]:
    """The rows of a run in full precision that stores what its backward pass needs."""
    return finished(tiny(precision="float32", memory="store"))[1]


# Stages


def test_each_stage_trains_its_own_network() -> None:
    run = trainer()
    for stage, (lih_learns, lsr_learns) in enumerate(((True, False), (False, True), (True, True)), 1):
        lih, lsr = copied(run.model.lih), copied(run.model.lsr)
        for _ in range(run.config.train.steps[stage - 1]):
            assert run.stage == stage
            assert run.take_step()["stage"] == stage
        for before, network, learns in ((lih, run.model.lih, lih_learns), (lsr, run.model.lsr, lsr_learns)):
            moved = [not torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()]
            assert any(moved) if learns else not any(moved)
    assert run.step == run.total == 8


def test_all_that_a_stage_trains_has_a_gradient() -> None:
    """In stage 3, after a few steps, every weight but one has a gradient that is not zero.

    The exception is the bias of the cloud's last update: it is added to the coarsest approximation, which is not
    changed, and subtracted again by the inverse.
    """
    run = trainer(tiny((2, 2, 2)))
    for _ in range(4):
        run.take_step()
    cover, truth = run.crops.batch(0, 4)
    run.model.requires_grad_(True)
    loss, _ = run.train_step(cover, truth, truth, run.tasks, 3)
    loss.backward()
    unmoved = {name for name, p in run.model.named_parameters() if p.grad is None or not p.grad.any()}
    assert unmoved <= {"lsr.pyramid.levels.0.1.update.network.last.bias"}


def test_stages_may_be_left_out() -> None:
    """Stages without steps are left out, and such a run can be resumed."""
    run, rows = finished(tiny((0, 2, 0)))
    assert [row["stage"] for row in rows] == [2, 2]
    assert run.step == run.total == 2
    again = trainer(tiny((0, 2, 0)))
    again.load_state_dict(run.state_dict())
    assert same_weights(again.model, run.model)


def test_a_line_of_the_log_says_what_happened() -> None:
    _, rows = finished(tiny((1, 1, 1)))
    always = {"step", "stage", "loss", "rate", "gradient_norm", "skipped", "stego_psnr"}
    assert rows[0].keys() == always | {"revealed_psnr"}
    assert rows[1].keys() == always | {"restored_stego_psnr", "restored_psnr"}
    assert rows[2].keys() == rows[0].keys() | rows[1].keys()
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["skipped"] for row in rows] == [0, 0, 0]


def test_stage_3_adds_a_share_of_the_hiding_loss() -> None:
    run = trainer()
    for _ in range(4):
        run.take_step()
    cover, truth = run.crops.batch(0, 4)
    secret = truth + 0.1
    parts = [run.train_step(cover, truth, secret, run.tasks, stage)[0].item() for stage in (1, 2, 3)]
    assert parts[2] == pytest.approx(parts[1] + run.config.loss.hiding * parts[0], rel=1e-6)


@pytest.mark.parametrize("tasks", [("denoise",), ("sr", "deblur")])
def test_fewer_tasks_train(tasks: tuple[str, ...]) -> None:
    run, rows = finished(tiny((1, 1, 1), tasks=tasks))
    assert run.step == 3
    assert all(math.isfinite(float(str(row["loss"]))) for row in rows)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_batch_that_would_drop_a_task_is_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=rf"holds all 3 tasks, got {batch_size} pairs?: --train.batch-size"):
        trainer(tiny(batch_size=batch_size))
    assert trainer(tiny(tasks=("sr",), batch_size=1)).tasks == ["sr"]


def test_tasks_are_handed_out_in_turn() -> None:
    run = trainer(tiny(tasks=("sr", "denoise"), batch_size=5))
    assert sorted(run.tasks) == ["denoise", "denoise", "sr", "sr", "sr"]


@pytest.mark.parametrize("tasks", [("denoise", "dehaze"), ()])
def test_unknown_tasks_are_refused_before_the_first_step(tasks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"denoise, deblur, sr, got"):
        trainer(tiny(tasks=tasks))


def test_a_crop_that_does_not_fit_the_scales_is_refused_before_the_first_step() -> None:
    config = tiny(crop=34)
    with pytest.raises(ValueError, match=r"crop .* 4, got 34"):
        trainer(replace(config, lsr=replace(config.lsr, num_scales=2)))


# The same run again


def test_nothing_but_the_seed_matters(whole: Finished) -> None:
    """The same seed is the same run, also if the state of the global random generator is another one."""
    run, rows = whole
    torch.manual_seed(12345)
    torch.rand(7)
    other, again = finished()
    assert again == rows
    assert same_weights(other.model, run.model)


def test_another_seed_is_another_run(whole: Finished) -> None:
    losses = [[row["loss"] for row in rows] for rows in (whole[1], finished(replace(tiny(), seed=1))[1])]
    assert all(a != b for a, b in zip(*losses, strict=True))


def test_every_step_draws_its_own_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def recorded(x: Tensor, *_: object, generator: torch.Generator) -> Tensor:
        seeds.append(generator.initial_seed())
        return x

    monkeypatch.setattr(data, "degrade", recorded)
    finished(tiny((2, 1, 1)))
    finished(replace(tiny((2, 1, 1)), seed=1))
    assert len(seeds) == 8 * 3
    assert len(set(seeds)) == 8


@pytest.mark.parametrize(
    "config", [tiny((2, 2, 1), ema=0.9, weight_decay=0.1), replace(tiny((2, 2, 1)), z="gaussian", stego="float")]
)
def test_going_on_after_any_step_is_as_not_having_stopped(config: Config, tmp_path: Path) -> None:
    whole = trainer(config)
    rows = []
    for step in range(whole.total + 1):  # before the first step, at the ends of the stages, after the last step
        save_state(tmp_path / f"{step}.pt", whole.state_dict())
        if step < whole.total:
            rows.append(whole.take_step())
    for step in range(whole.total + 1):
        run = trainer(config)
        run.load_state_dict(load_state(tmp_path / f"{step}.pt"))
        assert run.step == step
        assert [run.take_step() for _ in range(step, run.total)] == rows[step:]
        assert same_weights(run.model, whole.model)
        assert same_weights(run.average, whole.average)


def test_saving_changes_nothing(whole: Finished) -> None:
    run = trainer()
    for _ in range(run.total):
        run.state_dict()
        run.take_step()
    assert same_weights(run.model, whole[0].model)


# The average of the weights


def test_the_average_follows_the_weights_more_slowly_with_every_step() -> None:
    run = trainer(tiny((3, 0, 0), ema=0.15))
    name = "blocks.0.update.network.last.weight"
    expected = run.model.lih.state_dict()[name].clone()
    for keep in (0.1, 0.15, 0.15):  # (1 + n) / (10 + n) = 0.1, 0.18, 0.25
        run.take_step()
        expected = keep * expected + (1 - keep) * run.model.lih.state_dict()[name]
        assert torch.allclose(run.average.lih.state_dict()[name], expected, atol=1e-7)
        assert not torch.equal(run.average.lih.state_dict()[name], run.model.lih.state_dict()[name])


def test_a_stage_starts_from_the_average() -> None:
    run = trainer(tiny((2, 2, 0), ema=0.5))
    for _ in range(3):
        run.take_step()
    assert run.stage == 2
    assert same_weights(run.model.lih, run.average.lih)  # frozen since then
    assert not same_weights(run.model.lsr, run.average.lsr)


def test_without_an_average_it_is_the_network_itself() -> None:
    run = trainer(tiny(ema=0.0))
    assert run.average is run.model
    run.take_step()
    assert all(parameter.requires_grad for parameter in run.model.lih.parameters())


def test_a_step_back_takes_the_average_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten bad steps the average returns to the last good weights, as the network does."""
    run = trainer(tiny((40, 0, 0), save_every=3, ema=0.9))
    for _ in range(5):
        run.take_step()
    with monkeypatch.context() as patch:
        patch.setattr(losses, "hiding_loss", damaged(losses.hiding_loss))
        for _ in range(PATIENCE):
            run.take_step()
    assert run.rate_factor == 0.5
    assert same_weights(run.average, run.model)


# How a step is computed


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_is_the_same_batch(accumulate: int, in_float32: list[dict[str, object]]) -> None:
    parts = Trainer(tiny(precision="float32"), smooth_photos(), device=CPU, accumulate=accumulate)
    for expected in in_float32:
        assert parts.take_step() == pytest.approx(expected, rel=1e-3)


def test_workers_change_nothing(whole: Finished) -> None:
    _, expected = whole
    run = Trainer(tiny(), smooth_photos(), device=CPU, workers=1)
    run.load_state_dict(trainer().state_dict())
    assert [run.take_step() for _ in range(run.total)] == expected


@pytest.mark.slow
def test_workers_change_nothing_without_fork(whole: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows, where workers import torch again."""
    _, expected = whole
    monkeypatch.setattr(data, "get_all_start_methods", lambda: ["spawn"])
    run = Trainer(tiny(), smooth_photos(), device=CPU, workers=1)
    assert [run.take_step() for _ in range(run.total)] == expected


@pytest.mark.parametrize("accumulate", [3, 8, 0])
def test_a_batch_that_cannot_be_shared_out_is_refused(accumulate: int) -> None:
    with pytest.raises(ValueError, match=f"1 process can share in {accumulate} parts each, got 4 pairs"):
        Trainer(tiny(), smooth_photos(), device=CPU, accumulate=accumulate)


def test_weights_decay() -> None:
    plain, decaying = trainer(tiny((1, 0, 0))), trainer(tiny((1, 0, 0), weight_decay=0.5))
    first = copied(plain.model.lih)
    rate = float(str(plain.take_step()["rate"]))
    decaying.take_step()
    for name, tensor in plain.model.lih.state_dict().items():
        expected = tensor - 0.5 * rate * first[name]
        assert torch.allclose(decaying.model.lih.state_dict()[name], expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own, while it compiles
def test_a_compiled_step_is_the_same_step() -> None:
    config = tiny((0, 0, 2), precision="float32")
    plain, compiled = trainer(config), Trainer(config, smooth_photos(), device=CPU, compiled=True)
    for _ in range(plain.total):
        assert compiled.take_step() == pytest.approx(plain.take_step(), rel=1e-3)


# In the clear


def test_in_the_clear_the_cloud_learns_from_the_degraded_photo_itself() -> None:
    run = trainer(cleared(tiny((3, 3, 2))))
    assert run.config.train.steps == (0, 5, 0)
    lih = copied(run.model.lih)
    cover, truth = run.crops.batch(0, 4)
    loss, images = run.train_step(cover, truth, truth + 0.1, run.tasks, 2)
    assert loss.item() == pytest.approx(0.01, rel=1e-4)  # at the start it is the identity
    assert images.keys() == {"restored"}
    rows = [run.take_step() for _ in range(5)]
    assert rows[0].keys() == {"step", "stage", "loss", "rate", "gradient_norm", "skipped", "restored_psnr"}
    assert all(torch.equal(lih[name], tensor) for name, tensor in run.model.lih.state_dict().items())


# Other runs


def test_another_config_is_refused_by_its_fields() -> None:
    state = trainer().state_dict()
    config = tiny()
    other = replace(config, seed=5, lih=replace(config.lih, num_blocks=3), train=replace(config.train, crop=24))
    with pytest.raises(ValueError, match=r"the checkpoint is of another run: ") as caught:
        trainer(other).load_state_dict(state)
    assert str(caught.value).split(": ", 1)[1].split("; ") == [
        "config.lih.num_blocks is 2 there and 3 here",
        "config.seed is 0 there and 5 here",
        "config.train.crop is 32 there and 24 here",
    ]


def test_other_photos_are_refused() -> None:
    state = trainer().state_dict()
    with pytest.raises(ValueError, match="of another run: photos are missing here: photo3"):
        Trainer(tiny(), smooth_photos(3), device=CPU).load_state_dict(state)


def test_photos_of_the_same_names_are_compared_by_size_and_content() -> None:
    state, photos = trainer().state_dict(), smooth_photos()
    retouched = photos.images[1].clone()
    retouched[0, -1, -1] ^= 1
    for image in (retouched, photos.images[1][:, 1:]):
        others = Photos(photos.names, (photos.images[0], image, *photos.images[2:]))
        with pytest.raises(ValueError, match="of another run: photos have changed: photo1"):
            Trainer(tiny(), others, device=CPU).load_state_dict(state)
    reversed_order = Photos(photos.names[::-1], photos.images[::-1])
    with pytest.raises(ValueError, match="of another run: photos are in another order"):
        Trainer(tiny(), reversed_order, device=CPU).load_state_dict(state)
    state["photos"] = list(photos.names)
    with pytest.raises(ValueError, match="holds no state of this training"):
        trainer().load_state_dict(state)


def test_a_message_on_hundreds_of_photos_is_short() -> None:
    run, photos = trainer(), smooth_photos(2)
    others = Photos(tuple(f"{number:03}" for number in range(300)), 150 * photos.images)
    expected = "photos are missing here: photo0, photo1, photo2, and 1 more; photos are new here: 000, 001, 002, and 29"
    with pytest.raises(ValueError, match=expected):
        Trainer(tiny(), others, device=CPU).load_state_dict(run.state_dict())


def test_a_refused_state_leaves_the_trainer_as_it_was() -> None:
    run = trainer()
    run.take_step()
    before, step = copied(run.model), run.step
    with pytest.raises(ValueError, match="another run"):
        run.load_state_dict(trainer(replace(tiny(), seed=3)).state_dict())
    assert run.step == step
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_photos_smaller_than_the_crop_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 32 x 32 pixels .* got 24 x 24 for photo0"):
        Trainer(tiny(), smooth_photos(side=24), device=CPU)


# Bad steps


def damaged(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss, multiplied by NaN."""
    return lambda *arguments: loss(*arguments) * math.nan


def test_a_bad_step_changes_nothing_but_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer()
    run.take_step()
    before = copied(run.model)
    with monkeypatch.context() as patch:
        patch.setattr(losses, "hiding_loss", damaged(losses.hiding_loss))
        row = run.take_step()
    assert math.isnan(float(str(row["loss"])))
    assert (row["skipped"], row["step"]) == (1, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    assert run.take_step()["skipped"] == 1
    assert not all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_ten_bad_steps_go_back_to_the_last_good_weights_at_half_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(tiny((40, 0, 0), final_rate=1.0, warmup=0, save_every=3))
    for _ in range(3):
        run.take_step()
    good = copied(run.model)
    rates = [run.take_step()["rate"] for _ in range(2)]
    assert not all(torch.equal(good[name], tensor) for name, tensor in run.model.state_dict().items())
    with monkeypatch.context() as patch:
        patch.setattr(losses, "hiding_loss", damaged(losses.hiding_loss))
        for number in range(PATIENCE):
            assert run.rate_factor == 1
            assert run.take_step()["skipped"] == number + 1
    assert run.rate_factor == 0.5
    assert run.step == 5 + PATIENCE
    assert all(torch.equal(good[name], tensor) for name, tensor in run.model.state_dict().items())
    row = run.take_step()
    assert [row["rate"]] * 2 == [0.5 * float(str(rate)) for rate in rates]
    assert row["skipped"] == PATIENCE
    assert run.guard.skipped_in_a_row == 0


def test_going_on_after_a_step_back_is_as_not_having_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run with a return to good weights ends with the same weights, wherever it is stopped and resumed."""
    config, stops = tiny((20, 0, 0), save_every=3), (4, 8, 6 + PATIENCE)
    whole, hiding_loss = trainer(config), losses.hiding_loss

    def go_on(run: Trainer) -> None:
        for step in range(run.step, 18):
            if run is whole and step in stops:
                save_state(tmp_path / f"{step}.pt", run.state_dict())
            bad = 5 <= step < 5 + PATIENCE
            monkeypatch.setattr(losses, "hiding_loss", damaged(hiding_loss) if bad else hiding_loss)
            run.take_step()
        assert run.rate_factor == 0.5

    go_on(whole)
    for stop in stops:
        run = trainer(config)
        run.load_state_dict(load_state(tmp_path / f"{stop}.pt"))
        go_on(run)
        assert same_weights(run.model, whole.model)


def test_a_step_back_never_undoes_an_earlier_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(tiny((3, 20, 0)))
    for _ in range(4):
        run.take_step()
    hiding = copied(run.model.lih)
    with monkeypatch.context() as patch:
        patch.setattr(losses, "restoration_loss", damaged(losses.restoration_loss))
        for _ in range(PATIENCE):
            run.take_step()
    assert run.rate_factor == 0.5
    assert all(torch.equal(hiding[name], tensor) for name, tensor in run.model.lih.state_dict().items())


# Learning rate, precision, and whether it learns


def test_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    train = TrainConfig(warmup=10, final_rate=0.1)
    assert learning_rate(0, 100, 2.0, train) == pytest.approx(0.2)
    assert learning_rate(4, 100, 2.0, train) == pytest.approx(1.0 * (0.1 + 0.9 * (1 + math.cos(0.04 * math.pi)) / 2))
    assert learning_rate(50, 100, 2.0, train) == pytest.approx(2 * (0.1 + 0.9 / 2))
    assert learning_rate(100, 100, 2.0, train) == pytest.approx(0.2)
    rates = [learning_rate(step, 100, 2.0, train) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(0, 100, 2.0, replace(train, warmup=0)) == 2
    assert learning_rate(0, 0, 2.0, train) > 0


def test_every_stage_has_its_own_step_size() -> None:
    config = tiny((2, 1, 1), learning_rates=(0.004, 0.002, 0.001), warmup=1, final_rate=1.0)
    assert [row["rate"] for row in finished(config)[1]] == [0.004, 0.004, 0.002, 0.001]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_stay_in_float32(precision: str) -> None:
    run = trainer(tiny(precision=precision))
    for _ in range(5):
        run.take_step()
    cover, truth = run.crops.batch(0, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss, images = run.train_step(cover, truth, truth, run.tasks, 3)
    assert loss.dtype == torch.float32
    assert images.keys() == {"stego", "revealed", "restored_stego", "restored"}
    for image, _ in images.values():
        assert image.dtype == torch.float32
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(tiny((3, 0, 0), clip=1e-3))
    norms: list[Tensor] = []

    def measure() -> None:
        gradients = [p.grad for group in run.optimizer.param_groups for p in group["params"]]
        norms.append(torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm())

    run.take_step()  # each stage starts with a new optimiser
    monkeypatch.setattr(run.optimizer, "step", measure)
    row = run.take_step()
    assert float(norms[0]) == pytest.approx(1e-3, rel=1e-3)
    assert float(str(row["gradient_norm"])) > 1e-2  # the log has the norm before clipping


def test_hiding_is_learnt() -> None:
    """Thirty steps on photos of the size of the crop reduce the loss to less than a third."""
    config = tiny((30, 0, 0), learning_rates=(5e-3, 0.0, 0.0), warmup=5, batch_size=4)
    config = replace(config, lih=LIHConfig(num_blocks=3, predictor="conv", hidden_channels=24))
    run = Trainer(config, smooth_photos(2, 32), device=CPU)
    losses = [float(str(run.take_step()["loss"])) for _ in range(30)]
    assert run.guard.skipped == 0
    assert sum(losses[-5:]) < sum(losses[:5]) / 3


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_every_memory_trains_alike(memory: str, in_float32: list[dict[str, object]]) -> None:
    run = trainer(tiny(precision="float32", memory=memory))
    for expected in in_float32:
        assert run.take_step()["loss"] == pytest.approx(expected["loss"], rel=1e-4)
