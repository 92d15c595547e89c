"""Zero padding of images to a multiple, for networks that halve the size of their input several times."""

import torch.nn.functional as F
from torch import Tensor

from liftlayers._checks import require_positive, require_shape


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    r"""Pads an image with zeros at the right and bottom so that both sides are multiples of a number.

    .. math:: H' = m \lceil H / m \rceil, \qquad W' = m \lceil W / m \rceil

    Cropping the result to ``[..., :H, :W]`` undoes it.

    Args:
        x: Image of shape :math:`(B, C, H, W)`, of any dtype and range.
        multiple: The number :math:`m`, at least 1; the new height and width are multiples of it.

    Returns:
        Image of shape :math:`(B, C, H', W')`; `x` itself if it needs no padding.

    Raises:
        TypeError: If `x` is no tensor, or `multiple` is no whole number.
        ValueError: If `x` is not four-dimensional or `multiple` is below 1.

    References:
        NAFNet pads its images in this way, [Chen2022]_.

    Example:
        >>> pad_to_multiple(torch.ones(1, 3, 5, 8), 4).shape
        torch.Size([1, 3, 8, 8])
    """
    require_shape("pad_to_multiple", x)
    require_positive("pad_to_multiple", multiple=multiple)
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x
