"""Files that are written completely or not at all: text, JSON and CSV."""

import csv
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import torch

import liftlayers


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary name in the same folder; the file is renamed to `path` on success and removed on failure.

    Args:
        path: The file to write or replace.
    """
    temporary = path.with_name(f".{uuid4().hex}.tmp")  # the same folder, since a rename is atomic on one disk only
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 (documented to be atomic)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8 in every locale, with its line ends as they are."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_json(path: Path, content: object) -> None:
    """Writes JSON, numbers as in `to_json`."""
    write_text(path, to_json(content, indent=2) + "\n")


def to_json(content: object, indent: int | None = None) -> str:
    """JSON with null for infinity and NaN, which JSON does not have (the PSNR of equal images is infinite)."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows of the same keys as CSV, the keys as header."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return {"liftlayers": liftlayers.__version__, "torch": str(torch.__version__), "python": platform.python_version()}


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
