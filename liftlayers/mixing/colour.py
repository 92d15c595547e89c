"""Colour transforms from integers to integers, whose inverses are exact, bit for bit."""

import torch
from torch import Tensor

from liftlayers.functional._integer_steps import floor_of_mean
from liftlayers.functional.lossless import require_integers
from liftlayers.invertible import VolumePreserving


class LosslessColour(VolumePreserving):
    r"""A colour transform from integers to integers, which separates brightness from colour without loss.

    ``"rct"`` is the reversible transform of JPEG 2000, for red, green and blue :math:`r, g, b`,

    .. math::

        y = \left\lfloor \tfrac14 (r + 2 g + b) \right\rfloor, \qquad u = b - g, \qquad v = r - g

    and ``"ycocg-r"`` is that of H.264 and JPEG XR,

    .. math::

        c_o = r - b, \quad t = b + \left\lfloor \tfrac12 c_o \right\rfloor, \quad c_g = g - t, \quad
        y = t + \left\lfloor \tfrac12 c_g \right\rfloor

    Both consist of lifting steps. The channels come in the order :math:`y, u, v` or :math:`y, c_o, c_g`. Brightness has
    the range of the colours; the other two need one more bit for the sign. The dtype does not change. Sums that leave
    its range wrap around, and the inverse returns every bit of every input, so uint8 works too; call
    ``.to(torch.int16)`` to see the true differences of 8-bit colours.

    Args:
        name: ``"rct"`` or ``"ycocg-r"``.

    Shape:
        - Forward: :math:`(B, 3, *)` to :math:`(B, 3, *)`; uint8, int8, int16, int32 or int64, of any range.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor has none of these dtypes.
        ValueError: If the name is unknown, or a tensor has another shape.

    References:
        [T800]_, annex G; [Malvar2003]_.

    Example:
        >>> colour = LosslessColour("ycocg-r")
        >>> grey = torch.full((1, 3, 1, 1), 77)
        >>> colour(grey).flatten()
        tensor([77,  0,  0])
        >>> photo = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
        >>> chain = Sequential(colour, LosslessWavelet())
        >>> torch.equal(chain.inverse(*chain(photo)), photo)
        True
    """

    def __init__(self, name: str = "rct") -> None:
        super().__init__()
        if name not in FORWARD:
            raise ValueError(f"LosslessColour needs 'rct' or 'ycocg-r', got {name!r}")
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(FORWARD[self.name](*_channels("LosslessColour", x)), dim=1)

    def inverse(self, x: Tensor) -> Tensor:
        return torch.stack(INVERSE[self.name](*_channels("LosslessColour.inverse", x)), dim=1)

    def extra_repr(self) -> str:
        return repr(self.name)


Channels = tuple[Tensor, Tensor, Tensor]


def _channels(who: str, x: Tensor) -> tuple[Tensor, ...]:
    require_integers(who, x)
    if x.ndim < 2 or x.shape[1] != 3:
        raise ValueError(f"{who} needs a (B, 3, ...) tensor, got {tuple(x.shape)}")
    return x.unbind(dim=1)


def _rct(red: Tensor, green: Tensor, blue: Tensor) -> Channels:
    u, v = blue - green, red - green
    return green + (floor_of_mean(u, v) >> 1), u, v


def _inverse_rct(y: Tensor, u: Tensor, v: Tensor) -> Channels:
    green = y - (floor_of_mean(u, v) >> 1)
    return v + green, green, u + green


def _ycocg(red: Tensor, green: Tensor, blue: Tensor) -> Channels:
    orange = red - blue
    mean = blue + (orange >> 1)
    difference = green - mean
    return mean + (difference >> 1), orange, difference


def _inverse_ycocg(y: Tensor, orange: Tensor, difference: Tensor) -> Channels:
    mean = y - (difference >> 1)
    blue = mean - (orange >> 1)
    return blue + orange, difference + mean, blue


FORWARD = {"rct": _rct, "ycocg-r": _ycocg}
INVERSE = {"rct": _inverse_rct, "ycocg-r": _inverse_ycocg}
