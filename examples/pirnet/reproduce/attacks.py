"""What can be learned of a secret without its key, or if a secret, a cover or a key is used twice.

These are lower bounds on the risk, not proofs.
"""

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from pirnet.data import Pair
from pirnet.degrade import gaussian_blur
from pirnet.metrics import psnr
from pirnet.model import LIH
from pirnet.support.seeds import seeded_generator
from torch import Tensor

from liftlayers.functional import haar_analysis, scramble_blocks, unscramble_blocks
from reproduce.jigsaw import blocks_of, matched, neighbour_retrieval, placed
from reproduce.security_pipeline import Sent, degraded, fresh_key, hidden

Estimator = Callable[[Tensor], Tensor]
"""An attacker's estimate (1, 3, H, W) of the secret in a stego image (1, 3, H, W)."""

SAME_SECRET, SAME_COVER = "same secret in two covers, mean", "same secret in one cover, difference"
TWO_SECRETS = "two secrets in one cover, difference"
LEAKED, READ = "one key for two secrets, one of them leaked", "blocks whose place the leaked secret shows"
ONE_PUZZLE, TWO_PUZZLES = "neighbours found, a key for each secret", "neighbours found, one key for two secrets"


class Attacks:
    """Attacks the secrets of one task that were sent in one way, one after the other.

    Args:
        estimators: Attacks on the stego image alone, by name, besides those that need no weights.
    """

    def __init__(self, estimators: Mapping[str, Estimator]) -> None:
        self.estimators = estimators
        self.results: dict[str, list[dict[str, float]]] = {}

    @torch.no_grad()
    def add(self, sent: Sent) -> None:
        """Attacks the next secret."""
        scrambled = sent.scrambled(sent.truth)
        for name, estimates in pictures(sent, self.estimators).items():
            figures = similarity(likest(estimates, sent.truth), sent.truth)
            figures["blocks_correlation"] = correlation(likest(estimates, scrambled), scrambled)
            self.results.setdefault(name, []).append(figures)

    def rows(self) -> list[dict[str, object]]:
        """The mean figures of every attack over the secrets."""
        return [{"attack": name, "pairs": len(each), **rounded_means(each)} for name, each in self.results.items()]


def rounded_means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over secrets, with four decimals."""
    return {key: round(statistics.fmean(each[key] for each in figures), 4) for key in figures[0]}


def pictures(sent: Sent, estimators: Mapping[str, Estimator]) -> dict[str, list[Tensor]]:
    """The estimates of every attack: one, or nine Haar bands of which an attacker picks by eye."""
    truth, stego, changed = sent.truth, sent.stego, sent.restored_stego - sent.stego
    found = {
        "LIH's weights and the key": [sent.received()],
        "mean colour": [truth.mean(dim=(2, 3), keepdim=True).expand_as(truth)],
        "Haar band of the cover, by chance": haar_bands(sent.cover),
        "stego image": [stego],
        "Haar band of the stego image": haar_bands(stego),
        "restored stego image": [sent.restored_stego],
        "Haar band of the restored stego image": haar_bands(sent.restored_stego),
        "Haar band of what the cloud changed": haar_bands(changed),
        "Haar band of stego minus cover": haar_bands(stego - sent.cover),
        "LIH's weights without the key": [sent.restored],
    }
    found |= {name: [estimate(stego)] for name, estimate in estimators.items()}
    return {name: [torch.nan_to_num(each) for each in estimates] for name, estimates in found.items()}


def shuffled(lih: LIH) -> LIH:
    """The same network with the numbers in every weight tensor permuted: wrong weights of the right scale."""
    network, generator = copy.deepcopy(lih), seeded_generator(0)
    for parameter in network.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return network


def haar_bands(image: Tensor) -> list[Tensor]:
    """The nine Haar details of an image (1, 3, H, W), as grey pictures of its size: an attacker tries all of them."""
    bands = haar_analysis(image)[1].split(1, dim=1)
    return [F.interpolate(band, scale_factor=2.0, mode="nearest").expand_as(image) for band in bands]


def likest(estimates: list[Tensor], truth: Tensor) -> Tensor:
    """The estimate with the highest correlation with the truth."""
    return max(estimates, key=lambda estimate: correlation(estimate, truth))


def correlation(estimate: Tensor, truth: Tensor) -> float:
    """The mean absolute correlation of two images (1, 3, H, W) over their channels."""
    return float(_regression(estimate, truth)[1].abs().mean())


def similarity(estimate: Tensor, truth: Tensor) -> dict[str, float]:
    """The similarity of an estimate and the truth, both (1, 3, H, W).

    Returns:
        `psnr` of the estimate itself; `fitted_psnr` after the best gain and offset for each channel, an upper bound
        that an attacker does not know; `correlation`, the mean absolute correlation over the channels;
        `detail_correlation`, the same for what a Gaussian blur of sigma 2 removes, that is edges and texture.
    """
    gain, found = _regression(estimate, truth)
    centred = estimate - estimate.mean(dim=(2, 3), keepdim=True)
    fitted = truth.mean(dim=(2, 3), keepdim=True) + gain[:, None, None] * centred
    detail = _regression(*(image - gaussian_blur(image, 13, 2.0) for image in (estimate, truth)))[1]
    psnrs = {"psnr": float(psnr(estimate, truth)), "fitted_psnr": float(psnr(fitted, truth))}
    return psnrs | {"correlation": float(found.abs().mean()), "detail_correlation": float(detail.abs().mean())}


def levelled(estimate: Tensor, truth: Tensor) -> Tensor:
    """The estimate with mean, deviation and sign of the truth for each channel, so that it becomes visible."""
    std, wanted = (image.std(dim=(2, 3), keepdim=True).clamp(min=1e-6) for image in (estimate, truth))
    gain = _regression(estimate, truth)[0].sign()[:, None, None] * wanted / std
    mean, middle = (image.mean(dim=(2, 3), keepdim=True) for image in (truth, estimate))
    return (mean + gain * (estimate - middle)).clamp(0, 1)


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
    first, second = (degraded(truth, task, number) for truth in truths)
    stego = hidden(lih, cover, first, key=key, block=block)
    reveal = lih.reveal(stego)
    again = lih.reveal(hidden(lih, mirrored, first, key=other_key, block=block))
    same_cover = hidden(lih, cover, first, key=other_key, block=block)
    other_secret = hidden(lih, cover, second, key=other_key, block=block)

    def best_band(image: Tensor) -> float:
        return correlation(likest(haar_bands(image), truths[0]), truths[0])

    figures = {
        SAME_SECRET: correlation((reveal + again) / 2, truths[0]),
        SAME_COVER: best_band(stego - same_cover),
        TWO_SECRETS: best_band(stego - other_secret),
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


def _regression(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and correlation of y over x a channel, (3,) each; 0 where one of them is constant."""
    x, y = (image[0].flatten(1).double() for image in (x, y))
    x, y = (image - image.mean(dim=1, keepdim=True) for image in (x, y))
    xx, yy, xy = ((a * b).mean(dim=1) for a, b in ((x, x), (y, y), (x, y)))
    constant = (xx < 1e-12) | (yy < 1e-12)  # the variance is only rounding
    gain, found = xy / xx, xy / (xx * yy).sqrt()
    return gain.masked_fill(constant, 0).to(torch.float32), found.masked_fill(constant, 0)
