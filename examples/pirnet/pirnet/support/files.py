"""Files that are written completely or not at all: text, JSON and CSV."""

import csv
import errno
import json
import math
import os
import platform
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import torch

import liftlayers


@contextmanager
def atomic_path(path: Path, *, replace: bool = True, private: bool = False) -> Iterator[Path]:
    """Yields an empty temporary file in the same folder; it becomes `path` on success and is removed on failure.

    A file that is replaced keeps its mode. A symbolic link stays, and the file that it names is written.

    Args:
        path: The file to write.
        replace: Whether to replace an existing file, also one that appears before the end.
        private: Whether a new file can be read by its owner alone.

    Raises:
        OSError: If the file cannot be written, exists although `replace` is false, or is a link to no file.
    """
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(errno.ENOENT, "this is a link to a file that does not exist", str(path))
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{uuid4().hex}.tmp")  # the same folder, since a rename is atomic on one disk only
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o600 if private or target.exists() else 0o666))
        yield temporary
        if replace and target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        (os.replace if replace else _rename_to_new)(temporary, target)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary, str(temporary)):
            error.filename = str(path)  # the name that the user knows
            del error.filename2
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Adds the file's name to an error of writing an open file, such as a full disk: the system leaves it out."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _rename_to_new(source: Path, target: Path) -> None:
    """Renames a file, but never over another one, which `os.rename` would do on Linux."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.replace(source, target)  # noqa: PTH105 (documented to be atomic)


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
