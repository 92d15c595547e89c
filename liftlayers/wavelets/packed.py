"""The bands of a pyramid in one tensor, as a layer."""

from torch import Tensor

from liftlayers._checks import require_image, require_positive, require_spatial_dims
from liftlayers.functional._axes import stacked, unstacked
from liftlayers.functional.packing import pack, unpack
from liftlayers.mixing.rearrange import Rearrangement


class Packed(Rearrangement):
    r"""Puts the bands of a pyramid into one tensor of the size of the image, in the usual picture of a pyramid.

    .. math:: (a_L, d_L, \dots, d_1) \mapsto \operatorname{pack}(a_L, d_L, \dots, d_1)

    As the last step of a chain, it turns a `LiftingPyramid` into a layer from an image to one tensor.

    Args:
        num_levels: The number :math:`L` of levels.
        spatial_dims: 2 for images, 1 for lines, 3 for volumes.

    Shape:
        - Forward: an approximation :math:`(B, C, H/2^L, W/2^L)` and details :math:`(B, 3C, H/2^l, W/2^l)`, coarsest
          first and band by band, to :math:`(B, C, H, W)`; floating-point, of any range. Lines have details of
          :math:`C` channels, volumes of :math:`7C`.
        - Inverse: the reverse, :math:`H` and :math:`W` divisible by :math:`2^L`.

    Raises:
        TypeError: If a number is no integer, a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If `num_levels` is below 1, `spatial_dims` is not 1, 2 or 3, a tensor has another number of axes,
            there is another number of details, the bands do not fit together, or a side is not divisible.

    References:
        `liftlayers.functional.pack`; [Mallat2009]_, section 7.7.

    Example:
        >>> chain = Sequential(LiftingPyramid([Haar(), Haar()]), Packed(2))
        >>> chain(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 8, 12])
    """

    def __init__(self, num_levels: int, *, spatial_dims: int = 2) -> None:
        super().__init__()
        require_positive("Packed", num_levels=num_levels)
        require_spatial_dims("Packed", spatial_dims)
        self.num_levels, self.spatial_dims = num_levels, spatial_dims

    def forward(self, approx: Tensor, *details: Tensor) -> Tensor:
        if len(details) != self.num_levels:
            raise ValueError(f"Packed needs {self.num_levels} details, got {len(details)}")
        require_image("Packed", approx, spatial_dims=self.spatial_dims)
        channels = (2**self.spatial_dims - 1) * approx.shape[1]
        for detail in details:
            require_image("Packed", detail, channels=channels, spatial_dims=self.spatial_dims)
        return pack([approx, *unstacked(*details)], axes=range(-self.spatial_dims, 0))

    def inverse(self, x: Tensor) -> tuple[Tensor, ...]:
        require_image("Packed.inverse", x, spatial_dims=self.spatial_dims)
        if any(side % 2**self.num_levels for side in x.shape[2:]):
            needed = f"sides divisible by {2**self.num_levels}"
            raise ValueError(f"Packed.inverse needs {needed}, got {' x '.join(map(str, x.shape[2:]))}")
        approx, *details = unpack(x, level=self.num_levels, axes=range(-self.spatial_dims, 0))
        return stacked(approx, details)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"num_levels={self.num_levels}, spatial_dims={self.spatial_dims}"
