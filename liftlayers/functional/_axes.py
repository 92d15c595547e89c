"""Separable transforms along several axes, with bands by name: a letter for each axis, "a" or "d"."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from liftlayers._checks import dims_for, require_axes, require_float, require_named_bands, require_positive
from liftlayers.functional._transform1d import EXPANSIVE, NON_EXPANSIVE, LineTransform
from liftlayers.functional.schemes import filter_length, require_scheme

Details = tuple[Tensor, Tensor, Tensor]
PartlyZero = Mapping[str, Tensor | None]  # bands by name; None stands for zeros
Detail = PartlyZero | Sequence[Tensor | None] | None  # of one level
Levels = tuple[Tensor | None, Sequence[PartlyZero]]  # the approximation, and details from the coarsest to the finest
Sizes = Sequence[int | None]  # of what bands merge to, along each axis; None where the bands determine it


def detail_keys(num_axes: int) -> list[str]:
    """Returns the names of the detail bands in the order in which layers stack them: PyWavelets' order.

    Example:
        >>> detail_keys(2), detail_keys(3)
        (['da', 'ad', 'dd'], ['aad', 'ada', 'add', 'daa', 'dad', 'dda', 'ddd'])
    """
    keys = ["".join(letters) for letters in product("ad", repeat=num_axes)]
    return ["da", "ad", "dd"] if num_axes == 2 else keys[1:]  # horizontal, vertical, diagonal


class Transform(LineTransform):
    """A transform along all of its axes."""

    def analyse(self, x: Tensor) -> dict[str, Tensor]:
        """Splits along every axis in turn; each split adds a letter to the names of the bands."""
        if 0 in (x.shape[dim] for dim in self.dims):
            raise ValueError(f"{self.who} needs a tensor without empty sides along {self.dims}, got {tuple(x.shape)}")
        bands = {"": x}
        for dim in self.dims:
            halves = {key: self.split(band, dim) for key, band in bands.items()}
            bands = {key + letter: half for key, two in halves.items() for letter, half in zip("ad", two, strict=True)}
        return bands

    def synthesise(self, bands: Mapping[str, Tensor], sizes: Sizes) -> Tensor:
        """Merges bands in pairs along the last axis, then along the one before it: the inverse of `analyse`."""
        require_named_bands(self.who, bands, self.dims)
        for dim, size in zip(reversed(self.dims), reversed(sizes), strict=True):
            keys = dict.fromkeys(key[:-1] for key in bands)
            bands = {k: self.merge(bands[k + "a"], bands[k + "d"], dim, size=size) for k in keys}
        return bands[""]

    def decompose(self, x: Tensor, level: int | None) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Returns the approximation and the details of several levels, the coarsest first."""
        if level is None:  # as pywt.dwt_max_level, but at least one
            shortest = min(x.shape[dim] for dim in self.dims)
            level = max(1, (shortest // (filter_length(self.scheme) - 1)).bit_length() - 1)
        require_positive(self.who, level=level)
        details = []
        for number in range(level):
            bands = self._replace(spacing=self.spacing << number).analyse(x)
            x = bands["a" * len(self.dims)]
            details.append({key: bands[key] for key in detail_keys(len(self.dims))})
        return x, details[::-1]

    def recompose(self, x: Tensor | None, details: Sequence[PartlyZero], sizes: Sizes | None = None) -> Tensor:
        """Merges the bands of all levels, the coarsest first."""
        sizes = sizes or [None] * len(self.dims)
        return self.synthesise(self._finest(x, details, sizes), sizes)

    def _finest(self, x: Tensor | None, details: Sequence[PartlyZero], sizes: Sizes) -> dict[str, Tensor]:
        """Returns the bands of the finest level, of which the approximation merges all coarser ones."""
        *coarser, finest = details
        if coarser:
            below = self._replace(spacing=2 * self.spacing)
            counts = [each.get("a") for each in self._counts(finest, sizes)]
            bands = below._finest(x, coarser, counts)
            x = below.synthesise(bands, counts if self.expands else [None] * len(counts))  # else the bands say it
        return self._filled({"a" * len(self.dims): x, **finest}, sizes)

    def _filled(self, bands: PartlyZero, sizes: Sizes) -> dict[str, Tensor]:
        """Puts zeros in the place of bands that are `None`, of the shape that the other bands and the sizes imply."""
        like = next((band for band in bands.values() if band is not None), None)
        if like is None:
            raise ValueError(f"{self.who} needs at least one band on the coarsest level, got None for all of them")
        shapes = {key: list(like.shape) for key in bands}
        for position, (dim, counts) in enumerate(zip(self.dims, self._counts(bands, sizes), strict=True)):
            for key, shape in shapes.items():
                shape[dim] = counts[key[position]]
        return {key: like.new_zeros(shapes[key]) if band is None else band for key, band in bands.items()}

    def _counts(self, bands: PartlyZero, sizes: Sizes) -> Iterator[dict[str, int]]:
        """Yields how many approximations and details each axis has, as far as the bands and the sizes imply it."""
        for position, (dim, size) in enumerate(zip(self.dims, sizes, strict=True)):
            counts = {key[position]: band.shape[dim] for key, band in bands.items() if band is not None}
            if not counts and size is not None:
                counts["a"] = (size + (filter_length(self.scheme) - 1 if self.expands else 1)) // 2
            for letter, other in ("ad", "da"):
                if letter not in counts and other in counts:
                    rest = counts[other] if size is None or self.expands else size - counts[other]
                    counts[letter] = max(0, rest)
            yield counts


def transform_of(
    who: str, wavelet: str, *tensors: Tensor, axes: Sequence[int], boundary: str = "periodization"
) -> Transform:
    """Returns a transform along axes of tensors; raises unless it exists, and they hold floats and have these axes."""
    scheme, rules = require_scheme(who, wavelet), (*NON_EXPANSIVE, *EXPANSIVE)
    if boundary not in rules:
        raise ValueError(f"{who} needs a boundary among {', '.join(map(repr, rules))}, got {boundary!r}")
    require_float(who, *tensors)
    least = require_axes(who, axes)
    num_axes = max([x.ndim for x in tensors] or [least])  # compilers do not know `max` with a default
    return Transform(who, scheme, dims_for(who, axes, num_axes), boundary)


def inverse_of(
    who: str, coefficients: object, wavelet: str, *, axes: Sequence[int], boundary: str = "periodization"
) -> tuple[Transform, Levels]:
    """Returns the transform to invert, and the approximation and the details of each level by name."""
    levels = levels_of(who, coefficients, require_axes(who, axes))
    return transform_of(who, wavelet, *present(levels), axes=axes, boundary=boundary), levels


def recompose(
    who: str, coefficients: object, wavelet: str, *, axes: Sequence[int], boundary: str, size: Sequence[int] | None
) -> Tensor:
    """Merges an approximation and the details of all levels, the coarsest first, along axes."""
    transform, levels = inverse_of(who, coefficients, wavelet, axes=axes, boundary=boundary)
    if size is not None:
        if not isinstance(size, Sequence) or len(size) != len(axes):
            raise ValueError(f"{who} needs a size of {len(axes)} numbers, one for each axis, got {size}")
        require_positive(who, **{f"size along axis {axis}": each for axis, each in zip(axes, size, strict=True)})
    return transform.recompose(*levels, size)


def present(levels: Levels) -> list[Tensor]:
    """Returns all bands that are not `None`."""
    approx, details = levels
    return [band for part in ({"": approx}, *details) for band in part.values() if band is not None]


def stacked(approx: Tensor, details: Iterable[Mapping[str, Tensor]]) -> tuple[Tensor, ...]:
    """Stacks the details of each level band by band, as layers for tensors (B, C, ...) return them."""
    keys = detail_keys(approx.ndim - 2)
    return approx, *(torch.cat([bands[key] for key in keys], dim=1) for bands in details)


def unstacked(*details: Tensor) -> list[dict[str, Tensor]]:
    """Splits the details of each level into bands by name: the inverse of `stacked`."""
    keys = detail_keys(details[0].ndim - 2)
    return [dict(zip(keys, detail.chunk(len(keys), dim=1), strict=True)) for detail in details]


def levels_of(who: str, coefficients: object, num_axes: int) -> Levels:
    """Returns the approximation and the details of each level by name; raises if they are nested in another way."""
    if not isinstance(coefficients, Sequence):
        raise TypeError(f"{who} needs [approx, details, ...], coarsest first, got {type(coefficients).__name__}")
    if len(coefficients) < 2:
        raise ValueError(f"{who} needs an approximation and at least one level of details, got {len(coefficients)}")
    approx, *details = coefficients
    return approx, [by_name(who, detail, num_axes) for detail in details]


def by_name(who: str, detail: Detail, num_axes: int) -> PartlyZero:
    """Returns the details of a level by name, `None` for those that are missing; raises if a name is unknown."""
    keys = detail_keys(num_axes)
    if num_axes == 2 and isinstance(detail, Sequence) and len(detail) == 3:  # as from `wavedec2`
        return dict(zip(keys, detail, strict=True))
    bands = {} if detail is None else detail
    if not isinstance(bands, Mapping) or bands.keys() - set(keys):
        given = ", ".join(map(str, bands)) if isinstance(bands, Mapping) else type(bands).__name__
        raise TypeError(f"{who} needs the details of a level as a mapping from {', '.join(keys)}, got {given}")
    return {key: bands.get(key) for key in keys}
