"""Jigsaw puzzles of scrambled blocks: which blocks are neighbours, and what picture a greedy solver puts together.

The solver sees only the scrambled picture. It tries every block in all 96 views: eight turns and reflections, six
orders of colour, and two polarities.
"""

from collections.abc import Sequence
from itertools import permutations

import torch
from einops import rearrange
from pirnet.pixels import oriented
from torch import Tensor

VIEWS = 96
COLOURS = tuple(permutations(range(3)))
SIDES = {(-1, 0): 0, (0, -1): 1, (1, 0): 2, (0, 1): 3}
"""The number of the side of a block that lies towards (down, right)."""


def blocks_of(image: Tensor, block: int) -> Tensor:
    """The whole blocks (N, 3, t, t) of an image (3, H, W), row by row, without those that its border cuts."""
    rows, columns = grid_of(image, block)
    whole = image[:, : rows * block, : columns * block]
    return rearrange(whole, "c (m h) (n w) -> (m n) c h w", h=block, w=block)


def grid_of(image: Tensor, block: int) -> tuple[int, int]:
    """The numbers of whole blocks, down and across.

    Raises:
        ValueError: If there are fewer than two.
    """
    rows, columns = (side // block for side in image.shape[-2:])
    if rows * columns < 2:
        raise ValueError(f"a puzzle needs at least two blocks of {block}, got an image of {tuple(image.shape[-2:])}")
    return rows, columns


def views(blocks: Tensor) -> Tensor:
    """All views (N, 96, 3, t, t) of blocks (N, 3, t, t); the first is the block itself, the last 48 are negatives."""
    return torch.stack(_views(blocks), dim=1)


def borders(image: Tensor, block: int) -> Tensor:
    """What each view of each block predicts half a pixel outside its four sides, by linear extrapolation.

    Returns:
        A tensor (N, 96, 4, 3t), for the sides at the top, left, bottom and right.
    """
    seen = views(blocks_of(image, block))
    rows = ((seen[..., 0, :], seen[..., 1, :]), (seen[..., 0], seen[..., 1]))
    rows += ((seen[..., -1, :], seen[..., -2, :]), (seen[..., -1], seen[..., -2]))
    return torch.stack([(1.5 * edge - 0.5 * inner).flatten(-2) for edge, inner in rows], dim=2)


def neighbour_retrieval(images: Sequence[Tensor], block: int) -> float:
    """The share of true neighbours that fit best among all blocks, sides, reflections, colour orders and polarities.

    Two sides fit if their extrapolations differ little, in squares. Scrambling only renames the blocks and their
    views, so the images are given unscrambled: this is what a solver finds in the scrambled ones.

    Args:
        images: One or more images (3, H, W) that were scrambled alike, whose differences are added.
        block: The size of the blocks.
    """
    lines = torch.cat([borders(image, block) for image in images], dim=-1)  # (N, 96, 4, 3t * images)
    rows, columns = grid_of(images[0], block)
    places = torch.arange(rows * columns).view(rows, columns)
    right = total = 0
    for (down, across), side in SIDES.items():
        here = places[max(0, -down) : rows - max(0, down), max(0, -across) : columns - max(0, across)].flatten()
        true = here + down * columns + across
        costs = _costs(lines[here, 0, side], lines[:, :, (side + 2) % 4])  # (queries, N, 96)
        costs[torch.arange(len(here)), here] = torch.inf
        right += int((costs.flatten(1).argmin(dim=1) == VIEWS * true).sum())
        total += len(here)
    return right / total


def placed(image: Tensor, block: int, chosen: Tensor) -> Tensor:
    """Puts a picture together: each place gets one block of an image, in one view.

    Args:
        image: The image (3, H, W) that is cut into blocks; of integers, for instance indices, or floating point.
        block: The size of the blocks.
        chosen: 96 times the number of the block plus the number of its view, for each place (rows, columns).
    """
    seen = views(blocks_of(image, block)).flatten(0, 1)[chosen.flatten()]
    return rearrange(seen, "(m n) c h w -> c (m h) (n w)", m=chosen.shape[0])


def matched(scrambled: Tensor, known: Tensor, block: int) -> Tensor:
    """Reads a key off a scrambled image whose content is known: the block and view that is most like each place.

    Args:
        scrambled: The scrambled image (3, H, W), perhaps with noise.
        known: The same image, not scrambled.
        block: The size of the blocks.

    Returns:
        The blocks and views, as `placed` needs them.
    """
    wanted, seen = blocks_of(known, block).flatten(1), blocks_of(scrambled, block)
    best = torch.full((len(wanted),), torch.inf)
    chosen = torch.zeros(len(wanted), dtype=torch.long)
    for number, one in enumerate(seen.split(1)):  # one at a time, to save memory
        cost, view = _costs(wanted, views(one).flatten(2))[:, 0].min(dim=1)
        better = cost < best
        best, chosen = best.where(~better, cost), chosen.where(~better, VIEWS * number + view)
    return chosen.view(grid_of(known, block))


def neighbours_kept(index: Tensor, block: int) -> float:
    """The share of neighbours in a picture of blocks that are neighbours in the original, in any common view.

    Args:
        index: The numbers 0, 1, 2, ... of all values of an image (3, H, W), scrambled and placed like the picture.
        block: The size of the blocks.
    """
    kept = total = 0
    for side in (index, index.transpose(-1, -2)):
        edge = torch.arange(block, side.shape[-1], block)
        step = rearrange(side[..., edge] - side[..., edge - 1], "c (m h) n -> (m n) (c h)", h=block)
        inner = rearrange(side[..., edge - 1] - side[..., edge - 2], "c (m h) n -> (m n) (c h)", h=block)
        kept += int((step == inner).all(dim=1).sum())
        total += len(step)
    return kept / total


def upright(picture: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Turns a solved picture and its index as a person would: into the view in which most blocks are upright.

    Args:
        picture: The picture (3, H, W).
        index: Its index, as in `neighbours_kept`.
    """
    place = index.numel() // 3
    channel = torch.arange(3).view(3, 1, 1)
    best, chosen = -1, (picture, index)
    for seen, indices in zip(_views(picture), _views(index), strict=True):
        across = (indices[..., 1:] - indices[..., :-1] == 1) & (indices[..., 1:] // place == channel)
        down = indices[..., 1:, :] - indices[..., :-1, :] == indices.shape[-1]
        if (score := int(across.sum()) + int(down.sum())) > best:
            best, chosen = score, (seen, indices)
    return chosen


def _views(image: Tensor) -> list[Tensor]:
    """The 96 views of an image (..., 3, H, W), which may be oblong, of floating point or of integers."""
    turned = [oriented(image, number) for number in range(8)]
    coloured = [each[..., list(order), :, :] for order in COLOURS for each in turned]
    return coloured + [1 - each if image.is_floating_point() else ~each for each in coloured]


def _costs(queries: Tensor, candidates: Tensor) -> Tensor:
    """Squared distances, without the part that all candidates of a query share: (Q, D) and (N, V, D) to (Q, N, V)."""
    flat = candidates.flatten(0, 1)
    norms = flat.square().sum(dim=1)
    return torch.addmm(norms, queries, flat.T, alpha=-2).view(len(queries), *candidates.shape[:2])
