"""Neighbours are found in smooth pictures, not in noise, and the solver puts scrambled blocks together."""

import pytest
import torch
from reproduce.jigsaw import VIEWS, blocks_of, matched, neighbour_retrieval, neighbours_kept, placed, upright, views
from reproduce.jigsaw_solver import assemble
from torch import Tensor

from liftlayers.functional import scramble_blocks
from tests.example.helpers import smooth_image

KEY = bytes(range(32))


def picture(height: int = 64, width: int = 96) -> Tensor:
    """A smooth picture with waves, so that no two borders are alike: (3, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(height) / 64, torch.arange(width) / 64, indexing="ij")
    waves = torch.stack(
        [torch.sin(9 * rows * f + 5 * columns + f) + torch.cos(8 * columns * f - rows) for f in (1, 2, 3)]
    )
    return 0.5 + 0.1 * waves + 0.2 * (smooth_image(0, height, width) - 0.5)


def index_of(image: Tensor) -> Tensor:
    return torch.arange(image.numel()).view_as(image)


def scrambled(image: Tensor, block: int = 16) -> Tensor:
    return scramble_blocks(image[None], KEY, block=block)[0]


def test_views_are_96_and_differ() -> None:
    """The views of a block without symmetry are all different, and the first is the block itself."""
    block = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = views(block)[0]
    assert seen.shape == (VIEWS, 3, 4, 4)
    assert torch.equal(seen[0], block[0])
    assert len({tuple((1000 * view).round().flatten().tolist()) for view in seen}) == VIEWS


def test_every_scrambled_block_is_a_view_of_one() -> None:
    """A known secret gives the key away: the blocks and views that are read off restore the picture and others."""
    first, second = picture(), picture().flip(-1)
    chosen = matched(scrambled(first), first, 16)
    assert torch.allclose(placed(scrambled(first), 16, chosen), first, atol=1e-5)
    assert torch.allclose(placed(scrambled(second), 16, chosen), second, atol=1e-5)
    assert torch.equal(placed(scrambled(index_of(first)), 16, chosen), index_of(first))


def test_neighbours_are_found_in_pictures_and_not_in_noise() -> None:
    """Noise has no neighbours; with a second picture scrambled alike more neighbours are found."""
    assert neighbour_retrieval([picture()], 16) > 0.9
    noise = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    assert neighbour_retrieval(noise[:1], 16) < 0.1
    grainy = [image + grain for image, grain in zip((picture(), picture().flip(-1)), noise, strict=True)]
    assert neighbour_retrieval(grainy, 16) >= neighbour_retrieval(grainy[:1], 16)


def test_scrambling_does_not_change_how_many_neighbours_are_found() -> None:
    """A turned negative of the whole picture has the same puzzle."""
    image = picture() + 0.05 * torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    turned = 1 - image[[2, 0, 1]].transpose(-1, -2).flip(-1)
    assert neighbour_retrieval([image], 8) == neighbour_retrieval([turned], 8)


@pytest.mark.parametrize("block", [16, 32])
def test_the_solver_puts_a_smooth_picture_together(block: int) -> None:
    """The solver sees only the scrambled picture; the result is the original once it is turned upright."""
    image = picture()
    chosen = assemble(scrambled(image, block), block)
    assert sorted((chosen // VIEWS).flatten().tolist()) == list(range(len(blocks_of(image, block))))
    index = placed(scrambled(index_of(image), block), block, chosen)
    assert neighbours_kept(index, block) == 1
    solved, index = upright(placed(scrambled(image, block), block, chosen), index)
    assert torch.equal(index, index_of(image))
    assert torch.allclose(solved, image, atol=1e-5)


def test_kept_neighbours_are_counted() -> None:
    """All neighbours of the original are kept, and none of a reversed order of blocks that do not fit."""
    index = index_of(picture())
    assert neighbours_kept(index, 16) == 1
    assert neighbours_kept(-1 - index.flip(-1), 16) == 1
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0)).view(4, 6)
    assert neighbours_kept(placed(index, 16, VIEWS * order), 16) < 0.2
    assert neighbours_kept(placed(index, 16, VIEWS * order.sort().values + 1), 16) < 0.5


def test_one_block_is_no_puzzle() -> None:
    with pytest.raises(ValueError, match=r"at least two blocks of 64, got an image of \(64, 96\)"):
        neighbour_retrieval([picture()], 64)
