"""The lossless wavelet transforms as a layer."""

import math

import torch
from torch import Tensor

from liftlayers._bands import has_values
from liftlayers._checks import require_detail, require_even, require_four_axes, require_tensors
from liftlayers.functional.grid import straight_through
from liftlayers.functional.lifting import lift, unlift
from liftlayers.functional.lossless import lossless_dwt2d, lossless_idwt2d
from liftlayers.functional.schemes import Scheme, require_scheme
from liftlayers.invertible import VolumePreserving

LARGEST = 2**18  # of whole numbers in floats: bands are at most 57 times as large, which float32 holds


class LosslessWavelet(VolumePreserving):
    r"""One level of a wavelet transform from integers to integers, whose inverse returns every bit.

    .. math:: (a, d) = (c_A, [c_H; c_V; c_D]), \qquad (c_A, (c_H, c_V, c_D)) = \operatorname{lossless\_dwt2d}(x)

    It rounds each lifting step of the wavelet and leaves out its scales. Chains and pyramids of any depth invert bit
    for bit, on any device. For bands without wrap-around choose a dtype with spare bits: ``.to(torch.int16)`` for 8-bit
    images, with ``"5/3"`` and ``"haar"`` at any depth. uint8 is not cast; its sums wrap around, and it is inverted
    exactly too.

    Integers have no gradient. To train what depends on the bands, give the layer whole numbers in floats: it returns
    the same bands in floats, with the gradient of the transform without rounding (straight-through estimator).

    Args:
        name: A name that `liftlayers.functional.wavelets` lists, or an alias. ``"5/3"`` is the reversible transform of
            JPEG 2000, ``"haar"`` the S-transform.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`, band by band; uint8, int8, int16, int32 or int64, of any range, or whole
          numbers in float32 or float64.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor has none of these dtypes, or the bands' dtypes differ; `Wavelet` takes floats of any
            value.
        ValueError: If the name is unknown, a tensor is not four-dimensional, a side is odd, the bands do not fit
            together, or floats are not whole numbers up to :math:`2^{18}`.

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
        if x.is_floating_point():
            rounded, smooth = self(_as_integers("LosslessWavelet", x)), self._smooth(x)
            return _straight_through(rounded[0], smooth[0]), _straight_through(rounded[1], smooth[1])
        approx, details = lossless_dwt2d(x, self.name)
        return approx, torch.cat(details, dim=1)  # (B, C, H/2, W/2), (B, 3C, H/2, W/2)

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        require_tensors("LosslessWavelet.inverse", approx, detail)
        require_four_axes("LosslessWavelet.inverse", approx)
        require_detail("LosslessWavelet.inverse", approx, detail)
        if approx.is_floating_point():
            rounded = self.inverse(*(_as_integers("LosslessWavelet.inverse", band) for band in (approx, detail)))
            return _straight_through(rounded, self._smooth_inverse(approx, detail))
        horizontal, vertical, diagonal = detail.chunk(3, dim=1)
        return lossless_idwt2d((approx, (horizontal, vertical, diagonal)), self.name)

    def _smooth(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The transform without rounding, for its gradient."""
        low, high = lift(x, self._scheme, dim=-2, boundary="reflect")
        approx, vertical = lift(low, self._scheme, dim=-1, boundary="reflect")
        horizontal, diagonal = lift(high, self._scheme, dim=-1, boundary="reflect")
        return approx, torch.cat((horizontal, vertical, diagonal), dim=1)

    def _smooth_inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        horizontal, vertical, diagonal = detail.chunk(3, dim=1)
        low = unlift(approx, vertical, self._scheme, dim=-1, boundary="reflect")
        high = unlift(horizontal, diagonal, self._scheme, dim=-1, boundary="reflect")
        return unlift(low, high, self._scheme, dim=-2, boundary="reflect")

    @property
    def _scheme(self) -> Scheme:
        """The lifting steps without their scales, which the lossless transform leaves out."""
        scheme = require_scheme("LosslessWavelet", self.name)
        return scheme._replace(scales=(math.copysign(1, scheme.scales[0]), 1.0))

    def extra_repr(self) -> str:
        return repr(self.name)


def _as_integers(who: str, x: Tensor) -> Tensor:
    """Returns whole numbers in floats as integers, without a gradient."""
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{who} needs integers, or whole numbers in float32 or float64, got {x.dtype}")
    x = x.detach()
    if has_values(x) and not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active():
        wrong = ~((x == x.round()) & (x.abs() <= LARGEST))  # nan is wrong, too
        if wrong.any():
            found = f"got {float(x[wrong][0])}; for floats of any value use the layer Wavelet"
            raise ValueError(f"{who} needs whole numbers up to 2^18 in floats, {found}")
    return x.to(torch.int32)


def _straight_through(rounded: Tensor, smooth: Tensor) -> Tensor:
    """Returns integers as floats that have the gradient of what was rounded."""
    return straight_through(rounded.to(smooth.dtype), smooth)
