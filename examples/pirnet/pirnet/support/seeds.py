"""Random numbers that depend on given keys alone, not on earlier draws."""

import hashlib

import torch


def seeded_generator(*keys: int) -> torch.Generator:
    """A CPU generator that depends on all keys: (0, 1) and (1, 0) give unrelated numbers, unlike a sum of seeds.

    Args:
        keys: Any integers, for instance a seed and the number of a step.
    """
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    # the CPU generator uses 32 bits of a seed, so both halves are combined
    number = int.from_bytes(digest, "big")
    return torch.Generator().manual_seed((number >> 32) ^ (number & 0xFFFFFFFF))


def random_below(bound: int, generator: torch.Generator) -> int:
    """A uniformly distributed integer from 0 to `bound - 1`."""
    return int(torch.randint(bound, (), generator=generator, device=generator.device))
