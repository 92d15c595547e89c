"""Multi-scale transforms: the approximation is split again and again."""

__all__ = ["LiftingPyramid"]

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from liftlayers._bands import Bands, as_tuple, zero_log_det
from liftlayers.chains._notes import call_at
from liftlayers.invertible import Invertible


class LiftingPyramid(Invertible):
    r"""Splits an image, then its approximation, then the approximation of that, level by level.

    .. math:: a_0 = x, \qquad (a_l, d_l) = f_l(a_{l-1}), \quad l = 1, \dots, L

    Undone from the coarsest level up::

        x ── f1 ── a1 ── f2 ── a2 ── … ── fL ── aL
             │           │                │
             d1          d2               dL

    Bands come coarsest first, as from ``pywt.wavedec2``: ``(approx, detail_L, ..., detail_1)``.

    Args:
        levels: One invertible module per level, finest first, each from an image to its approximation and detail, such
            as ``Sequential(Haar(), *blocks)``.

    Shape:
        - Forward, with `Haar` levels: :math:`(B, C, H, W)` to :math:`(B, C, H/2^L, W/2^L)` and details
          :math:`(B, 3C, H/2^l, W/2^l)`; :math:`H` and :math:`W` divisible by :math:`2^L`; of any dtype and range that
          the levels take. With Haar levels the approximation grows two-fold a level.
        - Inverse: back again.

    Raises:
        TypeError: If `levels` is one layer instead of a list, or a level is not `Invertible`.
        ValueError: If there is no level, a level returns other than two bands or its inverse other than one, the
            pyramid's inverse gets another number of details than there are levels, or a condition comes that no level
            takes. An error of a level says which level it came from.

    References:
        [Mallat2009]_, section 7.7; [Deng2023]_; equation :eq:`pyramid` of :doc:`/mathematics`.

    Example:
        >>> pyramid = LiftingPyramid([Haar(), Haar()])
        >>> [tuple(band.shape[1:]) for band in pyramid(torch.rand(1, 3, 8, 8))]
        [(3, 2, 2), (9, 2, 2), (9, 4, 4)]
    """

    exact_by_levels = True  # each of `levels` leaves a detail aside

    def __init__(self, levels: Iterable[Invertible]) -> None:
        super().__init__()
        if isinstance(levels, Invertible):  # a chain would come apart into its steps
            raise TypeError(f"LiftingPyramid needs a list of levels, got {type(levels).__name__}: put it in a list")
        levels = list(levels)
        if not levels:
            raise ValueError("LiftingPyramid needs at least one level, got none")
        for position, level in enumerate(levels):
            if not isinstance(level, Invertible):
                raise TypeError(f"LiftingPyramid needs Invertible levels, got {type(level).__name__} at {position}")
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        details: list[Tensor] = []
        for position, level in enumerate(self._levels()):
            bands = as_tuple(self._call(position, level, (x,), condition))
            _require_two(position, level, bands)
            x, detail = bands
            details.append(detail)
        return (x, *reversed(details))

    def inverse(self, approx: Tensor, *details: Tensor, condition: Tensor | None = None) -> Tensor:
        self._require_details(details)
        x = approx
        for (position, level), detail in zip(reversed([*enumerate(self._levels())]), details, strict=True):
            x = _only(position, level, self._call(position, level.inverse, (x, detail), condition))
        return x

    def forward_and_log_det(self, x: Tensor, *, condition: Tensor | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        details: list[Tensor] = []
        total = zero_log_det((x,))
        for position, level in enumerate(self._levels()):
            bands, log_det = self._call(position, level.forward_and_log_det, (x,), condition)
            _require_two(position, level, as_tuple(bands))
            x, detail = bands
            details.append(detail)
            total = total + log_det
        return (x, *reversed(details)), total

    def inverse_and_log_det(
        self, approx: Tensor, *details: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self._require_details(details)
        x, total = approx, zero_log_det((approx,))
        for (position, level), detail in zip(reversed([*enumerate(self._levels())]), details, strict=True):
            bands, log_det = self._call(position, level.inverse_and_log_det, (x, detail), condition)
            x = _only(position, level, bands)
            total = total + log_det
        return x, total

    @property
    def conditional(self) -> bool:
        return any(level.conditional for level in self._levels())

    def _levels(self) -> list[Invertible]:
        return list(self.levels)  # type: ignore[arg-type]  # a ModuleList forgets what its modules are

    def _call(
        self, position: int, function: Callable[..., Any], bands: tuple[Tensor, ...], condition: Tensor | None
    ) -> Any:
        """Calls a direction of a level with its bands, and the condition if it takes one."""
        level = self._levels()[position]
        if condition is not None and not self.conditional:
            raise ValueError(f"LiftingPyramid got a condition, but none of its {len(self.levels)} levels takes one")
        options = {"condition": condition} if condition is not None and level.conditional else {}
        return call_at("level", [(position, level)], function, bands, options)

    def _require_details(self, details: tuple[Tensor, ...]) -> None:
        if len(details) != len(self.levels):
            raise ValueError(f"LiftingPyramid needs {len(self.levels)} details, coarsest first, got {len(details)}")


def _require_two(position: int, level: Invertible, bands: tuple[Tensor, ...]) -> None:
    if len(bands) != 2:
        raise ValueError(
            f"LiftingPyramid needs levels that return two bands, got {len(bands)} from level {position} "
            f"({type(level).__name__})"
        )


def _only(position: int, level: Invertible, bands: Bands) -> Tensor:
    """The one band that a level's inverse returns."""
    bands = as_tuple(bands)
    if len(bands) != 1:
        raise ValueError(
            f"LiftingPyramid needs levels whose inverse returns one band, got {len(bands)} from level {position} "
            f"({type(level).__name__})"
        )
    return bands[0]
