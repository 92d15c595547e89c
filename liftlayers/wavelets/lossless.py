"""The lossless wavelet transforms as a layer."""

import math

import torch
from torch import Tensor

from liftlayers._bands import has_values
from liftlayers._checks import require_detail, require_even, require_shape, require_spatial_dims
from liftlayers.functional._axes import Transform, stacked, unstacked
from liftlayers.functional.grid import straight_through
from liftlayers.functional.lossless import IntegerTransform, require_integers
from liftlayers.functional.schemes import require_scheme
from liftlayers.invertible import VolumePreserving

LARGEST = {1: 18, 2: 18, 3: 15}  # bits of whole numbers in floats, by axes: bands grow by at most 8, 57 or 389 times


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
        spatial_dims: 2 for images, 1 for lines, 3 for volumes.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`, band by band; uint8, int8, int16, int32 or int64, of any range, or whole
          numbers in float32 or float64. Lines and volumes as for `Haar`.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor has none of these dtypes, or the bands' dtypes differ; `Wavelet` takes floats of any
            value.
        ValueError: If the name is unknown, `spatial_dims` is not 1, 2 or 3, a tensor has another number of axes, a side
            is odd, the bands do not fit together, or floats are not whole numbers up to :math:`2^{18}`,
            :math:`2^{15}` in volumes.

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

    def __init__(self, name: str = "5/3", *, spatial_dims: int = 2) -> None:
        super().__init__()
        require_spatial_dims("LosslessWavelet", spatial_dims)
        require_scheme("LosslessWavelet", name)
        self.name, self.spatial_dims = getattr(name, "name", name), spatial_dims

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        require_shape("LosslessWavelet", x, spatial_dims=self.spatial_dims)
        require_even("LosslessWavelet", x, spatial_dims=self.spatial_dims)
        if not x.is_floating_point():
            return self._analyse(x)
        rounded, smooth = self._analyse(_as_integers("LosslessWavelet", x, self.spatial_dims)), self._analyse(x)
        return tuple(map(straight_through, rounded, smooth))

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        require_shape("LosslessWavelet.inverse", approx, spatial_dims=self.spatial_dims)
        require_detail("LosslessWavelet.inverse", approx, detail)
        if not approx.is_floating_point():
            return self._synthesise(approx, detail)
        bands = (_as_integers("LosslessWavelet.inverse", band, self.spatial_dims) for band in (approx, detail))
        rounded = self._synthesise(*bands)
        return straight_through(rounded, self._synthesise(approx, detail))

    def _analyse(self, x: Tensor) -> tuple[Tensor, ...]:
        """The transform of integers, or without rounding of floats."""
        return stacked(*self._transform("LosslessWavelet", x).decompose(x, 1))

    def _synthesise(self, approx: Tensor, detail: Tensor) -> Tensor:
        return self._transform("LosslessWavelet.inverse", approx).recompose(approx, unstacked(detail))

    def _transform(self, who: str, band: Tensor) -> Transform:
        scheme, dims = require_scheme(who, self.name), tuple(range(-self.spatial_dims, 0))
        if not band.is_floating_point():
            require_integers(who, band, advice="; for floats of any value use the layer Wavelet")
            return IntegerTransform(who, scheme, dims)
        scales = math.copysign(1, scheme.scales[0]), 1.0  # which the transform of integers leaves out
        return Transform(who, scheme._replace(scales=scales), dims, "reflect")

    def extra_repr(self) -> str:
        return repr(self.name) if self.spatial_dims == 2 else f"{self.name!r}, spatial_dims={self.spatial_dims}"


def _as_integers(who: str, x: Tensor, axes: int) -> Tensor:
    """Returns whole numbers in floats as integers, without a gradient."""
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{who} needs integers, or whole numbers in float32 or float64, got {x.dtype}")
    x = x.detach()
    if has_values(x) and not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active():
        wrong = ~((x == x.round()) & (x.abs() <= 2 ** LARGEST[axes]))  # nan is wrong, too
        if wrong.any():
            found = f"got {float(x[wrong][0])}; for floats of any value use the layer Wavelet"
            raise ValueError(f"{who} needs whole numbers up to 2^{LARGEST[axes]} in floats, {found}")
    return x.to(torch.int32)
