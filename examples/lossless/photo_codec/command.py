"""What the scripts share: options, one-line errors, and files that are written at once."""

import argparse
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import torch
from PIL import Image
from tqdm import tqdm

from photo_codec.container import SHIPPED, Slices


def read_options(description: str | None, *, source: str, output: str) -> argparse.Namespace:
    """Returns the options of compress.py or decompress.py, and sets the threads of torch.

    Args:
        description: The help of the script.
        source: The help of the file to read.
        output: The help of the file to write.

    Raises:
        OSError: If the output may not be written.
        ValueError: If the output is the file to read, or there are no threads.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("source", type=Path, metavar="FILE", help=source)
    parser.add_argument("-o", "--output", type=Path, required=True, help=output)
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="weights file, the same for both scripts")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    options = parser.parse_args()
    require_new(options.output, force=options.force)
    for other in (options.source, options.weights):
        if options.output.exists() and other.exists() and options.output.samefile(other):
            raise ValueError(f"--output needs to be another file than those to read, got {options.output}")
    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"--threads needs at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    return options


def require_new(path: Path, *, force: bool) -> None:
    """Raises if a file cannot be written, or exists and may not be overwritten."""
    if path.is_dir() or not path.parent.is_dir():
        raise NotADirectoryError(f"{path} needs to be a file in an existing folder")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a device or a pipe, which cannot be replaced")
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path} is a link to a file that does not exist")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists: choose another name, or add --force")


def write(path: Path, data: bytes, *, force: bool) -> None:
    """Writes a file at once: it is there complete, or not at all. A replaced file keeps its mode, and links stay."""
    require_new(path, force=force)
    target = path.resolve()
    temporary = target.with_name(f".{uuid4().hex}.tmp")
    try:
        if target.exists():
            temporary.touch(mode=0o600, exist_ok=False)
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.write_bytes(data)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a folder, and raises ValueError if another process is inside, which cannot be checked on Windows."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except BlockingIOError:
            raise ValueError(f"{folder} has a run that is not over: choose another folder with --out") from None
        yield


def progress(tiles: list[Slices]) -> Iterable[Slices]:
    """Shows a progress bar for tiles after a second, if standard error is a terminal."""
    hidden = sys.stderr is None or not sys.stderr.isatty()
    return tqdm(tiles, unit="tile", leave=False, delay=1, disable=hidden)


def run(main: Callable[[], None]) -> None:
    """Calls a script's `main`; errors about files, values and memory become one line and exit status 2."""
    try:
        main()
    except (OSError, ValueError, MemoryError, RuntimeError, Image.DecompressionBombError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
