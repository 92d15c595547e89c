"""The values of settings: one check for all fields of a dataclass, from a command line or from a file.

A field states its range in its type, such as `num_blocks: Count`.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class Range:
    """The finite numbers from `least` to `most`.

    Attributes:
        least: The lower end.
        most: The upper end.
        open_ends: Whether the two ends are left out.
    """

    least: float
    most: float = math.inf
    open_ends: bool = False

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        return self.least < value < self.most if self.open_ends else self.least <= value <= self.most

    def __str__(self) -> str:
        least = f"{'more than' if self.open_ends else 'at least'} {self.least}"
        most = f"{'less than' if self.open_ends else 'at most'} {self.most}"
        return least if self.most == math.inf else f"{least} and {most}"


Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
Port = Annotated[int, Range(0, 65535)]
Positive = Annotated[float, Range(0, open_ends=True)]
PositiveOrZero = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(-(2**63), 2**64 - 1)]  # as torch takes it

MAX_LENGTH = 200  # of a sentence about a difference, in characters
KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def check(settings: object, *, name: Callable[[str], str] = str) -> None:
    """Refuses a dataclass with a value outside the type or the range of its field; fields may be dataclasses.

    Args:
        settings: The dataclass.
        name: Turns the path to a field, such as `train.clip`, into its name for the message.

    Raises:
        ValueError: If a value is wrong; the message says what the field needs.

    Example:
        >>> @dataclass
        ... class Example:
        ...     steps: tuple[Count, ...]
        >>> check(Example((3, 0)))
        Traceback (most recent call last):
        ValueError: steps needs at least 1, got 3, 0
    """
    for path, hint, value in _leaves(settings, ""):
        if needs := _needs(hint, value):
            raise ValueError(f"{name(path)} needs {needs}, got {shown(value)}")


def shown(value: object) -> str:
    """A value for a message; a list or tuple without its brackets.

    Example:
        >>> shown((1.5, 2)), shown(()), shown("a")
        ('1.5, 2', 'none', "'a'")
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return repr(value) if isinstance(value, str) else str(value)


def differences(now: object, then: object, name: str = "") -> list[str]:
    """The leaves in which two nested dicts of settings differ, one sentence each; lists and tuples count as equal.

    Example:
        >>> differences({"a": {"b": 1}, "c": (2,)}, {"a": {"b": 3}, "c": [2]})
        ['a.b is 3 there and 1 here']
    """
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        keys = sorted(now.keys() | then.keys())
        return [line for key in keys for line in differences(now.get(key), then.get(key), f"{name}.{key}".lstrip("."))]
    now, then = (list(value) if isinstance(value, tuple) else value for value in (now, then))
    if now == then:
        return []
    there, here = (shown(value) if isinstance(value, list) else value for value in (then, now))
    values = f"{name} is {there} there and {here} here"
    return [values if len(values) <= MAX_LENGTH else f"{name} differs"]


def _leaves(settings: object, prefix: str) -> Iterator[tuple[str, object, object]]:
    """Path, type and value of every field that is no dataclass."""
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]  # every caller has a dataclass
        hint, value = hints[field.name], getattr(settings, field.name)
        if not dataclasses.is_dataclass(value):
            yield f"{prefix}{field.name}", hint, value
            continue
        notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
        merged = any(getattr(note, "name", None) == "" for note in notes)  # by tyro: its options have no prefix
        yield from _leaves(value, prefix if merged else f"{prefix}{field.name}.")


def _needs(hint: object, value: object) -> str:
    """What a type asks for, if the value does not fulfil it, else nothing."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        ranges = (part for part in parts[1:] if isinstance(part, Range))
        return _needs(parts[0], value) or next((str(each) for each in ranges if value not in each), "")  # type: ignore[operator]
    if origin is Literal:
        return "" if value in parts else f"one of {', '.join(map(str, parts))}"
    if origin in (typing.Union, types.UnionType):
        needs = [_needs(part, value) for part in parts]
        return "" if "" in needs else needs[0]
    if origin is tuple:
        return _tuple_needs(parts, value)
    if hint in KINDS:
        fits = type(value) is hint or (hint is float and type(value) is int)  # a bool is no number here
        return "" if fits else KINDS[hint]
    return "" if not isinstance(hint, type) or isinstance(value, hint) else f"a {hint.__name__}"


def _tuple_needs(parts: tuple, value: object) -> str:
    if not isinstance(value, tuple):
        return "a list"
    if parts[-1] is ...:
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        return f"{len(parts)} values"
    return next(filter(None, map(_needs, parts, value)), "")
