"""Wavelet transforms as layers."""

__all__ = ["Haar"]

from torch import Tensor

from liftlayers.functional.haar import haar_analysis, haar_synthesis
from liftlayers.invertible import VolumePreserving


class Haar(VolumePreserving):
    r"""One level of the orthonormal Haar transform: an image into its approximation and detail bands.

    .. math:: (a, d) = \operatorname{haar\_analysis}(x), \qquad x = \operatorname{haar\_synthesis}(a, d)

    Bands stand in PyWavelets' order and sign, stacked band by band (:doc:`/conventions`). The matrix is orthogonal:
    energy and volume are kept, and the inverse is the transpose. It has no parameters.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`; floating-point, of any range.
        - Inverse: back again.

    Raises:
        TypeError: If a tensor is not floating-point.
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
