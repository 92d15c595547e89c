"""Text for messages and files: names of files, which may hold any bytes, numbers of things, Markdown, JSON."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def from_json(text: str | bytes) -> Any:
    """What a text in JSON says.

    Raises:
        ValueError: If it is no JSON, or its brackets are nested too deep for Python.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


def file_name(path: str | Path) -> str:
    r"""A file's name, or a path, as text for reports: UTF-8 in every locale, on one line.

    Example:
        >>> print(file_name("日本.png"), file_name(os.fsdecode(b"caf\xe9.png")))
        日本.png caf\xe9.png
    """
    return printable(os.fsencode(path).decode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    r"""The text with everything that cannot be printed replaced by its code.

    Example:
        >>> print(printable("a\nb"))
        a\nb
    """
    return "".join(char if char.isprintable() else code(char) for char in text)


def code(char: str) -> str:
    """What stands for a character that cannot be shown."""
    if "\udc80" <= char <= "\udcff":  # how Python represents a byte that is no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def counted(number: float, noun: str, plural: str = "") -> str:
    """A number of things; the plural ends in "s" if it is not given.

    Example:
        >>> counted(1, "pair"), counted(0, "pair"), counted(0.5, "minute")
        ('1 pair', '0 pairs', '0.5 minutes')
    """
    return f"{number:.15g} {noun if number == 1 else plural or noun + 's'}"


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


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table without its empty columns; a bar inside a cell is escaped.

    Example:
        >>> print(markdown_table(("task", "SSIM", "PSNR"), [("blur", "", "30.1")]))
        | task | PSNR |
        | --- | --- |
        | blur | 30.1 |
    """
    columns = [column for column in zip(head, *lines, strict=True) if any(column[1:])]
    head, *lines = ([cell.replace("|", r"\|") for cell in line] for line in zip(*columns, strict=True))
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def filled_page(template: Path, **parts: str) -> str:
    """The page of a Markdown file whose gaps, such as {notes}, are filled; an empty part leaves no empty lines."""
    page = template.read_text(encoding="utf-8").format(**parts)
    return re.sub(r"\n{3,}", "\n\n", page).rstrip() + "\n"


def number(value: float | None, digits: int = 2) -> str:
    """A number with that many decimals; nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"
