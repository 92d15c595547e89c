"""Large photos in bounded memory: a network on overlapping tiles, one after the other."""

__all__ = ["reach", "tiled"]

from collections.abc import Callable

import torch
from torch import Tensor, nn

PROBE = 256


def tiled(function: Callable[..., Tensor], *images: Tensor, tile: int, overlap: int) -> Tensor:
    """Calls a function on tiles of its images instead of the whole, and joins what it makes of them.

    Each tile is given with `overlap` more pixels on every side, as far as the image has them, and these are cropped off
    again. If a pixel of the result depends on none further away (`reach`), the result is that of the whole image, but
    for rounding; means over the image, as in a NAFBlock, become means over a tile and its overlap.

    Args:
        function: Some images to one of the same shape.
        images: Images (B, C, H, W) of one shape.
        tile: Side of a tile in pixels, a multiple of the network's coarsest pixel.
        overlap: Pixels to see around it, a multiple of the same.

    Raises:
        ValueError: If `tile` is below 1 or `overlap` below 0.

    Example:
        >>> blur = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        >>> image = torch.rand(1, 3, 50, 70)
        >>> torch.allclose(tiled(blur, image, tile=16, overlap=1), blur(image))
        True
    """
    if tile < 1 or overlap < 0:
        raise ValueError(f"tiled needs a tile of at least 1 and an overlap of at least 0 pixels, got {tile}, {overlap}")
    whole = torch.empty_like(images[0])
    height, width = whole.shape[-2:]
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            y, x = max(top - overlap, 0), max(left - overlap, 0)
            part = function(*(image[..., y : top + tile + overlap, x : left + tile + overlap] for image in images))
            whole[..., top : top + tile, left : left + tile] = part[..., top - y :, left - x :][..., :tile, :tile]
    return whole


def reach(function: Callable[..., Tensor], network: nn.Module, *, num_images: int = 1) -> int:
    r"""How far a pixel of the result looks, in pixels: the radii of all convolutions that run, added up.

    .. math:: \sum_i s_i\, d_i \lfloor k_i / 2 \rfloor

    where convolution :math:`i` has kernel size :math:`k_i` and dilation :math:`d_i` and runs on pixels :math:`s_i`
    times as large as the image's. That is exact for a chain and a bound where convolutions run side by side. It is
    rounded up to a multiple of the coarsest pixel, so that tiles stay on the grid of every scale. Means over the image
    are not counted.

    Args:
        function: What calls the network, on images (1, 3, H, W).
        network: The network, with at least one kernel larger than 1x1.
        num_images: Number of images that the function takes.

    Example:
        >>> chain = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 3, 3, padding=1))
        >>> reach(chain, chain)
        3
    """
    pixels, coarsest = 0, 1

    def add(module: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal pixels, coarsest
        assert isinstance(module, nn.Conv2d)
        scale = PROBE // inputs[0].shape[-1]
        pixels += scale * module.dilation[0] * (module.kernel_size[0] // 2)
        coarsest = max(coarsest, scale * module.stride[0])

    # A 1x1 kernel sees a pixel alone, and that of a NAFBlock's attention runs on means.
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    hooks = [convolution.register_forward_pre_hook(add) for convolution in convolutions]
    try:
        function(*[convolutions[0].weight.new_zeros(1, 3, PROBE, PROBE)] * num_images)
    finally:
        for hook in hooks:
            hook.remove()
    return -(-pixels // coarsest) * coarsest
