"""The cloud restores the photo hidden inside a stego image, without revealing it.

    python examples/pirnet/restore.py stego.png -o restored.png --task denoise

Needs only lsr.safetensors. That does not prove that the secret stays secret: see docs/pirnet-security.md. A file named
- is standard input or output; ./- is a file of that name.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED
from pirnet.tasks import TASKS

TaskName = tyro.extras.literal_type_from_choices(list(TASKS))


@dataclass(frozen=True)
class Options:
    """Restore the secret inside a stego image."""

    stego: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STEGO")]
    """Stego image that conceal.py wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    task: Annotated[str, tyro.conf.arg(constructor=TaskName)]
    """Damage of the hidden photo: denoise for noise, deblur for blur, sr for low resolution, or a task of your own."""
    weights: Path = SHIPPED
    """Folder with lsr.safetensors."""
    server: str | None = None
    """Address of a service that serve.py runs; it restores, with its own weights."""
    api_key_file: Path | None = None
    """File with the key of the service on its first line."""
    force: bool = False
    """Overwrite an existing file."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

from pirnet.images import ImageError, check_output, png_bytes, read_stego, write_bytes
from pirnet.support import remote, restoring
from pirnet.weights import load_lsr, run_warning


def main() -> None:
    options = read_options()
    check_output(options.output, force=options.force, others=(options.stego, options.api_key_file))
    if options.server is not None:
        write_bytes(options.output, restored_remotely(options, options.server), force=options.force)
        return
    if options.api_key_file is not None:
        raise ValueError("--api-key-file is sent to a service: name it with --server")
    lsr = load_lsr(options.weights / LSR_WEIGHTS)
    cli.warn(*run_warning(options.weights / LIH_WEIGHTS, options.weights / LSR_WEIGHTS))
    restored = restoring.restore(lsr, read_stego(options.stego), options.task)
    write_bytes(options.output, restored, force=options.force)


def restored_remotely(options: Options, server: str) -> bytes:
    """The PNG file of what a service answers. It receives pixels, transparency, profile and orientation."""
    key = "" if options.api_key_file is None else remote.read_api_key(options.api_key_file)
    stego = read_stego(options.stego)
    kept = {"alpha": stego.alpha, "profile": stego.profile, "orientation": stego.orientation}
    sent = png_bytes(stego.pixels, **kept)
    most = 2 * stego.pixels.numel() + len(sent) + 2**16  # more than a PNG file with the same profile or an error needs
    answer = remote.restore(server, sent, options.task, most=most, key=key)
    try:
        pixels = read_stego(Path("answer"), content=answer).pixels
    except ImageError:
        pixels = None
    if pixels is None or pixels.shape != stego.pixels.shape:
        raise remote.ServiceError(f"{server}: answered something else than a restored stego image")
    return png_bytes(pixels, **kept)  # the pixels alone, since the answer may hold anything else


if __name__ == "__main__":
    cli.run(main)
