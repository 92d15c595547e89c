"""A greedy solver of jigsaw puzzles: it places the block that fits most clearly, until all are placed."""

import torch
from torch import Tensor

from reproduce.jigsaw import SIDES, VIEWS, borders, grid_of

STARTS = 64  # blocks, at least, that are tried as the first one


def assemble(scrambled: Tensor, block: int) -> Tensor:
    """Puts the blocks of a scrambled image together without the key.

    It begins with a block whose best neighbour is clear. Then it goes on with the place next to placed blocks at
    which the best block is clearest: its cost is the lowest share of that of the second best block.

    Args:
        scrambled: The image (3, H, W).
        block: The size of the blocks.

    Returns:
        The block and view at each place (rows, columns), as `reproduce.jigsaw.placed` needs them. The whole may be
        turned: then there are as many rows as the image has columns of blocks.
    """
    lines = borders(scrambled, block)
    return _Solver(lines, grid_of(scrambled, block)).solve()


class _Solver:
    def __init__(self, lines: Tensor, grid: tuple[int, int]) -> None:
        self.lines = lines  # (N, 96, 4, 3t)
        self.norms = lines.square().sum(dim=-1)  # (N, 96, 4)
        self.grid = grid
        self.placed: dict[tuple[int, int], int] = {}
        self.free = torch.ones(len(lines), dtype=torch.bool)
        self.costs: dict[tuple[int, int], tuple[Tensor, int]] = {}
        """The sum of costs (N, 96) at a place next to placed blocks, and how many of them it is next to."""
        self.best: dict[tuple[int, int], tuple[float, int, int]] = {}
        """How clear the best block is at such a place, that block with its view, and the second best block."""

    def solve(self) -> Tensor:
        self._place((0, 0), VIEWS * self._clearest())
        while len(self.placed) < len(self.lines):
            place = min(self.best, key=lambda each: self.best[each][0])
            self._place(place, self.best[place][1])
        places = torch.tensor(list(self.placed))
        rows, columns = (places - places.amin(dim=0)).unbind(dim=1)
        chosen = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1, dtype=torch.long)
        chosen[rows, columns] = torch.tensor(list(self.placed.values()))
        return chosen

    def _clearest(self) -> int:
        """The block, among a sample of all, that has the clearest neighbour at one of its sides."""
        found = []
        for number in range(0, len(self.lines), max(1, len(self.lines) // STARTS)):
            self.free[number] = False
            found += [(self._judged(self._cost(number, 0, side))[0], number) for side in range(4)]
            self.free[number] = True
        return min(found)[1]

    def _place(self, place: tuple[int, int], view: int) -> None:
        block = view // VIEWS
        self.placed[place] = view
        self.free[block] = False
        self.costs.pop(place, None)
        self.best.pop(place, None)
        changed = [each for each, best in self.best.items() if block in (best[1] // VIEWS, best[2])]
        for (down, across), side in SIDES.items():
            neighbour = place[0] + down, place[1] + across
            if neighbour not in self.placed:
                before, count = self.costs.get(neighbour, (torch.zeros(()), 0))
                self.costs[neighbour] = before + self._cost(block, view % VIEWS, side), count + 1
                changed.append(neighbour)
        for outside in [each for each in self.costs if not self._fits(each)]:
            self.costs.pop(outside)
            self.best.pop(outside, None)
        if self.free.any():
            for each in set(changed) & self.costs.keys():
                total, count = self.costs[each]
                self.best[each] = self._judged(total / count)

    def _cost(self, block: int, view: int, side: int) -> Tensor:
        """The costs (N, 96) of all blocks and views at a side of a block in one view."""
        line, opposite = self.lines[block, view, side], (side + 2) % 4
        costs = self.norms[:, :, opposite] - 2 * self.lines[:, :, opposite] @ line + self.norms[block, view, side]
        return costs.clamp(min=0)

    def _judged(self, costs: Tensor) -> tuple[float, int, int]:
        """The cost of the best free block as a share of the second best, that block and view, and the second block."""
        least, view = costs.masked_fill(~self.free[:, None], torch.inf).min(dim=1)
        two = least.topk(min(2, len(least)), largest=False)
        first, second = int(two.indices[0]), int(two.indices[-1])
        ratio = float((two.values[0] + 1e-6) / (two.values[-1] + 1e-6))
        return ratio, VIEWS * first + int(view[first]), second

    def _fits(self, place: tuple[int, int]) -> bool:
        """Whether the picture still fits into the image, perhaps turned, if this place is filled."""
        height, width = (max(taken) - min(taken) + 1 for taken in zip(*self.placed, place, strict=True))
        return any(height <= rows and width <= columns for rows, columns in (self.grid, self.grid[::-1]))
