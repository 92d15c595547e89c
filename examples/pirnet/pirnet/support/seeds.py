"""Random numbers that depend on named keys alone, and on nothing that was drawn before."""

__all__ = ["random_below", "seeded_generator"]

import hashlib

import torch


def seeded_generator(*keys: int) -> torch.Generator:
    """A CPU generator that depends on all keys: (0, 1) and (1, 0) give unrelated numbers, unlike a sum of seeds.

    Args:
        keys: Any integers, for instance a seed and the number of a step.
    """
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    # the CPU engine takes 32 bits of a seed; fold, so that both halves count
    number = int.from_bytes(digest, "big")
    return torch.Generator().manual_seed((number >> 32) ^ (number & 0xFFFFFFFF))


def random_below(bound: int, generator: torch.Generator) -> int:
    """A whole number from 0 up to, but without, `bound`, each as likely."""
    return int(torch.randint(bound, (), generator=generator, device=generator.device))
