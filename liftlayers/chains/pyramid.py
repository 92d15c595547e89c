"""Multi-scale transforms: each level splits the approximation of the level before it."""

from collections.abc import Iterable

from torch import Tensor, nn

from liftlayers._bands import as_tuple
from liftlayers.invertible import Invertible, Part
from liftlayers.memory.container import Container, Memory


class LiftingPyramid(Container):
    r"""Splits an image, then its approximation, then the approximation of that, level by level.

    .. math:: a_0 = x, \qquad (a_l, d_l) = f_l(a_{l-1}), \quad l = 1, \dots, L

    Forward goes from left to right, and the inverse starts at the coarsest level::

        x ── f1 ── a1 ── f2 ── a2 ── … ── fL ── aL
             │           │                │
             d1          d2               dL

    Bands come coarsest first, as from ``pywt.wavedec2``: ``(approx, detail_L, ..., detail_1)``.

    Args:
        levels: One invertible module per level, finest first, each from an image to its approximation and detail, such
            as ``Sequential(Haar(), *blocks)``.
        memory: What is kept for the gradient, as for `Sequential`.

    Shape:
        - Forward, with `Haar` levels: :math:`(B, C, H, W)` to :math:`(B, C, H/2^L, W/2^L)` and details
          :math:`(B, 3C, H/2^l, W/2^l)`; :math:`H` and :math:`W` divisible by :math:`2^L`; of any dtype and range that
          the levels take. With Haar levels the approximation grows two-fold a level.
        - Inverse: back again.

    Raises:
        TypeError: If `levels` is one layer instead of a list, or a level is not `Invertible`.
        ValueError: If there is no level, a level returns other than two bands or its inverse other than one, the
            pyramid's inverse gets another number of details than there are levels, `memory` is unknown, or there is a
            condition and no level takes one. A note on the error of a level says which level it came from.

    References:
        [Mallat2009]_, section 7.7; [Deng2023]_; equation :eq:`pyramid` of :doc:`/mathematics`.

    Example:
        >>> pyramid = LiftingPyramid([Haar(), Haar()])
        >>> [tuple(band.shape[1:]) for band in pyramid(torch.rand(1, 3, 8, 8))]
        [(3, 2, 2), (9, 2, 2), (9, 4, 4)]
    """

    part = "level"

    def __init__(self, levels: Iterable[Invertible], *, memory: Memory = "store") -> None:
        super().__init__(memory=memory)
        if isinstance(levels, Invertible):  # a chain would come apart into its steps
            raise TypeError(f"LiftingPyramid needs a list of levels, got {type(levels).__name__}: put it in a list")
        self.levels = nn.ModuleList(self._checked(levels, least=1))

    def steps(self) -> tuple[Part, ...]:
        # Details come coarsest first: those of the finer levels are the last bands.
        levels = self._checked(self.levels)  # a `ModuleList` accepts any module
        return tuple(Part(level, after=finer) for finer, level in enumerate(levels))

    # Narrower signatures than a container's: a chain reads from them how many bands a pyramid takes.
    def forward(  # type: ignore[override]
        self, x: Tensor, *, condition: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return as_tuple(super().forward(x, condition=condition))

    def inverse(  # type: ignore[override]
        self, approx: Tensor, *details: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        (x,) = as_tuple(super().inverse(approx, *details, condition=condition))
        return x

    def require_bands(self, bands: tuple[Tensor, ...], *, inverted: bool) -> None:
        if inverted and len(bands) != 1 + len(self.levels):
            count = len(bands) - 1
            raise ValueError(f"LiftingPyramid needs {len(self.levels)} details, coarsest first, got {count}")

    def num_returned(self, *, inverted: bool) -> int:
        return 1 if inverted else 2
