"""What somebody with LIH's weights learns if a secret, a cover or a key is used twice."""

import torch
from pirnet.data import Pair
from pirnet.evaluation import TEST
from pirnet.model import LIH
from pirnet.support.seeds import seeded_generator
from pirnet.tasks import degrade
from torch import Tensor

from liftlayers.functional import scramble_blocks, unscramble_blocks
from reproduce.attacks import correlation, haar_bands, likest
from reproduce.jigsaw import blocks_of, matched, neighbour_retrieval, placed
from reproduce.security_pipeline import fresh_key, hidden

SAME_SECRET, SAME_COVER = "same secret in two covers, mean", "same secret in one cover, difference"
TWO_SECRETS = "two secrets in one cover, difference"
LEAKED, READ = "one key for two secrets, one of them leaked", "blocks whose place the leaked secret shows"
ONE_PUZZLE, TWO_PUZZLES = "neighbours found, a key for each secret", "neighbours found, one key for two secrets"


@torch.no_grad()
def repeated(lih: LIH, pair: Pair, task: str, *, number: int, block: int | None) -> dict[str, float]:
    """Figures of an attacker who has LIH's weights and two stego images.

    The second cover is the mirror image of the first, the second secret is the cover upside down.

    Returns:
        Correlations with the true secret, or shares of blocks and of their neighbours. Without a key, the figures about
        keys are missing.
    """
    cover, key, other_key = pair.cover[None], fresh_key(number, 0), fresh_key(number, 1)
    mirrored, truths = cover.flip(-1), (pair.secret[None], cover.flip(-2))
    first, second = (degrade(truth, task, TEST, generator=seeded_generator(number)) for truth in truths)
    stego = hidden(lih, cover, first, key=key, block=block)
    reveal = lih.reveal(stego)
    again = lih.reveal(hidden(lih, mirrored, first, key=other_key, block=block))
    same_cover = hidden(lih, cover, first, key=other_key, block=block)
    other_secret = hidden(lih, cover, second, key=other_key, block=block)
    figures = {
        SAME_SECRET: correlation((reveal + again) / 2, truths[0]),
        SAME_COVER: _best_band(stego - same_cover, truths[0]),
        TWO_SECRETS: _best_band(stego - other_secret, truths[0]),
    }
    if block is not None:
        same_key = lih.reveal(hidden(lih, mirrored, second, key=key, block=block))
        figures |= _with_one_key((reveal, same_key), truths, key=key, block=block)
    return figures


def _with_one_key(
    reveals: tuple[Tensor, Tensor], truths: tuple[Tensor, Tensor], *, key: bytes, block: int
) -> dict[str, float]:
    """What one key for two secrets shows: the second one if the first leaks, and more of both if none does."""
    chosen = matched(reveals[0][0], truths[0][0], block)
    index = torch.arange(truths[0].numel()).view_as(truths[0])
    found = placed(scramble_blocks(index, key, block=block)[0], block, chosen)
    right = blocks_of(found, block).flatten(1) == blocks_of(index[0], block).flatten(1)
    puzzles = [unscramble_blocks(reveal, key, block=block)[0] for reveal in reveals]
    return {
        LEAKED: correlation(placed(reveals[1][0], block, chosen)[None], truths[1]),
        READ: float(right.all(dim=1).float().mean()),
        ONE_PUZZLE: neighbour_retrieval(puzzles[:1], block),
        TWO_PUZZLES: neighbour_retrieval(puzzles, block),
    }


def _best_band(image: Tensor, truth: Tensor) -> float:
    return correlation(likest(haar_bands(image), truth), truth)
