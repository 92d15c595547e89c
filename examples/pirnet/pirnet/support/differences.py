"""The settings in which two runs differ, for error messages."""

from collections.abc import Mapping

MAX_LENGTH = 200  # of a value in a message, in characters


def differences(now: object, then: object, name: str = "") -> list[str]:
    """The leaves in which two nested dicts differ, one sentence each; lists and tuples count as equal.

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
    values = f"{name} is {then} there and {now} here"
    return [values if len(values) <= MAX_LENGTH else f"{name} differs"]
