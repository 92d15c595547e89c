"""The Haar transform and the named wavelet transforms as layers."""

from torch import Tensor

from liftlayers._checks import require_even, require_image, require_image_bands, require_spatial_dims
from liftlayers.functional._axes import stacked, unstacked
from liftlayers.functional.haar import haar_analysis, haar_synthesis
from liftlayers.functional.schemes import require_scheme
from liftlayers.functional.wavedec import wavedec, waverec
from liftlayers.invertible import VolumePreserving


class Haar(VolumePreserving):
    r"""One level of the orthonormal Haar transform: an image into its approximation and detail bands.

    .. math:: (a, d) = \operatorname{haar\_analysis}(x), \qquad x = \operatorname{haar\_synthesis}(a, d)

    Bands have PyWavelets' order and sign and are stacked band by band (:doc:`/conventions`). The matrix is orthogonal:
    it keeps energy and volume, and its inverse is its transpose. The layer has no parameters. Lines and volumes are
    transformed in the same way along one or three axes.

    Args:
        spatial_dims: 2 for images, 1 for lines, 3 for volumes. `exact` takes it for images only.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`; floating-point, of any range. Lines :math:`(B, C, W)` have a detail
          :math:`(B, C, W/2)`, volumes :math:`(B, C, D, H, W)` a detail :math:`(B, 7C, D/2, H/2, W/2)`.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If `spatial_dims` is not 1, 2 or 3, a tensor has another number of axes, a side is odd, or the bands
            do not fit together.

    References:
        `liftlayers.functional.haar_analysis` has the equations; [Haar1910]_.

    Example:
        >>> approx, detail = Haar()(torch.rand(2, 3, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 9, 4, 4]))
        >>> approx, detail = Haar(spatial_dims=3)(torch.rand(2, 3, 8, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([2, 3, 4, 4, 4]), torch.Size([2, 21, 4, 4, 4]))
    """

    def __init__(self, *, spatial_dims: int = 2) -> None:
        super().__init__()
        require_spatial_dims("Haar", spatial_dims)
        self.spatial_dims = spatial_dims

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return haar_analysis(x, spatial_dims=self.spatial_dims)

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        return haar_synthesis(approx, detail, spatial_dims=self.spatial_dims)

    def extra_repr(self) -> str:
        return "" if self.spatial_dims == 2 else f"spatial_dims={self.spatial_dims}"


class Wavelet(VolumePreserving):
    r"""One level of a named wavelet transform: an image into its approximation and detail bands.

    .. math:: (a, (c_H, c_V, c_D)) = \operatorname{dwt2d}(x), \qquad d = [c_H; c_V; c_D]

    The inverse is `idwt2d`. Lines and volumes are transformed by `dwt`, along one or three axes. Bands have PyWavelets'
    order and sign and are stacked band by band (:doc:`/conventions`). It keeps volume, because every lifting step has
    determinant one and the two scales of a scheme have product :math:`\pm 1`. Only orthogonal wavelets keep
    energy: haar, and with the rule ``"periodization"`` also db, sym and coif. The layer has no parameters.
    ``Wavelet("haar")`` computes what `Haar` computes, up to rounding, but is slower.

    Args:
        name: A name that `liftlayers.functional.scheme` knows: PyWavelets', or ``"5/3"`` or ``"9/7"``; or a
            ``pywt.Wavelet``.
        boundary: ``"periodization"`` or ``"reflect"``, the rules of `liftlayers.functional.dwt1d` that are not
            expansive.
        spatial_dims: 2 for images, 1 for lines, 3 for volumes.

    Shape:
        - As `Haar`.

    Raises:
        TypeError: If a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If the wavelet or the rule is unknown, `spatial_dims` is not 1, 2 or 3, a tensor has another number
            of axes, a side is odd, or the bands do not fit together.

    References:
        `liftlayers.functional.dwt1d` has the steps and the rules; [Daubechies1998]_.

    Example:
        >>> approx, detail = Wavelet("9/7", boundary="reflect")(torch.rand(2, 3, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 9, 4, 4]))
    """

    def __init__(self, name: str, *, boundary: str = "periodization", spatial_dims: int = 2) -> None:
        if boundary not in ("periodization", "reflect"):
            raise ValueError(f"Wavelet needs a boundary of 'periodization' or 'reflect', got {boundary!r}")
        super().__init__()
        require_spatial_dims("Wavelet", spatial_dims)
        self.name = require_scheme("Wavelet", name).name
        self.boundary, self.spatial_dims = boundary, spatial_dims

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        require_image("Wavelet", x, spatial_dims=self.spatial_dims)
        require_even("Wavelet", x, spatial_dims=self.spatial_dims)
        axes = range(-self.spatial_dims, 0)
        approx, *details = wavedec(x, self.name, axes=axes, level=1, boundary=self.boundary)
        return stacked(approx, details)  # type: ignore[arg-type]

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        require_image_bands("Wavelet.inverse", approx, detail, spatial_dims=self.spatial_dims)
        axes = range(-self.spatial_dims, 0)
        return waverec([approx, *unstacked(detail)], self.name, axes=axes, boundary=self.boundary)

    def extra_repr(self) -> str:
        settings = f"{self.name!r}, boundary={self.boundary!r}"
        return settings if self.spatial_dims == 2 else f"{settings}, spatial_dims={self.spatial_dims}"
