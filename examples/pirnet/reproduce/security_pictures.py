"""Sheets of what each attacker sees of one secret."""

from collections.abc import Mapping
from pathlib import Path

import torch
from pirnet.data import Pair
from pirnet.evaluation import Networks
from pirnet.support.sheets import Panel, save_sheet
from torch import Tensor

from reproduce.attacks import Estimator, correlation, levelled, likest, pictures
from reproduce.jigsaw import neighbours_kept, upright
from reproduce.security_modes import scrambled_source, solved
from reproduce.security_pipeline import Sent, send

SIDE = 256  # of a picture on a sheet
SHOWN = ("LIH's weights and the key", "restored stego image", "Haar band of the restored stego image")
SHOWN_LAST = ("LIH's weights without the key",)
AS_SEEN = ("LIH's weights and the key", "restored stego image", "LIH's weights without the key")
"""Attacks whose pictures are shown as they are; the others are hardly visible without the levels of the truth."""


@torch.no_grad()
def draw(
    path: Path,
    networks: Networks,
    pair: Pair,
    *,
    name: str,
    block: int | None,
    task: str,
    estimators: Mapping[str, Estimator],
) -> None:
    """Writes the sheet of one mode."""
    sent = send(networks, pair, task, number=0, block=block)
    found = pictures(sent, estimators)
    wanted = [*SHOWN, *(each for each in estimators if each in found), *SHOWN_LAST]
    panels = [Panel("photo", "what is to be protected", sent.truth[0])]
    for attack in wanted:
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
    image = sent.restored[0].clamp(0, 1)
    rows, columns = (side // block for side in image.shape[-2:])
    whole = (
        image[:, : rows * block, : columns * block].unfold(1, block, block).unfold(2, block, block)
    )  # (3, m, n, t, t)
    number = int(whole.flatten(3).std(dim=-1).sum(dim=0).argmax())
    shown = whole[:, number // columns, number % columns]
    factor = SIDE // block
    enlarged: Tensor = shown.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    return Panel("one block", f"{block} x {block} pixels, enlarged, from LIH's weights without the key", enlarged)


def _solution(sent: Sent, source: str, block: int) -> Panel:
    """What the greedy solver makes of the blocks."""
    picture, index = upright(*solved(sent, scrambled_source(sent, source)))
    title = "blocks put together" if source == "restored" else "blocks put together, of the clean photo"
    caption = f"{neighbours_kept(index, block):.0%} of the neighbours right, from "
    caption += "LIH's weights without the key" if source == "restored" else "a perfect view of the blocks"
    return Panel(title, caption, picture.clamp(0, 1))
