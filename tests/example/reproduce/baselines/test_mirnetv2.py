"""MIRNet-v2: its number of parameters, a second implementation of its equations, and properties of its parts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce.baselines.mirnetv2 import ContextBlock, Fusion, MIRNetV2, MultiScaleBlock
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)

Weights = dict[str, Tensor]


def convolve(weights: Weights, name: str, x: Tensor, groups: int = 1) -> Tensor:
    weight = weights[f"{name}.weight"]
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)


def bent(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def context_block(weights: Weights, name: str, x: Tensor, parts: int) -> Tensor:
    y = convolve(weights, f"{name}.body.2", bent(convolve(weights, f"{name}.body.0", x, parts)), parts)
    mask = convolve(weights, f"{name}.mask", y).exp()
    mean = (mask / mask.sum(dim=(2, 3), keepdim=True) * y).sum(dim=(2, 3), keepdim=True)
    return x + bent(y + convolve(weights, f"{name}.context.2", bent(convolve(weights, f"{name}.context.0", mean))))


def fused(weights: Weights, name: str, upper: Tensor, lower: Tensor) -> Tensor:
    squeezed = bent(convolve(weights, f"{name}.weights.0", (upper + lower).mean(dim=(2, 3), keepdim=True)))
    first, second = convolve(weights, f"{name}.weights.2", squeezed).chunk(2, dim=1)
    share = first.exp() / (first.exp() + second.exp())
    return share * upper + (1 - share) * lower


def halved(weights: Weights, name: str, x: Tensor) -> Tensor:
    four = [x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return convolve(weights, name, torch.stack(four).mean(dim=0))


def doubled(weights: Weights, name: str, x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    y = convolve(weights, name, x)
    return F.interpolate(y, (2 * height, 2 * width), mode="bilinear", align_corners=False)


def multi_scale_block(weights: Weights, x: Tensor, parts: int) -> Tensor:
    streams = [x, halved(weights, "to_half.1", x)]
    streams.append(halved(weights, "to_quarter.1.1", halved(weights, "to_quarter.0.1", x)))
    for use in (0, 1):
        full, half, quarter = (context_block(weights, f"contexts.{i}", y, parts) for i, y in enumerate(streams))
        half = fused(weights, "fuse_half", half, doubled(weights, f"from_quarter.{use}.0", quarter))
        full = fused(weights, "fuse_full", full, doubled(weights, f"from_half.{use}.0", half))
        streams = [full, half, quarter]
    return x + convolve(weights, "last", streams[0])


def test_it_is_of_the_published_size() -> None:
    with torch.device("meta"):
        net = MIRNetV2()
    assert num_parameters(net) == 5_858_560
    assert [num_parameters(group) for group in net.groups] == [2_421_160, 1_463_560, 984_760, 984_760]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), parts=st.sampled_from([1, 2, 4]), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_a_block_is_what_the_paper_draws(seed: int, parts: int, rows: int, columns: int) -> None:
    """A multi-scale block equals a second implementation of the paper's figure."""
    block = randomise_(MultiScaleBlock(16, parts), seed).double()
    x = image(2, 16, 4 * rows, 4 * columns, seed=seed)
    torch.testing.assert_close(block(x), multi_scale_block(block.state_dict(), x, parts), rtol=1e-12, atol=1e-12)
    assert (block(x) - x).abs().mean() > 0.001  # so that the identity does not pass


def test_groups_of_blocks_follow_each_other() -> None:
    """The whole network is its groups of blocks one after the other, each added to its input."""
    net, x = randomise_(MIRNetV2(width=16)).double(), image(1, 3, 8, 12)
    weights = net.state_dict()
    y = convolve(weights, "first", x)
    for number, parts in enumerate((1, 2, 4, 4)):
        group = y
        for block in (0, 1):
            prefix = f"groups.{number}.{block}."
            inside = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
            group = multi_scale_block(inside, group, parts)
        y = y + convolve(weights, f"groups.{number}.2", group)
    torch.testing.assert_close(net(x), x + convolve(weights, "last", y), rtol=1e-12, atol=1e-12)


def test_a_fusion_of_equals_is_either() -> None:
    """The fusion of two equal streams returns that stream, since its weights add up to one."""
    fusion, x = randomise_(Fusion(16)).double(), image(2, 16, 3, 5)
    torch.testing.assert_close(fusion(x, x), x)


def test_context_reaches_every_pixel() -> None:
    """A change of one corner pixel changes the opposite corner through the context of the whole image."""
    block, x = randomise_(ContextBlock(4, 1)).double(), image(1, 4, 16, 16)
    other = x.clone()
    other[..., 0, 0] += 1
    assert (block(other) - block(x)).abs()[..., -1, -1].min() > 0


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="MIRNetV2 needs a width divisible by 16, got 24"):
        MIRNetV2(width=24)
