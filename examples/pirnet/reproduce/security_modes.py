"""All attacks on secrets that are sent in one way: without a key, or scrambled in blocks of one size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from pirnet.data import Pair, evaluation_pairs
from pirnet.evaluation import Networks
from pirnet.support import photos
from pirnet.support.progress import progress_bar
from pirnet.support.sheets import Panel, save_sheet
from torch import Tensor

from reproduce.attacks import Attacks, Estimator, correlation, levelled, likest, pictures, repeated, rounded_means
from reproduce.jigsaw import blocks_of, neighbour_retrieval, neighbours_kept, placed, upright
from reproduce.jigsaw_solver import assemble
from reproduce.security_pipeline import MODES, MULTIPLE, Sent, send
from reproduce.stego_statistics import StegoStatistics

SOURCES = ("truth", "revealed", "restored")
"""Pictures whose blocks are put together: the clean photo, and what LIH's weights reveal from either stego image."""
SIDE = 256  # of a picture on a sheet
SHOWN = ("LIH's weights and the key", "restored stego image", "Haar band of the restored stego image")
AS_SEEN = ("LIH's weights and the key", "restored stego image", "LIH's weights without the key")
"""Attacks whose pictures are shown as they are; the others are hardly visible without the levels of the truth."""


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
        shares = {"found": self.found, "kept": self.kept}
        means = {name: {k: round(fmean(v), 4) for k, v in each.items()} for name, each in shares.items()}
        return {**means, "solved": min(self.solved, *map(len, self.found.values()))}


def scrambled_source(sent: Sent, source: str) -> Tensor:
    """One of the pictures that an attacker puts together, scrambled: (1, 3, H, W)."""
    return sent.scrambled(sent.truth) if source == "truth" else getattr(sent, source)


def solved(sent: Sent, scrambled: Tensor) -> tuple[Tensor, Tensor]:
    """The picture that the solver puts together from a scrambled one (1, 3, H, W), and its index as in `jigsaw`."""
    assert sent.block is not None
    index = torch.arange(scrambled.numel()).view_as(scrambled)
    chosen = assemble(scrambled[0], sent.block)
    return placed(scrambled[0], sent.block, chosen), placed(sent.scrambled(index)[0], sent.block, chosen)


def measured(
    networks: Networks,
    pairs: Sequence[Pair],
    name: str,
    *,
    tasks: Sequence[str],
    estimators: Mapping[str, Estimator],
    few: int,
) -> dict[str, dict[str, object]]:
    """The results of all attacks of one mode.

    Args:
        networks: The networks of the client and the cloud.
        pairs: The photos, with sides that are multiples of the block.
        name: The name of the mode.
        tasks: The damage of the secrets.
        estimators: Attacks on one stego image, by name.
        few: Number of pairs for the slow parts: solved puzzles and repeated use.
    """
    block = MODES[name]
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
    results["repeated"] = {}
    few = min(few, len(pairs))
    with progress_bar(total=len(tasks) * few, desc=f"{name}, repeated", unit="secret") as bar:
        for task in tasks:
            figures = []
            for number in range(few):
                figures.append(repeated(networks.lih, pairs[number], task, number=number, block=block))
                bar.update()
            results["repeated"][task] = rounded_means(figures)
    return results


@torch.no_grad()
def draw(path: Path, networks: Networks, name: str, *, task: str, estimators: Mapping[str, Estimator]) -> None:
    """Writes the sheet of one mode: what attackers see of a photo inside scikit-image, which may be published."""
    block = MODES[name]
    _, held_out = photos.hold_out(photos.bundled_photos(), photos.HELD_OUT)
    pair = evaluation_pairs(held_out, multiple=MULTIPLE, swap=False)[0]
    sent = send(networks, pair, task, number=0, block=block)
    found = pictures(sent, estimators)
    panels = [Panel("photo", "what is to be protected", sent.truth[0])]
    for attack in (*SHOWN, *estimators, "LIH's weights without the key"):
        estimate = likest(found[attack], sent.truth)
        caption = f"correlation {correlation(estimate, sent.truth):.2f}"
        shown = estimate.clamp(0, 1) if attack in AS_SEEN else levelled(estimate, sent.truth)
        panels.append(Panel(attack, caption, shown[0]))
    if block is not None:
        panels += [_block(sent, block), *(_solution(sent, source, block) for source in ("restored", "truth"))]
    rows = [panels[start : start + 4] for start in range(0, len(panels), 4)]
    save_sheet(path, rows, panel=SIDE, heading=f"{name}: what each attacker sees of a secret")


def _block(sent: Sent, block: int) -> Panel:
    """The block of the secret with most contrast, as LIH's weights show it, enlarged."""
    blocks = blocks_of(sent.restored[0].clamp(0, 1), block)  # (N, 3, t, t)
    shown = blocks[int(blocks.flatten(2).std(dim=-1).sum(dim=1).argmax())]
    enlarged = shown.repeat_interleave(SIDE // block, dim=1).repeat_interleave(SIDE // block, dim=2)
    return Panel("one block", f"{block} x {block} pixels, enlarged, from LIH's weights without the key", enlarged)


def _solution(sent: Sent, source: str, block: int) -> Panel:
    """The picture that the greedy solver puts together."""
    picture, index = upright(*solved(sent, scrambled_source(sent, source)))
    title = "blocks put together" if source == "restored" else "blocks put together, of the clean photo"
    caption = f"{neighbours_kept(index, block):.0%} of the neighbours right, from "
    caption += "LIH's weights without the key" if source == "restored" else "a perfect view of the blocks"
    return Panel(title, caption, picture.clamp(0, 1))
