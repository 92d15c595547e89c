"""Keys of single photos: the client scrambles a secret with one before hiding it, and unscrambles what it reveals.

A key file is JSON, so that a program in any language can read it; `docs/scrambling.md` specifies the scrambling.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from liftlayers.functional import scramble_blocks, unscramble_blocks
from pirnet.pixels import even_part
from pirnet.support.files import atomic_path, to_json
from pirnet.support.outputs import STREAM
from pirnet.support.signals import deferred
from pirnet.support.text import counted, from_json

KIND, VERSION = "liftlayers PIRNet key", 1
KEY_BYTES = 32
BLOCK, BLOCKS = 16, (16, 32, 64)  # pixels a side of a block: what is usual, and what is possible
ENOUGH = 16  # blocks that a photo needs to be scrambled well
MAX_SIDE = 2**31 - 1  # of a photo, in pixels
MAX_BYTES = 4096  # of a key file: a photo that is named by mistake is not read

FIELDS: dict[str, Callable[[object], bool]] = {
    "key": lambda value: isinstance(value, str) and bool(re.fullmatch(f"[0-9a-f]{{{2 * KEY_BYTES}}}", value)),
    "block": lambda value: type(value) is int and value in BLOCKS,
    **dict.fromkeys(("height", "width"), lambda value: type(value) is int and 0 < value <= MAX_SIDE),
    "weights": lambda value: isinstance(value, str),
}
"""The fields of a key file, and whether a value is valid."""


class KeyFileError(ValueError):
    """A key file that cannot be used. The message is one line that names the file and never shows the key."""


@dataclass(frozen=True)
class Key:
    """The key of one photo.

    Attributes:
        file: The file that holds it.
        secret: 32 random bytes.
        block: Height and width of a block in pixels.
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.
        weights: The run id of the weights that hid the photo; empty if they have none.
    """

    file: Path
    secret: bytes = field(repr=False)
    block: int
    height: int
    width: int
    weights: str = ""

    def scramble(self, image: Tensor) -> Tensor:
        """Scrambles a photo (3, H, W), but not the last row or column of an odd side, which cannot be hidden."""
        return self._on_even_part(scramble_blocks, image)

    def unscramble(self, image: Tensor) -> Tensor:
        """Undoes `scramble`; the last row or column of an odd side repeats its neighbour."""
        return self._on_even_part(unscramble_blocks, image)

    def _on_even_part(self, function: Callable[..., Tensor], image: Tensor) -> Tensor:
        odd = [side % 2 for side in image.shape[1:]]
        part = function(even_part(image)[None], self.secret, block=self.block)
        return pad(part, (0, odd[1], 0, odd[0]), mode="replicate")[0]


def new_key(file: Path, photo: Tensor, *, block: int, weights: str) -> Key:
    """A new random key for a photo (3, H, W); `new_key_file` writes its file."""
    height, width = photo.shape[1:]
    return Key(file, secrets.token_bytes(KEY_BYTES), block, height, width, weights)


@contextmanager
def new_key_file(key: Key) -> Iterator[None]:
    """Writes a new key file, which its owner alone can read, and removes it if the body fails; it replaces no file.

    A signal waits until the body has ended, so that no picture is left without its key.
    """
    content = {"kind": KIND, "version": VERSION, "key": key.secret.hex(), "block": key.block}
    content |= {"height": key.height, "width": key.width, "weights": key.weights}
    with deferred():
        with atomic_path(key.file, replace=False, private=True) as temporary:
            temporary.write_text(to_json(content, indent=2) + "\n", encoding="utf-8")
        try:
            yield
        except BaseException:
            key.file.unlink(missing_ok=True)
            raise


def read_key(path: Path) -> Key:
    """Reads a key file.

    Raises:
        KeyFileError: If it is missing, is no key file, or is damaged.
    """
    _check_name(path)
    if not path.is_file():
        raise KeyFileError(f"{path}: no such key file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES)  # the beginning of a larger file, such as a photo, is no JSON
    try:
        content = from_json(data)
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise KeyFileError(f"{path}: needs to be a key file that conceal.py wrote, this is something else")
    if content.get("version") != VERSION:
        raise KeyFileError(f"{path}: needs version {VERSION} of the key file, got {content.get('version')!r}")
    for name, is_valid in FIELDS.items():
        if not is_valid(content.get(name)):
            raise KeyFileError(f"{path}: the key file is damaged, {name} is missing or wrong")
    size = (content[name] for name in ("block", "height", "width"))
    return Key(path, bytes.fromhex(content["key"]), *size, weights=content["weights"])


def key_path(output: Path, named: Path | None) -> Path:
    """The file of a key: the one that is named, or one next to the stego image with the ending .key.

    Raises:
        ValueError: If the stego image goes to standard output and no file is named, or a folder or stream is named.
    """
    if named is None and output == STREAM:
        raise ValueError("the key needs a file when the stego image goes to standard output: name it with --key")
    path = output.with_suffix(".key") if named is None else named
    _check_name(path)
    return path


def _check_name(path: Path) -> None:
    if path == STREAM:
        raise KeyFileError("--key needs the name of a file, got -, which is standard input or output")
    if path.is_dir():
        raise KeyFileError(f"{path}: this is a folder, a key file is needed")


def few_blocks(key: Key) -> list[str]:
    """A warning if a photo has so few blocks that scrambling changes little, else nothing."""
    count = (key.height // key.block) * (key.width // key.block)
    if count >= ENOUGH:
        return []
    size = f"of {key.block} x {key.block} pixels"
    blocks = counted(count, f"whole block {size}", f"whole blocks {size}")
    return [f"only {blocks}, easy to put together again: smaller blocks or a larger photo protect better"]


def check_fits(key: Key, photo: Tensor, *, run: str) -> list[str]:
    """Refuses a key that is not for a photo (3, H, W) of this size; warns if it was used with other weights.

    Raises:
        KeyFileError: If the sizes differ.
    """
    size = tuple(photo.shape[1:])
    if size != (key.height, key.width):
        needs, got = f"{key.height} x {key.width}", " x ".join(map(str, size))
        raise KeyFileError(f"{key.file}: is the key of a photo of {needs} pixels (height x width), got one of {got}")
    if run and key.weights and run != key.weights:
        return [f"{key.file}: the photo was concealed with the weights of another run, and these cannot reveal it well"]
    return []


def random_key(generator: torch.Generator) -> bytes:
    """A key from a generator, for training and tests. The keys of real photos are those of `new_key`."""
    return torch.randint(256, (KEY_BYTES,), dtype=torch.uint8, generator=generator).numpy().tobytes()
