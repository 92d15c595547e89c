"""The work of the service's processes: one restores one stego image at a time. Only these processes import torch."""

import math
import multiprocessing
import os
import signal
import threading
import warnings
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from pirnet.support import progress, signals
from pirnet.support.places import CheckpointError

if TYPE_CHECKING:
    from pirnet.model import LSR

_lsr: "LSR | CheckpointError | None" = None


def start(weights: Path, max_pixels: float) -> None:
    """Prepares a process of `serve.py`, which ends if its parent does; arguments as in `load`."""
    for number in signals.ENDING:
        signal.signal(number, signal.SIG_IGN)  # the parent receives them, and ends this process after its work
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load(weights, max_pixels)


def load(weights: Path, max_pixels: float) -> None:
    """Loads the network once for all tasks of this process, which prints nothing; `tasks` reports errors.

    Args:
        weights: The file `lsr.safetensors`.
        max_pixels: The size of the largest picture. It is checked again when Pillow has read all headers of a picture,
            since the second one of a PNG file counts, and the service looks at the first.
    """
    global _lsr
    import torch
    from PIL import Image

    from pirnet.support.allocator import keep_memory
    from pirnet.weights import load_lsr

    warnings.simplefilter("ignore")  # Pillow warns of what is in a picture, and nothing of it may be in the log
    progress.hidden.set()
    keep_memory()
    torch.set_num_threads(1)
    Image.MAX_IMAGE_PIXELS = math.ceil(max_pixels / 2)  # Pillow refuses pictures of more than twice this size
    try:
        _lsr = load_lsr(weights)
    except CheckpointError as error:
        _lsr = error  # raised here, it would end the process, and its reason would be lost


def tasks() -> tuple[str, ...]:
    """The tasks that the network was trained for.

    Raises:
        CheckpointError: If the weights are missing or damaged.
    """
    return _network().tasks


def _network() -> "LSR":
    assert _lsr is not None  # `load` ran before
    if isinstance(_lsr, CheckpointError):
        raise _lsr
    return _lsr


def restore(content: bytes, task: str) -> bytes:
    """Restores the stego image in a PNG file; returns the content of another PNG file.

    Raises:
        ImageError: If it is no 8-bit RGB picture, or damaged.
    """
    from pirnet.images import read_stego
    from pirnet.support import restoring

    return restoring.restore(_network(), read_stego(Path("stego image"), content=content), task)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
