"""Checks of a picture file before it is written, so that no work is done in vain."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

STREAM = Path("-")  # standard input or output
EXISTS = "exists already; --force overwrites it"


class ImageError(ValueError):
    """A picture or a folder that cannot be read, written or used. The message is one line that names the file."""


def check_output(path: Path, *, force: bool, others: Iterable[Path | None] = ()) -> None:
    """Refuses a path that `write_png` could not write, before any work is done.

    Args:
        path: The file to write, or `-` for standard output.
        force: Whether to replace an existing file.
        others: The other files that a script reads or writes, which the file may not replace.

    Raises:
        ImageError: As `write_png`, or the file is one of the others.
    """
    if path == STREAM:
        if sys.stdout is None:
            raise ImageError(f"{path}: cannot write, standard output is closed")
        return
    if path.suffix.lower() != ".png":
        raise ImageError(
            f"{path}: the name must end in .png, got {path.suffix or 'no ending'!r}; "
            "lossy formats (JPEG, WebP) destroy what is hidden in a picture"
        )
    if not path.parent.is_dir():
        raise ImageError(f"{path}: cannot write, the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"{path}: cannot write, the folder {path.parent} is not writable")
    if path.is_dir():
        raise ImageError(f"{path}: cannot write, this is a folder")
    if path.exists() and not path.is_file():
        raise ImageError(f"{path}: cannot write, this is a device or a pipe")
    if path.is_symlink() and not path.exists():
        raise ImageError(f"{path}: cannot write, this is a link to a file that does not exist")
    if os.path.realpath(path) in [os.path.realpath(other) for other in others if other is not None]:
        raise ImageError(f"{path}: cannot write, this is also an input or the key; name another file with -o")
    if path.exists() and not force:
        raise ImageError(f"{path}: {EXISTS}")
