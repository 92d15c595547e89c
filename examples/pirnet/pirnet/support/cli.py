"""What the scripts share: the command line, one-line errors, devices, and pictures of any size.

Torch is imported only by the functions that need it: it takes seconds, and `--help` and wrong options do without.
"""

import contextlib
import functools
import io
import itertools
import re
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import tyro

from pirnet.support import signals
from pirnet.support.allocator import keep_memory
from pirnet.support.settings import check
from pirnet.support.text import printable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

REFUSED = 2  # the exit status after an error that a user can fix; tyro's too

# What torch says in a RuntimeError if memory, shared memory or the disk is full, or the system ended a worker.
SIGNS_OF_LACK = ("out of memory", "allocate memory", "enough memory", "bad_alloc", "No space left")
SIGNS_OF_LACK += ("shared memory", "by signal: Killed")

MAX_PIXELS = 2**21  # larger photos are processed in tiles
TILE, MAX_OVERLAP = 1024, 256  # a tile with its overlap is about as large as MAX_PIXELS


def run(main: Callable[[], object]) -> None:
    """Calls the `main` of a script; errors that a user can fix become one line on standard error and exit status 2.

    Ctrl-C becomes one line, too, after temporary files are removed.
    """
    keep_memory()
    signals.replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else it is closed
            stream.reconfigure(errors="backslashreplace")  # the locale may lack a letter
    try:
        with signals.ending():
            _refuse_empty_words()
            main()
            if sys.stdout is not None:
                sys.stdout.flush()  # while its errors can still be reported
    except (OSError, ValueError) as error:  # all our errors about files, weights and values are one of these
        _fail(_cause(error))
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS_OF_LACK)):
            raise
        _fail(f"out of memory or disk space: {_cause(error)}")
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGINT:
            with contextlib.suppress(OSError):
                print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        raise
    finally:
        signals.end_children()
        signals.settle(sys.stdout)


def read_early(script: str, read: Callable[[], T]) -> Callable[[], T]:
    """A function that reads the command line, once. It is called at once in the module that is run as a script.

    So `--help` and wrong options end a script before the imports below that line, which take seconds.

    Args:
        script: `__name__` of the calling module.
        read: Reads the command line.
    """
    read_options = functools.cache(read)
    if script == "__main__":
        run(read_options)
    return read_options


@contextlib.contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Ends a script with one line if a package that it imports here is missing, and names the extra that has it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        script = Path(sys.argv[0]).name
        raise SystemExit(f'{script}: error: {missing.name} is missing: pip install -e ".[{name}]"') from None


def _cause(error: Exception) -> str:
    """The message of an error, without the traceback that PyTorch puts before that of a worker process.

    An error without a message is its type and where it was raised.
    """
    message = re.sub(r"^Caught .*\n {2}File [^\n]*\n( {4}[^\n]*\n)*", "", str(error), flags=re.DOTALL)
    if message.strip():
        return message
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


def _fail(message: str) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"{Path(sys.argv[0]).name}: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    signals.settle(sys.stderr)
    sys.exit(REFUSED)


def _refuse_empty_words() -> None:
    """Refuses `--out=` and `--out ""`, which would mean the current folder or the default."""
    for before, word in itertools.pairwise(sys.argv):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise ValueError(f"{word.rstrip('=') or before} needs a value, got an empty one")


def warn(*lines: str) -> None:
    """Prints lines on standard error, since standard output may be a picture."""
    for line in lines:
        print(line, file=sys.stderr)


def parse(kind: type[T], description: str | None, *, default: T = tyro.MISSING_NONPROP) -> T:
    """Reads the command line into a dataclass, whose fields and their docstrings are the options and their help.

    Raises:
        ValueError: If an option is unknown or missing, or a value is wrong.
    """
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
    shown = description and _wrapped(description)
    words = [_file_named_dash(word) for word in sys.argv[1:]]
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            options = tyro.cli(kind, description=shown, args=words, default=default, config=config)
    except SystemExit as stop:
        if stop.code != REFUSED:  # the help has been printed, or a signal ends the script
            raise
        raise ValueError(_one_line(errors.getvalue())) from None
    check(options, name=lambda path: f"--{path.replace('_', '-')}")
    return options


def _file_named_dash(word: str) -> str:
    """Replaces `./-` by its full path, since `Path` makes `-` of it, which means standard input; keeps other words."""
    return str(Path.cwd() / "-") if word != "-" and Path(word) == Path("-") else word


def _one_line(box: str) -> str:
    """The message inside a box that tyro prints, without the help of the options that it names."""
    found = []
    for section in re.split(r"│ ─+ │\n", box):
        lines = [line.strip("│").rstrip() for line in section.splitlines() if not line.startswith(("╭", "╰"))]
        if not section.startswith(("│ Argument helptext", "│ For full helptext")):
            message = itertools.takewhile(bool, lines)
            found += [line.strip() for line in message if not line.startswith(" " * 8)]
    return re.sub(r"\('(.*)'\)", lambda names: names[1].replace("', '", ", "), " ".join(found))


def _wrapped(text: str) -> str:
    """Wraps paragraphs to the terminal and keeps examples; tyro keeps lines that do not begin with a letter."""
    wrapper = textwrap.TextWrapper(shutil.get_terminal_size().columns, initial_indent=" ", subsequent_indent=" ")
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(each if each.startswith(" ") else wrapper.fill(" ".join(each.split())) for each in paragraphs)


def peek(option: str, choices: Sequence[str] = ()) -> str | None:
    """The value of an option that sets the defaults of the others, read before them; None if it is not given.

    Raises:
        ValueError: If the value is not one of the choices.
    """
    words = [part for word in sys.argv[1:] for part in word.split("=", 1)]
    values = [following for word, following in itertools.pairwise([*words, ""]) if word == option]
    value = values[-1] if values else None
    if value is not None and choices and value not in choices:
        raise ValueError(f"{option} needs one of {', '.join(choices)}, got {value!r}")
    return value


def device(name: str) -> "torch.device":
    """The device of that name; `auto` is CUDA if there is one, else the CPU.

    Raises:
        ValueError: If there is no such device on this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).item()  # the meta device has no values
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:  # an assertion if torch is built without CUDA
        reason = textwrap.shorten(str(error).splitlines()[0], 80, placeholder=" ...")  # some list every device
        raise ValueError(f"--device {name} is not available: {reason}") from error


def on_any_size(function: Callable[..., "Tensor"], *images: "Tensor", network: "nn.Module", multiple: int) -> "Tensor":
    """Applies a function of batches (1, 3, H', W') to images (3, H, W) of any size.

    Haar bands pair pixels, so an odd side leaves a row or column without a partner: the function gets the image without
    it, and the result repeats its neighbour there. The rest is padded at the right and bottom to the next multiple by
    repeating its borders, and the result is cropped. Photos of more than 2 megapixels are processed in tiles, so that
    memory grows only by the photos themselves. A tile overlaps its neighbours by as much as the receptive field of the
    network needs, but by at most 256 pixels: chains as deep as the paper's reach further only in theory.

    Args:
        function: A function of the network, from images to one of the same shape.
        images: Images of one size.
        network: The network.
        multiple: The number that height and width must be divisible by.
    """
    import torch

    from pirnet.pixels import even_part
    from pirnet.support.tiling import reach, tiled

    odd = [side % 2 for side in images[0].shape[-2:]]
    images = tuple(even_part(image) for image in images)
    height, width = images[0].shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)

    def fast(*batches: "Tensor") -> "Tensor":
        return function(*(batch.contiguous(memory_format=torch.channels_last) for batch in batches))

    with torch.inference_mode():
        batches = [torch.nn.functional.pad(image[None], padding, mode="replicate") for image in images]
        if height * width <= MAX_PIXELS:
            result = fast(*batches)
        else:
            overlap = min(reach(fast, network, num_images=len(images)), MAX_OVERLAP)
            result = tiled(fast, *batches, tile=TILE, overlap=overlap)
        return torch.nn.functional.pad(result[..., :height, :width], (0, odd[1], 0, odd[0]), mode="replicate")[0]
