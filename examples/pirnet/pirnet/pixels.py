"""Images as tensors: how they are checked, rounded to 8 bits and compared in grey levels."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pirnet.config import Pipeline


def quantise_uint8(x: Tensor) -> Tensor:
    r"""Rounds to what an 8-bit file can hold; its gradient is that of the identity, everywhere.

    .. math:: y = \tfrac{1}{255} \operatorname{round}(255 \min(\max(x, 0), 1)), \qquad
              \frac{\partial y}{\partial x} := 1

    The gradient passes outside :math:`[0, 1]` too; otherwise a clamped pixel could never come back.

    Args:
        x: Values around :math:`[0, 1]`, floating point, of any shape. (bfloat16 cannot represent all 256 levels.)

    Raises:
        TypeError: `x` is not floating point.

    References:
        The straight-through estimator: Bengio, Leonard, Courville, arXiv:1308.3432 (2013).

    Example:
        >>> quantise_uint8(torch.tensor([-0.2, 0.4, 1.7])) * 255
        tensor([  0., 102., 255.])
    """
    if not x.is_floating_point():
        raise TypeError(f"quantise_uint8 needs a floating-point tensor, got {x.dtype}")
    return _StraightThrough.apply(x)


def grey_levels(x: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to the grey levels 0, 1, ..., 255, still as floating point; NaN stays NaN.

    Args:
        x: Values around :math:`[0, 1]`, floating point, of any shape.
    """
    return x.clamp(0, 1).mul(255).round()


def to_uint8(x: Tensor) -> Tensor:
    """Rounds an image in [0, 1] to uint8 grey levels.

    Args:
        x: Finite values around :math:`[0, 1]`, floating point, of any shape.
    """
    return grey_levels(x.detach()).to(torch.uint8)


def as_sent(stego: Tensor, pipeline: Pipeline) -> Tensor:
    """A stego image (B, 3, H, W) as the other side receives it: rounded to 8 bit, or as computed."""
    return quantise_uint8(stego) if pipeline == "uint8" else stego


def with_headroom(cover: Tensor, levels: int) -> Tensor:
    """A cover in [0, 1] without its `levels` darkest and brightest grey levels, which become the next ones."""
    return cover.clamp(levels / 255, 1 - levels / 255) if levels else cover


def smooth_borders(image: Tensor, block: int) -> Tensor:
    r"""Makes jumps at the borders of blocks smaller: the cloud restores each block of a scrambled photo on its own.

    .. math:: b' = b + \tfrac{1}{4} j, \quad c' = c - \tfrac{1}{4} j, \qquad
              j = \operatorname{clamp}\bigl(c - b - \tfrac{1}{2} (b - a + d - c), \pm 0.1\bigr)

    for each four pixels a, b, c, d in a row or column whose middle is a border. On CBSD68 that brings secrets 0.03 to
    0.18 dB closer to the truth.

    Args:
        image: Values around :math:`[0, 1]`, :math:`(..., H, W)`.
        block: Height and width of a block, at least 4 pixels.
    """
    for _ in range(2):
        image = image.mT.clone()
        first = torch.arange(block, max(block, image.shape[-2] - 1), block)  # the pixels behind the borders
        a, b, c, d = (image[..., first + offset, :] for offset in (-2, -1, 0, 1))
        jump = (c - b - (b - a + d - c) / 2).clamp(-0.1, 0.1)
        image[..., first - 1, :] += jump / 4
        image[..., first, :] -= jump / 4
    return image


def centred(image: Tensor, height: int, width: int) -> Tensor:
    """The centre of an image (..., H, W), at most that high and that wide."""
    top, left = max(0, image.shape[-2] - height) // 2, max(0, image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def upright(image: Tensor, orientation: int) -> Tensor:
    """Turns an image (..., H, W) as its EXIF orientation says: from 5 on transposed, then flipped."""
    flipped = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}.get(orientation, ())
    return (image.transpose(-1, -2) if orientation > 4 else image).flip(flipped)


def oriented(image: Tensor, number: int) -> Tensor:
    """One of the eight flips and quarter turns of an image (..., H, W), 0 to 7; from 4 on, the sides change places."""
    for bit, dim in ((1, -1), (2, -2)):
        image = image.flip(dim) if number & bit else image
    return image.transpose(-1, -2) if number & 4 else image


def even_part(image: Tensor) -> Tensor:
    """An image (..., H, W) without its last row or column where a side is odd: the part that Haar bands can hold."""
    height, width = image.shape[-2:]
    return image[..., : height - height % 2, : width - width % 2]


def with_odd_edge_of(original: Tensor, image: Tensor) -> Tensor:
    """The image (..., H, W) with the original's last row or column where a side is odd: nothing is hidden there."""
    result = original.clone()
    even_part(result).copy_(even_part(image))
    return result


def common_size(sizes: Mapping[str, Sequence[int]], *, multiple: int, most: int) -> tuple[int, int]:
    """Height and width of the largest crop of some photos, a multiple of a number.

    Args:
        sizes: Height and width of each photo, by name.
        multiple: What height and width are made a multiple of.
        most: The largest height and width, in pixels.

    Raises:
        ValueError: If there is no such crop.
    """
    height, width = (min(*sides, most) // multiple * multiple for sides in zip(*sizes.values(), strict=True))
    if height == 0 or width == 0:
        got = ", ".join(f"{height} x {width} for {name}" for name, (height, width) in sizes.items())
        needs = f"photos of at least {multiple} x {multiple} pixels (height x width)"
        raise ValueError(f"evaluation_pairs needs {needs}, got {got}")
    return height, width


def check_images(
    who: str, *images: Tensor, batched: bool = True, channels: int = 3, multiple: int = 1, least: int = 1
) -> None:
    """Refuses everything but floating-point images of one shape.

    Args:
        who: The function or network that needs them, for the message.
        images: The tensors to check, :math:`(B, C, H, W)` where `batched`, else :math:`(C, H, W)`.
        batched: Whether each tensor is a batch.
        channels: The number of channels :math:`C`.
        multiple: What height and width must be divisible by.
        least: The smallest height and width, in pixels.

    Raises:
        TypeError: An image is not floating point.
        ValueError: An image has another shape, or the shapes differ.
    """
    for x in images:
        if not x.is_floating_point():
            raise TypeError(f"{who} needs a floating-point image, got {x.dtype}")
        if x.ndim != 3 + batched or x.shape[-3] != channels or x.numel() == 0:
            needs = f"({'B, ' * batched}{channels}, H, W)"
            kind = "an RGB" if channels == 3 else "a grey"
            raise ValueError(f"{who} needs {kind} image of shape {needs}, got {tuple(x.shape)}")
        if x.shape != images[0].shape:  # they might broadcast
            raise ValueError(f"{who} needs images of one shape, got {tuple(images[0].shape)} and {tuple(x.shape)}")
    height, width = images[0].shape[-2:]
    if height % multiple or width % multiple:
        raise ValueError(f"{who} needs sides divisible by {multiple}, got {height} x {width}")
    if min(height, width) < least:
        raise ValueError(f"{who} needs at least {least} pixels a side, got {height} x {width}")


class _StraightThrough(torch.autograd.Function):
    # x + (q - x).detach() has the same gradient, but its sum is not exactly a multiple of 1/255.
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return grey_levels(x) / 255

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: object, *grad_outputs: Tensor) -> Tensor:  # noqa: ARG004
        return grad_outputs[0]
