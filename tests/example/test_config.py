"""Presets, scaled runs, and configs that are written to JSON and read again."""

import ast
import dataclasses
import inspect
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pirnet.config import (
    PRESETS,
    Config,
    LIHConfig,
    LSRConfig,
    TrainConfig,
    base,
    cleared,
    from_dict,
    paper,
    quick,
    scaled,
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = PRESETS[name]()
    assert config.preset == name
    assert from_dict(Config, json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_presets_are_what_they_say() -> None:
    """The presets have the networks, losses, degradations and averages that their docstrings and the paper state."""
    assert (paper().lih, paper().lsr) == (LIHConfig(), LSRConfig())
    assert (paper().lih.num_blocks, paper().lsr.num_scales) == (24, 3)
    assert (paper().loss.conceal, paper().loss.reveal, paper().loss.low_frequency) == (2, 1, 0.25)
    assert (paper().loss.secret, paper().loss.stego) == (3, 1)
    assert paper().degradation.noise_sigma == (0, 55)
    assert quick().degradation.noise_sigma == (25, 25)
    low, high = base().degradation.noise_sigma
    assert low < 25 < high
    assert (quick().train.ema, base().train.ema, paper().train.ema) == (0, 0.999, 0.999)
    for preset in (quick(), base(), paper()):
        assert not preset.in_the_clear
        assert preset.stego == "uint8"
        assert preset.z == "zero"
        assert set(preset.train.tasks) == {"denoise", "deblur", "sr"}


@given(
    steps=st.integers(1, 10_000),
    before=st.tuples(st.integers(1, 9_999), st.integers(0, 9_999), st.integers(0, 9_999)),
    warmup=st.integers(0, 500),
)
def test_scaled_steps_add_up(steps: int, before: tuple[int, int, int], warmup: int) -> None:
    config = replace(quick(), train=replace(quick().train, steps=before, warmup=warmup))
    after = scaled(config, steps)
    assert sum(after.train.steps) == steps
    for new, old in zip(after.train.steps, before, strict=True):
        assert new == pytest.approx(steps * old / sum(before), abs=1)
    assert after.train.warmup <= warmup
    assert replace(after, train=config.train) == config
    assert scaled(after, steps) == after


def test_a_scaled_run_keeps_every_stage() -> None:
    assert scaled(quick(), 3).train.steps == (1, 1, 1)
    assert scaled(quick(), sum(quick().train.steps)) == quick()


def test_in_the_clear_there_is_one_stage() -> None:
    config = cleared(quick())
    assert config.in_the_clear
    assert config.train.steps == (0, sum(quick().train.steps[1:]), 0)
    assert cleared(config) == config
    assert scaled(config, 10).train.steps == (0, 10, 0)


@pytest.mark.parametrize("steps", [0, -5])
def test_no_step_is_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"--steps needs at least 1, got {steps}"):
        scaled(quick(), steps)


def test_other_fields_are_named() -> None:
    values = dataclasses.asdict(quick())
    del values["train"]["crop"]
    values["train"]["cropp"] = 64
    with pytest.raises(ValueError, match="TrainConfig has missing or unknown fields for this version: crop, cropp"):
        from_dict(Config, values)
    with pytest.raises(ValueError, match=r"LIHConfig has missing .*: headroom, hidden_channels, num_blocks, predictor"):
        from_dict(LIHConfig, {})


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        quick().seed = 1  # type: ignore[misc]
    assert len({quick(), quick(), paper()}) == 2


def test_fields_explain_themselves() -> None:
    """Every field has a string below it, which is the help of its option."""
    for kind in (Config, TrainConfig, LIHConfig, LSRConfig):
        body = ast.parse(inspect.getsource(kind)).body[0]
        assert isinstance(body, ast.ClassDef)
        explained = [
            node.target.id
            for node, following in zip(body.body, [*body.body[1:], None], strict=True)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(following, ast.Expr)
        ]
        nested = {"lih", "lsr", "loss", "train", "degradation"}
        assert {field.name for field in dataclasses.fields(kind)} - set(explained) <= nested
