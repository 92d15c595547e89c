"""A secret on its way through the cloud, with or without a key, and all that is computed of it."""

from dataclasses import dataclass

import torch
from pirnet.data import Pair
from pirnet.evaluation import TEST, Networks
from pirnet.model import LIH
from pirnet.pixels import as_sent, smooth_borders
from pirnet.support.keys import random_key
from pirnet.support.seeds import seeded_generator
from pirnet.tasks import degrade
from torch import Tensor

from liftlayers.functional import scramble_blocks, unscramble_blocks

MODES: dict[str, int | None] = {"plain": None, "keyed, t = 64": 64, "keyed, t = 32": 32, "keyed, t = 16": 16}
"""The ways to send a secret: the size of the blocks that a key scrambles, or None without a key."""
MULTIPLE = 64  # of the sides of photos, so that no block of any mode is cut


@dataclass(frozen=True)
class Sent:
    """A secret that was sent to the cloud and back, each image (1, 3, H, W)."""

    task: str
    block: int | None
    key: bytes
    truth: Tensor
    secret: Tensor
    """The degraded truth, not scrambled."""
    cover: Tensor
    stego: Tensor
    restored_stego: Tensor
    revealed: Tensor
    """What LIH's weights reveal from the stego image: still scrambled if there is a key."""
    restored: Tensor
    """What LIH's weights reveal from the restored stego image, likewise."""

    def scrambled(self, image: Tensor) -> Tensor:
        """An image scrambled with the key; without a key, the image."""
        return image if self.block is None else scramble_blocks(image, self.key, block=self.block)

    def unscrambled(self, image: Tensor) -> Tensor:
        """Undoes `scrambled`."""
        return image if self.block is None else unscramble_blocks(image, self.key, block=self.block)

    def received(self) -> Tensor:
        """The restored secret as the client gets it, with the key."""
        secret = self.unscrambled(self.restored)
        return secret if self.block is None else smooth_borders(secret, self.block)


def fresh_key(*numbers: int) -> bytes:
    """A key of 32 bytes that depends on the numbers alone, so that figures are reproducible; a client draws one.

    Example:
        >>> len(fresh_key(0)), fresh_key(0) == fresh_key(1)
        (32, False)
    """
    return random_key(seeded_generator(*numbers))


def degraded(truth: Tensor, task: str, number: int) -> Tensor:
    """A secret (1, 3, H, W) with the damage of the test; its noise depends on the number alone."""
    return degrade(truth, task, TEST, generator=seeded_generator(number))


def hidden(lih: LIH, cover: Tensor, secret: Tensor, *, key: bytes, block: int | None) -> Tensor:
    """The stego image in 8 bit, with the secret scrambled by the key unless `block` is None."""
    secret = secret if block is None else scramble_blocks(secret, key, block=block)
    cover, secret = (image.contiguous(memory_format=torch.channels_last) for image in (cover, secret))
    return as_sent(lih.conceal(cover, secret), "uint8")


@torch.no_grad()
def send(networks: Networks, pair: Pair, task: str, *, number: int, block: int | None) -> Sent:
    """Degrades a secret, hides it, restores the stego image and reveals; noise and key depend on the number alone."""
    truth, cover, key = pair.secret[None], pair.cover[None], fresh_key(number)
    secret = degraded(truth, task, number)
    stego = hidden(networks.lih, cover, secret, key=key, block=block)
    restored_stego = as_sent(networks.lsr(stego, task), "uint8")
    revealed, restored = (networks.lih.reveal(image, networks.z) for image in (stego, restored_stego))
    return Sent(task, block, key, truth, secret, cover, stego, restored_stego, revealed, restored)
