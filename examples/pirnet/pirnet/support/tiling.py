"""Large photos in bounded memory: a network runs on overlapping tiles, one after the other."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pirnet.support.progress import progress_bar

PROBE = 256


def tiled(function: Callable[..., Tensor], *images: Tensor, tile: int, overlap: int) -> Tensor:
    """Applies a function to tiles of its images and joins the results, with a progress bar.

    Each tile is extended by `overlap` pixels on every side, as far as the image has them, and the result is cropped. If
    no pixel of the result depends on pixels further away (`reach`), the result equals that of the whole image up to
    rounding; means over the image, as in a NAFBlock, become means over a tile and its overlap.

    Args:
        function: Some images to one of the same shape.
        images: Images (B, C, H, W) of one shape.
        tile: Side of a tile in pixels, a multiple of the network's coarsest pixel.
        overlap: Pixels added on each side, a multiple of the same.

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
    corners = [(top, left) for top in range(0, height, tile) for left in range(0, width, tile)]
    for top, left in progress_bar(corners, unit="tile", leave=False):
        y, x = max(top - overlap, 0), max(left - overlap, 0)
        part = function(*(image[..., y : top + tile + overlap, x : left + tile + overlap] for image in images))
        whole[..., top : top + tile, left : left + tile] = part[..., top - y :, left - x :][..., :tile, :tile]
    return whole


def reach(function: Callable[..., Tensor], network: nn.Module, *, num_images: int = 1) -> int:
    r"""The distance in pixels up to which an output pixel depends on the input: the sum of the convolutions' radii.

    .. math:: \sum_i s_i\, d_i \lfloor k_i / 2 \rfloor

    where convolution :math:`i` has kernel size :math:`k_i` and dilation :math:`d_i` and runs on pixels :math:`s_i`
    times as large as those of the image. That is exact for a chain and an upper bound for parallel convolutions. It is
    rounded up to a multiple of the coarsest pixel, so that tiles stay aligned at every scale. Means over the image are
    not counted.

    Args:
        function: Calls the network on images (1, 3, H, W).
        network: The network, with at least one kernel larger than 1x1.
        num_images: The number of images that the function takes.

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

    # 1x1 kernels add nothing to the reach; the one in the attention of a NAFBlock runs on means.
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    hooks = [convolution.register_forward_pre_hook(add) for convolution in convolutions]
    try:
        function(*[convolutions[0].weight.new_zeros(1, 3, PROBE, PROBE)] * num_images)
    finally:
        for hook in hooks:
            hook.remove()
    return -(-pixels // coarsest) * coarsest
