"""Names in messages: the first of many, and how the photos of two runs differ."""

from collections.abc import Sequence


def changes(now: dict[str, str], then: dict[str, str]) -> list[str]:
    """How photos differ from those of an earlier run, both as `fingerprints`; one short sentence each.

    Example:
        >>> changes({"a": "8 x 8, 01", "b": "8 x 8, 02"}, {"a": "8 x 8, 03", "c": "8 x 8, 04"})
        ['photos are missing here: c', 'photos are new here: b', 'photos have changed: a']
    """
    found = {
        "are missing here": [name for name in then if name not in now],
        "are new here": [name for name in now if name not in then],
        "have changed": [name for name in now if name in then and now[name] != then[name]],
    }
    lines = [f"photos {how}: {few(names)}" for how, names in found.items() if names]
    return lines or ["photos are in another order"] * (list(now) != list(then))


def few(names: Sequence[str], separator: str = ", ") -> str:
    """Names for a message: the first three, and how many more there are.

    Example:
        >>> few("abcde")
        'a, b, c, and 2 more'
    """
    return separator.join([*names[:3], *([f"and {len(names) - 3} more"] if len(names) > 3 else [])])
