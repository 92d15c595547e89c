"""Photos that cannot be used, all of them in one error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pirnet.images import ImageError, read_picture
from pirnet.support.progress import progress_bar
from pirnet.support.text import few


class RefusedPhotos(ImageError):
    """Several photos that cannot be used: how many, and the first three."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__(f"{len(messages)} photos cannot be used. {few(messages, '; ')}")
        self.messages = messages


class Refusals:
    """Collects the errors about photos, which are all read, and raises them together.

    Example:
        >>> refusals = Refusals()
        >>> for name in ("a.png", "b.png"):
        ...     with refusals.collected():
        ...         raise ImageError(f"{name}: no such file")
        >>> refusals.raise_all()
        Traceback (most recent call last):
        pirnet.support.refusals.RefusedPhotos: 2 photos cannot be used. a.png: no such file; b.png: no such file
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps an error that is raised inside, or those that were collected there."""
        try:
            yield
        except RefusedPhotos as error:
            self.messages += error.messages
        except ImageError as error:
            self.messages.append(str(error))

    def raise_all(self) -> None:
        """Raises ImageError if there is an error; a single one keeps its message."""
        if len(self.messages) == 1:
            raise ImageError(self.messages[0])
        if self.messages:
            raise RefusedPhotos(self.messages)


def sizes_of(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Height and width of each photo; shows progress.

    Raises:
        ImageError: If photos cannot be read.
    """
    sizes, refusals = {}, Refusals()
    for path in progress_bar(paths, desc="checking", unit="photo"):
        with refusals.collected():
            height, width = read_picture(path).pixels.shape[1:]
            sizes[path] = (height, width)
    refusals.raise_all()
    return sizes
