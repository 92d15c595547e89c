"""What the doors share: the command line, one-line errors, weights, devices, and pictures of any size."""

__all__ = ["SHIPPED", "device", "on_any_size", "parse", "peek", "run"]

import itertools
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from pirnet.support.allocator import keep_memory
from pirnet.support.tiling import reach, tiled

T = TypeVar("T")

SHIPPED = Path(__file__).parents[2] / "weights"
LARGEST = 2**21  # pixels of a photo that is taken whole
TILE, MAX_OVERLAP = 1024, 256  # so that a tile with its overlap is hardly more


def run(main: Callable[[], None]) -> None:
    """Calls a door's `main`; what the user can mend is told in one line on standard error, with exit status 2."""
    keep_memory()
    try:
        main()
    except (OSError, ValueError) as error:  # every error of ours about files, weights and values is one of these
        print(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def parse(kind: type[T], description: str | None, *, default: T | None = None) -> T:
    """Reads the command line into a dataclass, whose fields and their docstrings are the options and their help."""
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
    shown = description and _wrapped(description)
    if default is None:
        return tyro.cli(kind, description=shown, config=config)
    return tyro.cli(kind, description=shown, default=default, config=config)


def _wrapped(text: str) -> str:
    """Paragraphs as wide as the terminal, examples as they are; tyro keeps lines that do not begin with a letter."""
    width = shutil.get_terminal_size().columns
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        paragraph
        if paragraph.startswith(" ")
        else textwrap.fill(" ".join(paragraph.split()), width, initial_indent=" ", subsequent_indent=" ")
        for paragraph in paragraphs
    )


def peek(option: str, choices: Sequence[str] = ()) -> str | None:
    """The value of an option that decides about the defaults of all others, before those are read; None without it.

    Raises:
        ValueError: If it is not one of the choices.
    """
    value = None
    for word, following in itertools.zip_longest(sys.argv[1:], sys.argv[2:], fillvalue=""):
        if word == option:
            value = following
        elif word.startswith(f"{option}="):
            value = word.removeprefix(f"{option}=")
    if value is not None and choices and value not in choices:
        raise ValueError(f"{option} needs one of {', '.join(choices)}, got {value!r}")
    return value


def device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        ValueError: If there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:  # an assertion where torch is built without CUDA
        raise ValueError(f"--device {name} is not to be had here: {str(error).splitlines()[0]}") from error


def on_any_size(function: Callable[..., Tensor], *images: Tensor, network: nn.Module, multiple: int) -> Tensor:
    """Calls a network's function of (3, H, W) images of any size as one of (1, 3, H', W') batches on multiples.

    Borders are repeated outwards at the right and bottom, and cropped off the result. Photos of more than 2 megapixels
    are taken in tiles, so that memory grows by the photos themselves alone. A tile sees as far around it as the network
    reaches, but no further than 256 pixels: chains as deep as the paper's reach past that in theory only.
    """
    height, width = images[0].shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)

    def fast(*batches: Tensor) -> Tensor:
        return function(*(batch.contiguous(memory_format=torch.channels_last) for batch in batches))

    with torch.inference_mode():
        batches = [F.pad(image[None], padding, mode="replicate") for image in images]
        if height * width <= LARGEST:
            return fast(*batches)[0, :, :height, :width]
        overlap = min(reach(fast, network, num_images=len(images)), MAX_OVERLAP)
        return tiled(fast, *batches, tile=TILE, overlap=overlap)[0, :, :height, :width]
