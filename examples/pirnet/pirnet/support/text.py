"""Names of files as text: they may hold bytes that are no UTF-8, line ends and control characters."""

import os
from pathlib import Path


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
