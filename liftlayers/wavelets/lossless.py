"""The lossless wavelet transforms as a layer."""

import torch
from torch import Tensor

from liftlayers._checks import require_detail, require_even, require_four_axes, require_tensors
from liftlayers.functional.lossless import lossless_dwt2d, lossless_idwt2d
from liftlayers.functional.schemes import require_scheme
from liftlayers.invertible import VolumePreserving


class LosslessWavelet(VolumePreserving):
    r"""One level of a wavelet transform from integers to integers, whose inverse returns every bit.

    .. math:: (a, d) = (c_A, [c_H; c_V; c_D]), \qquad (c_A, (c_H, c_V, c_D)) = \operatorname{lossless\_dwt2d}(x)

    It has no gradient, and no rounding accumulates: chains and pyramids of any depth invert bit for bit, on any device.
    It rounds each lifting step of the wavelet and leaves out its scales. For bands without wrap-around choose a dtype
    with spare bits: ``.to(torch.int16)`` for 8-bit images, with ``"5/3"`` and ``"haar"`` at any depth.
    uint8 is not cast; its sums wrap around, and it is inverted exactly too.

    Args:
        name: A name that `liftlayers.functional.wavelets` lists, or an alias. ``"5/3"`` is the reversible transform of
            JPEG 2000, ``"haar"`` the S-transform.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`, band by band; uint8, int8, int16, int32 or int64, of any range.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor has none of these dtypes, or the bands' dtypes differ; `Wavelet` takes floats.
        ValueError: If the name is unknown, a tensor is not four-dimensional, a side is odd, or the bands do not fit
            together.

    References:
        `liftlayers.functional.lossless_dwt2d` has the ranges, `liftlayers.functional.lossless_dwt1d` the equations;
        [T800]_, [Calderbank1998]_.

    Example:
        >>> photo = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
        >>> pyramid = LiftingPyramid([LosslessWavelet(), LosslessWavelet()])
        >>> [tuple(band.shape) for band in pyramid(photo.to(torch.int16))]
        [(1, 3, 2, 2), (1, 9, 2, 2), (1, 9, 4, 4)]
        >>> torch.equal(pyramid.inverse(*pyramid(photo)), photo)
        True
    """

    def __init__(self, name: str = "5/3") -> None:
        super().__init__()
        require_scheme("LosslessWavelet", name)
        self.name = name

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        require_tensors("LosslessWavelet", x)
        require_four_axes("LosslessWavelet", x)
        require_even("LosslessWavelet", x)
        approx, details = lossless_dwt2d(x, self.name)
        return approx, torch.cat(details, dim=1)  # (B, C, H/2, W/2), (B, 3C, H/2, W/2)

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        require_tensors("LosslessWavelet.inverse", approx, detail)
        require_four_axes("LosslessWavelet.inverse", approx)
        require_detail("LosslessWavelet.inverse", approx, detail)
        horizontal, vertical, diagonal = detail.chunk(3, dim=1)
        return lossless_idwt2d((approx, (horizontal, vertical, diagonal)), self.name)

    def extra_repr(self) -> str:
        return repr(self.name)
