"""The Haar transform and the named wavelet transforms as layers."""

import torch
from torch import Tensor

from liftlayers._checks import require_even, require_image, require_image_bands
from liftlayers.functional.dwt import dwt2d, idwt2d
from liftlayers.functional.haar import haar_analysis, haar_synthesis
from liftlayers.functional.schemes import require_scheme
from liftlayers.invertible import VolumePreserving


class Haar(VolumePreserving):
    r"""One level of the orthonormal Haar transform: an image into its approximation and detail bands.

    .. math:: (a, d) = \operatorname{haar\_analysis}(x), \qquad x = \operatorname{haar\_synthesis}(a, d)

    Bands have PyWavelets' order and sign and are stacked band by band (:doc:`/conventions`). The matrix is orthogonal:
    it keeps energy and volume, and its inverse is its transpose. The layer has no parameters.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`; floating-point, of any range.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If a tensor is not four-dimensional, a side is odd, or the bands do not fit together.

    References:
        `liftlayers.functional.haar_analysis` has the equations; [Haar1910]_.

    Example:
        >>> approx, detail = Haar()(torch.rand(2, 3, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 9, 4, 4]))
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return haar_analysis(x)

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        return haar_synthesis(approx, detail)


class Wavelet(VolumePreserving):
    r"""One level of a named wavelet transform: an image into its approximation and detail bands.

    .. math:: (a, (c_H, c_V, c_D)) = \operatorname{dwt2d}(x), \qquad d = [c_H; c_V; c_D]

    The inverse is `idwt2d`. Bands have PyWavelets' order and sign and are stacked band by band (:doc:`/conventions`).
    It keeps volume, because every lifting step has determinant one and the two scales of a scheme have product
    :math:`\pm 1`. Only the orthogonal wavelets (haar, db, coif) keep energy. The layer has no parameters.
    ``Wavelet("haar")`` computes what `Haar` computes, up to rounding, but is slower.

    Args:
        name: A name that `liftlayers.functional.scheme` knows: PyWavelets', or ``"5/3"`` or ``"9/7"``.
        boundary: ``"periodization"`` or ``"reflect"``, the rules of `liftlayers.functional.dwt1d` that are not
            expansive.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`; floating-point, of any range.
        - Inverse: the reverse.

    Raises:
        TypeError: If a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If the wavelet or the rule is unknown, a tensor is not four-dimensional, a side is odd, or the bands
            do not fit together.

    References:
        `liftlayers.functional.dwt1d` has the steps and the rules; [Daubechies1998]_.

    Example:
        >>> approx, detail = Wavelet("9/7", boundary="reflect")(torch.rand(2, 3, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 9, 4, 4]))
    """

    def __init__(self, name: str, *, boundary: str = "periodization") -> None:
        if boundary not in ("periodization", "reflect"):
            raise ValueError(f"Wavelet needs a boundary of 'periodization' or 'reflect', got {boundary!r}")
        super().__init__()
        self.name = require_scheme("Wavelet", name).name
        self.boundary = boundary

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        require_image("Wavelet", x)
        require_even("Wavelet", x)
        approx, details = dwt2d(x, self.name, boundary=self.boundary)
        return approx, torch.cat(details, dim=1)

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        require_image_bands("Wavelet.inverse", approx, detail)
        horizontal, vertical, diagonal = detail.chunk(3, dim=1)
        return idwt2d((approx, (horizontal, vertical, diagonal)), self.name, boundary=self.boundary)

    def extra_repr(self) -> str:
        return f"{self.name!r}, boundary={self.boundary!r}"
