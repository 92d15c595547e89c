"""One check for the values of all settings: every field of every dataclass of options refuses what it cannot take."""

import dataclasses
import math
import typing
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pirnet.config import Config, base, from_dict, paper, quick
from pirnet.support.settings import Range, check
from pirnet.support.train_options import Options
from pirnet.tasks import Degradation

OPTIONS = Options(steps=1, minutes=1.0)


def numbers(settings: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path to every field with a number, or with several."""
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if isinstance(value, Degradation):
            continue  # which checks itself
        if dataclasses.is_dataclass(value):
            yield from numbers(value, (*path, field.name))
        elif any(word in str(hints[field.name]) for word in ("int", "float")):
            yield (*path, field.name)


def changed(settings: typing.Any, path: tuple[str, ...], value: object) -> typing.Any:
    name, *rest = path
    return replace(settings, **{name: changed(getattr(settings, name), tuple(rest), value) if rest else value})


@pytest.mark.parametrize("path", [*numbers(OPTIONS)], ids=".".join)
def test_no_number_may_be_nan_or_infinite_or_far_below_zero(path: tuple[str, ...]) -> None:
    check(OPTIONS)
    value: object = OPTIONS
    for name in path:
        value = getattr(value, name)
    for wrong in (math.nan, math.inf, -(10**30), True, "1"):
        with pytest.raises(ValueError, match=path[-1]):
            check(changed(OPTIONS, path, (wrong,) * len(value) if isinstance(value, tuple) else wrong))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Degradation)])
@pytest.mark.parametrize("wrong", [(math.nan, math.nan), (-1, -1), ("1", "1"), (), None])
def test_degradations_check_themselves(name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=f"Degradation.*{name}"):
        Degradation(**{name: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("lih", "num_blocks", 0, "lih.num_blocks needs at least 1, got 0"),
        ("lih", "predictor", "dense", "lih.predictor needs one of residual, conv, got 'dense'"),
        ("lsr", "encoder", (1, -1), "lsr.encoder needs at least 0, got 1, -1"),
        ("lsr", "width", 1.5, "lsr.width needs a whole number, got 1.5"),
        ("loss", "hiding", math.nan, "loss.hiding needs at least 0, got nan"),
        ("train", "steps", (1, 1), "train.steps needs 3 values, got 1, 1"),
        ("train", "clip", 0.0, "train.clip needs more than 0, got 0.0"),
        ("train", "ema", 1.5, "train.ema needs at least 0 and at most 1, got 1.5"),
        ("train", "save_every", 0, "train.save_every needs at least 1, got 0"),
        ("train", "tasks", "sr", "train.tasks needs a list, got 'sr'"),
        ("train", "tasks", (1,), "train.tasks needs a text, got 1"),
        ("train", "precision", "half", "train.precision needs one of auto, bfloat16, float32, got 'half'"),
    ],
)
def test_the_message_says_what_a_field_needs(part: str, name: str, value: object, message: str) -> None:
    config = changed(quick(), (part, name), value)
    with pytest.raises(ValueError, match="needs") as refused:
        check(config)
    assert str(refused.value) == message


def test_presets_are_fine() -> None:
    for preset in (quick(), base(), paper()):
        check(preset)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("train", "batch_size"), "8", "TrainConfig.batch_size needs a whole number, got '8'"),
        (("degradation", "noise_sigma"), [], "Degradation.noise_sigma needs 2 values, got none"),
        (("degradation",), 7, "Config.degradation needs a Degradation, got 7"),
    ],
)
def test_values_from_files_are_checked(path: tuple[str, ...], value: object, message: str) -> None:
    values = dataclasses.asdict(quick())
    part = values
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        from_dict(Config, values)


def test_ranges() -> None:
    assert [value in Range(0, 1) for value in (-0.1, 0, 1, 1.1, math.nan)] == [False, True, True, False, False]
    assert [value in Range(0, open_ends=True) for value in (0, 1e-9, math.inf)] == [False, True, False]
    assert str(Range(0, 1, open_ends=True)) == "more than 0 and less than 1"
