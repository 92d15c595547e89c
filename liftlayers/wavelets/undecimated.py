"""The undecimated wavelet transform as a module."""

from torch import Tensor, nn

from liftlayers._checks import require_detail, require_image, require_positive, require_spatial_dims
from liftlayers.functional._axes import stacked, unstacked
from liftlayers.functional.schemes import require_scheme
from liftlayers.functional.undecimated import iswt, swt


class UndecimatedWavelet(nn.Module):
    r"""An undecimated wavelet transform of several levels: every band has the size of the image.

    .. math:: (a_L, d_L, \dots, d_1) = \operatorname{swt}(x), \qquad x = \operatorname{iswt}(a_L, d_L, \dots, d_1)

    A shift of the image shifts all bands, so what is done to the bands does not depend on where the image begins, as in
    translation-invariant denoising. The image is taken as periodic. The module has no parameters.

    It is not `Invertible`: it makes :math:`3L + 1` bands of one image, and most tensors of that shape are the bands of
    no image. `inverse` is a left inverse only: ``module.inverse(*module(x))`` is `x`, but not the other way round.

    Args:
        name: As for `Wavelet`.
        num_levels: The number :math:`L` of levels.
        norm: Whether each level is scaled by :math:`1 / \sqrt 2` for each axis, as for `liftlayers.functional.swt`.
        spatial_dims: 2 for images, 1 for lines, 3 for volumes.

    Shape:
        - Forward: :math:`(B, C, H, W)` of any size to :math:`(B, C, H, W)` and :math:`L` details
          :math:`(B, 3C, H, W)`, coarsest first and band by band; floating-point, of any range. Lines have details of
          :math:`C` channels, volumes of :math:`7C`.
        - Inverse: the reverse.

    Raises:
        TypeError: If a number is no integer, a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If the wavelet is unknown, `num_levels` is below 1, `spatial_dims` is not 1, 2 or 3, a tensor has
            another number of axes, or the inverse gets another number of details or bands that do not fit together.

    References:
        `liftlayers.functional.swt` has the equations; [Nason1995]_; [Coifman1995]_ on denoising.

    Example:
        >>> wavelet = UndecimatedWavelet("db2", num_levels=2)
        >>> x = torch.rand(1, 3, 9, 7)
        >>> approx, coarse, fine = wavelet(x)
        >>> approx.shape, fine.shape
        (torch.Size([1, 3, 9, 7]), torch.Size([1, 9, 9, 7]))
        >>> torch.allclose(wavelet.inverse(approx, coarse, fine), x, atol=1e-6)
        True
    """

    def __init__(self, name: str, *, num_levels: int = 1, norm: bool = False, spatial_dims: int = 2) -> None:
        super().__init__()
        require_spatial_dims("UndecimatedWavelet", spatial_dims)
        require_positive("UndecimatedWavelet", num_levels=num_levels)
        self.name = require_scheme("UndecimatedWavelet", name).name
        self.num_levels, self.norm, self.spatial_dims = num_levels, norm, spatial_dims

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        require_image("UndecimatedWavelet", x, spatial_dims=self.spatial_dims)
        axes = range(-self.spatial_dims, 0)
        approx, *details = swt(x, self.name, axes=axes, level=self.num_levels, norm=self.norm)
        return stacked(approx, details)  # type: ignore[arg-type]

    def inverse(self, approx: Tensor, *details: Tensor) -> Tensor:
        """Merges the bands into an image; a left inverse."""
        if len(details) != self.num_levels:
            raise ValueError(f"UndecimatedWavelet.inverse needs {self.num_levels} details, got {len(details)}")
        require_image("UndecimatedWavelet.inverse", approx, spatial_dims=self.spatial_dims)
        for detail in details:
            require_detail("UndecimatedWavelet.inverse", approx, detail)
        axes = range(-self.spatial_dims, 0)
        return iswt([approx, *unstacked(*details)], self.name, axes=axes, norm=self.norm)

    def extra_repr(self) -> str:
        return f"{self.name!r}, num_levels={self.num_levels}, norm={self.norm}, spatial_dims={self.spatial_dims}"
