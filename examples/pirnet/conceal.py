"""The client hides a photo, with its noise or blur, in a harmless cover.

    python examples/pirnet/conceal.py cover.png secret.jpg -o stego.png

Needs lih.safetensors, and writes stego.key, a new key for this photo: keep it, reveal.py needs it. A file named - is
standard input or output; ./- is a file of that name.
"""

# ruff: noqa: E402 (the command line is read before torch is imported, which takes seconds)

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pirnet.support import cli
from pirnet.support.places import LIH_WEIGHTS, SHIPPED


@dataclass(frozen=True)
class Options:
    """Hide a secret photo in a cover."""

    cover: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COVER")]
    """Photo to hide in: not a public one, and not one used before; its alpha channel is kept."""
    secret: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SECRET")]
    """Photo to hide, of the same size; transparency is not kept: colours under transparent pixels become visible."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """PNG file to write."""
    key: Path | None = None
    """Key file to write; by default next to the output, ending in .key."""
    reuse_key: bool = False
    """Use the key in an existing file for this photo too; it then protects both photos less."""
    no_key: bool = False
    """Hide without a key, as in the paper."""
    block: Literal[16, 32, 64] | None = None
    """Side of the scrambled blocks in pixels, 16 by default; larger ones protect less."""
    weights: Path = SHIPPED
    """Folder with lih.safetensors."""
    resize: bool = False
    """Resize the secret to the size of the cover; this distorts it if the proportions differ."""
    force: bool = False
    """Overwrite an existing file."""
    verbose: bool = False
    """Print how close the stego image is to its cover, and the revealed secret to the secret."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

import torch
import torch.nn.functional as F
from pirnet.images import STREAM, Picture, check_output, read_picture, read_secret, write_png
from pirnet.metrics import psnr
from pirnet.pixels import quantise_uint8, with_odd_edge_of
from pirnet.support import keys
from pirnet.support.revealed import concealed_at
from pirnet.weights import load_lih, run_of
from torch import Tensor


def main() -> None:
    options = read_options()
    check_output(options.output, force=options.force, others=(options.cover, options.secret, options.key))
    if options.cover == options.secret == STREAM:
        raise ValueError("cover and secret cannot both come from standard input")
    key_file = check_key(options)
    lih = load_lih(options.weights / LIH_WEIGHTS)
    cover = read_picture(options.cover)
    if cover.profile_dropped:
        cli.warn(f"{options.cover}: its colour profile, which is not for RGB, is not kept: shades may change")
    secret = read_photo(options, cover)
    if torch.equal(secret, cover.pixels):
        raise ValueError(
            f"{options.secret} is the same photo as its cover, so everybody would see it: name another cover"
        )
    key = None if key_file is None else choose_key(options, key_file, secret)
    hidden = secret if key is None else key.scramble(secret)
    hiding = cli.on_any_size(lih.conceal, cover.pixels, hidden, network=lih, multiple=2)
    stego = with_odd_edge_of(cover.pixels, quantise_uint8(hiding))
    with nullcontext() if key is None or options.reuse_key else keys.new_key_file(key):
        write_png(options.output, stego, alpha=cover.alpha, profile=cover.profile, force=options.force)
    revealed = cli.on_any_size(lih.reveal, stego, network=lih, multiple=2)
    quality, warnings = concealed_at(revealed if key is None else key.unscramble(revealed), secret)
    if options.verbose:  # on standard error, since standard output may be the picture
        distance = f"{float(psnr(stego[None], cover.pixels[None])):.1f} dB from the cover"
        cli.warn(f"{options.output}: {distance}, and reveals the secret at {quality:.1f} dB")
    if key is None:
        warnings.append("hidden without a key, so whoever has lih.safetensors can reveal it")
    else:
        warnings += keys.few_blocks(key)
    cli.warn(*(f"{options.output}: {warning}" for warning in warnings))


def check_key(options: Options) -> Path | None:
    """The file of the key, None without a key. Refuses contradicting options, and to replace a key file."""
    if options.no_key:
        if options.key is not None or options.reuse_key or options.block is not None:
            others = "--key, --reuse-key or --block"
            raise ValueError(f"--no-key hides without a key, so it cannot be combined with {others}")
        return None
    if options.reuse_key and options.block is not None:
        raise ValueError("--reuse-key takes the size of the blocks from the key, so it cannot be combined with --block")
    path = keys.key_path(options.output, options.key)
    if options.reuse_key:
        return path
    if path.exists() or path.is_symlink():
        if not is_key(path):
            raise keys.KeyFileError(f"{path}: exists already and is no key file: name another file with --key")
        raise keys.KeyFileError(
            f"{path}: exists already, and its key was used: name another file with --key, remove it if nothing that it "
            "reveals is needed, or use it once more with --reuse-key"
        )
    if not path.parent.is_dir():
        raise keys.KeyFileError(f"{path}: cannot write, the folder {path.parent} does not exist")
    return path


def is_key(path: Path) -> bool:
    """Whether a file can be read as a key."""
    try:
        return bool(path.is_file() and keys.read_key(path))
    except (keys.KeyFileError, OSError):
        return False


def read_photo(options: Options, cover: Picture) -> Tensor:
    """The photo to hide (3, H, W), in the size of its cover."""
    photo = read_secret(options.secret)
    if photo.alpha is not None:
        cli.warn(f"{options.secret}: its transparency is not hidden, transparent pixels become visible")
    if photo.converted_from:
        cli.warn(f"{options.secret}: colours converted from {photo.converted_from} to sRGB")
    if photo.pixels.shape == cover.pixels.shape:
        return photo.pixels
    size, got = (" x ".join(map(str, pixels.shape[1:])) for pixels in (cover.pixels, photo.pixels))
    if not options.resize:
        needs = f"the size of its cover, {size} (height x width)"
        raise ValueError(f"{options.secret} needs {needs}, got {got}; --resize changes it")
    return F.interpolate(photo.pixels[None], cover.pixels.shape[1:], mode="bicubic", antialias=True)[0].clamp(0, 1)


def choose_key(options: Options, path: Path, photo: Tensor) -> keys.Key:
    """The key in the existing file with --reuse-key, else a new key."""
    run = run_of(options.weights / LIH_WEIGHTS)
    if not options.reuse_key:
        return keys.new_key(path, photo, block=options.block or keys.BLOCK, weights=run)
    key = keys.read_key(path)
    cli.warn(*keys.check_fits(key, photo, run=run))
    return key


if __name__ == "__main__":
    cli.run(main)
