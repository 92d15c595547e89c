"""All attacks on secrets that are sent in one way: without a key, or scrambled in blocks of one size."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from pirnet.data import Pair
from pirnet.evaluation import Networks
from pirnet.model import LIH
from pirnet.support.progress import progress_bar
from torch import Tensor

from liftlayers.functional import scramble_blocks
from reproduce.attacks import Attacks, Estimator
from reproduce.attacks_repeated import repeated
from reproduce.jigsaw import neighbour_retrieval, neighbours_kept, placed
from reproduce.jigsaw_solver import assemble
from reproduce.security_pipeline import Sent, send
from reproduce.stego_statistics import StegoStatistics

SOURCES = ("truth", "revealed", "restored")
"""Pictures whose blocks are put together: the clean photo, and what LIH's weights reveal from either stego image."""


@dataclass
class Puzzles:
    """How well blocks are put together; the greedy solver, which is slow, solves only the first puzzles."""

    solved: int
    found: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[str, list[float]] = field(default_factory=dict)

    def add(self, sent: Sent, *, sources: Sequence[str] = SOURCES) -> None:
        """Adds a secret that was scrambled."""
        assert sent.block is not None
        for source in sources:
            scrambled = scrambled_source(sent, source)
            found = self.found.setdefault(source, [])
            found.append(neighbour_retrieval([sent.unscrambled(scrambled)[0]], sent.block))
            if len(found) <= self.solved:
                _, index = solved(sent, scrambled)
                self.kept.setdefault(source, []).append(neighbours_kept(index, sent.block))

    def summary(self) -> dict[str, object]:
        """The mean share of neighbours that are found, and that are neighbours in the solved pictures."""
        means = {name: _means(shares) for name, shares in (("found", self.found), ("kept", self.kept))}
        return {**means, "solved": min(self.solved, *map(len, self.found.values()))}


def scrambled_source(sent: Sent, source: str) -> Tensor:
    """One of the pictures that an attacker puts together, scrambled: (1, 3, H, W)."""
    return sent.scrambled(sent.truth) if source == "truth" else getattr(sent, source)


def solved(sent: Sent, scrambled: Tensor) -> tuple[Tensor, Tensor]:
    """What the greedy solver makes of a scrambled picture (1, 3, H, W), and the index of that as in `jigsaw`."""
    assert sent.block is not None
    index = torch.arange(scrambled.numel()).view_as(scrambled)
    chosen = assemble(scrambled[0], sent.block)
    hidden_index = scramble_blocks(index, sent.key, block=sent.block)[0]
    return placed(scrambled[0], sent.block, chosen), placed(hidden_index, sent.block, chosen)


def measured(
    networks: Networks,
    pairs: Sequence[Pair],
    *,
    name: str,
    block: int | None,
    tasks: Sequence[str],
    estimators: Mapping[str, Estimator],
    few: int,
) -> dict[str, object]:
    """The results of all attacks of one mode.

    Args:
        networks: The networks of the client and the cloud.
        pairs: The photos, with sides that are multiples of the block.
        name: The name of the mode, for the progress bar.
        block: The size of the blocks, None without a key.
        tasks: The damage of the secrets.
        estimators: Attacks on one stego image, by name.
        few: Number of pairs for the slow parts: solved puzzles and repeated use.
    """
    results: dict[str, dict[str, object]] = {"attacks": {}, "traces": {}, "jigsaw": {}}
    with progress_bar(total=len(tasks) * len(pairs), desc=name, unit="secret") as bar:
        for task in tasks:
            attacks, traces, puzzles = Attacks(estimators), StegoStatistics(), Puzzles(few)
            for number, pair in enumerate(pairs):
                sent = send(networks, pair, task, number=number, block=block)
                attacks.add(sent)
                traces.add(sent.cover, sent.stego)
                if block is not None:
                    puzzles.add(sent, sources=SOURCES if task == tasks[0] else SOURCES[1:])
                bar.update()
            results["attacks"][task], results["traces"][task] = attacks.rows(), traces.summary()
            if block is not None:
                results["jigsaw"][task] = puzzles.summary()
    chosen = [pairs[number] for number in range(min(few, len(pairs)))]
    return {**results, "repeated": _repeated(networks.lih, chosen, block=block, tasks=tasks, name=name)}


def _repeated(
    lih: LIH, pairs: Sequence[Pair], *, block: int | None, tasks: Sequence[str], name: str
) -> dict[str, dict[str, float]]:
    """The mean figures of repeated use for each task."""
    results = {}
    with progress_bar(total=len(tasks) * len(pairs), desc=f"{name}, repeated", unit="secret") as bar:
        for task in tasks:
            figures: dict[str, list[float]] = {}
            for number, pair in enumerate(pairs):
                for key, figure in repeated(lih, pair, task, number=number, block=block).items():
                    figures.setdefault(key, []).append(figure)
                bar.update()
            results[task] = _means(figures)
    return results


def _means(figures: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(statistics.fmean(values), 4) for name, values in figures.items()}
