"""Separable transforms along several axes, with bands by name: a letter for each axis, "a" or "d"."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from liftlayers._checks import dims_for, require_axes, require_named_bands, require_positive
from liftlayers.functional._transform1d import EXPANSIVE, analysis, scheme_for, synthesis
from liftlayers.functional.schemes import Scheme, filter_length

Details = tuple[Tensor, Tensor, Tensor]
PartlyZero = Mapping[str, Tensor | None]  # bands by name; None stands for zeros
Detail = PartlyZero | Sequence[Tensor | None] | None  # of one level
Levels = tuple[Tensor | None, Sequence[PartlyZero]]  # the approximation, and details from the coarsest to the finest
Sizes = Sequence[int | None]  # of what bands merge to, along each axis; None where the bands determine it


def split_axes(x: Tensor, dims: Sequence[int], split: Callable[[Tensor, int], Sequence[Tensor]]) -> dict[str, Tensor]:
    """Splits a tensor in two along every axis in turn; each split adds a letter to the names."""
    bands = {"": x}
    for dim in dims:
        halves = {key: split(band, dim) for key, band in bands.items()}
        bands = {key + letter: half for key, pair in halves.items() for letter, half in zip("ad", pair, strict=True)}
    return bands


def merge_axes(
    bands: Mapping[str, Tensor], dims: Sequence[int], merge: Callable[[Tensor, Tensor, int], Tensor]
) -> Tensor:
    """Merges bands in pairs along the last axis, then along the one before it: the inverse of `split_axes`."""
    for position, dim in reversed(list(enumerate(dims))):
        keys = dict.fromkeys(key[:position] for key in bands)
        bands = {key: merge(bands[key + "a"], bands[key + "d"], dim) for key in keys}
    return bands[""]


def detail_keys(num_axes: int) -> list[str]:
    """Returns the names of the detail bands in the order in which layers stack them: PyWavelets' order.

    Example:
        >>> detail_keys(2), detail_keys(3)
        (['da', 'ad', 'dd'], ['aad', 'ada', 'add', 'daa', 'dad', 'dda', 'ddd'])
    """
    keys = ["".join(letters) for letters in product("ad", repeat=num_axes)]
    return ["da", "ad", "dd"] if num_axes == 2 else keys[1:]  # horizontal, vertical, diagonal


class Transform(NamedTuple):
    """A named wavelet transform along several axes; errors name `who` as the function that was called."""

    who: str
    scheme: Scheme
    dims: tuple[int, ...]
    boundary: str = "periodization"
    spacing: int = 0  # of the samples that the finest level of an undecimated transform reads, else 0

    @property
    def expands(self) -> bool:
        return self.boundary in EXPANSIVE

    def analyse(self, x: Tensor, number: int = 0) -> dict[str, Tensor]:
        """Returns all bands of a level; the finest has the number 0."""
        if 0 in (x.shape[dim] for dim in self.dims):
            raise ValueError(f"{self.who} needs a tensor without empty sides along {self.dims}, got {tuple(x.shape)}")
        options = {"boundary": self.boundary, "spacing": self.spacing << number}
        return split_axes(x, self.dims, lambda x, dim: analysis(x, self.scheme, dim=dim, **options))

    def synthesise(self, bands: Mapping[str, Tensor], sizes: Sizes, number: int) -> Tensor:
        """Merges the bands of a level."""
        require_named_bands(self.who, bands, self.dims)
        size = dict(zip(self.dims, sizes, strict=True))

        def merge(approx: Tensor, detail: Tensor, dim: int) -> Tensor:
            options = {"boundary": self.boundary, "spacing": self.spacing << number}
            return synthesis(self.who, approx, detail, self.scheme, dim=dim, size=size[dim], **options)

        return merge_axes(bands, self.dims, merge)

    def decompose(self, x: Tensor, level: int | None) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Returns the approximation and the details of several levels, the coarsest first."""
        if level is None:  # until lines would be shorter than the filters, as in PyWavelets
            shortest = min(x.shape[dim] for dim in self.dims)
            level = max(1, (shortest // (filter_length(self.scheme) - 1)).bit_length() - 1)
        require_positive(self.who, level=level)
        details = []
        for number in range(level):
            bands = self.analyse(x, number)
            x = bands["a" * len(self.dims)]
            details.append({key: bands[key] for key in detail_keys(len(self.dims))})
        return x, details[::-1]

    def recompose(self, x: Tensor | None, details: Sequence[PartlyZero], sizes: Sizes) -> Tensor:
        """Merges the bands of all levels, the coarsest first."""
        targets = [sizes]
        for finer in reversed(details[1:]):
            targets.append(list(self._approximation(finer, targets[-1])))
        for number, detail in zip(reversed(range(len(details))), details, strict=True):
            bands = self._filled({"a" * len(self.dims): x, **detail}, targets[number])
            if number and not self.expands:  # the bands determine the size; the next level checks whether it fits
                targets[number] = [None] * len(self.dims)
            x = self.synthesise(bands, targets[number], number)
        assert x is not None
        return x

    def _filled(self, bands: PartlyZero, sizes: Sizes) -> dict[str, Tensor]:
        """Puts zeros in the place of bands that are `None`, of the shape that the other bands and the sizes imply."""
        known = {key: band for key, band in bands.items() if band is not None}
        if not known:
            raise ValueError(f"{self.who} needs at least one band on the coarsest level, got None for all of them")
        like = next(iter(known.values()))
        shapes = {key: list(like.shape) for key in bands}
        for position, (dim, size) in enumerate(zip(self.dims, sizes, strict=True)):
            counts = {key[position]: band.shape[dim] for key, band in known.items()}
            for letter, other in ("ad", "da"):
                if letter not in counts:
                    rest = counts[other] if size is None or self.expands else size - counts[other]
                    counts[letter] = max(0, rest)
            for key, shape in shapes.items():
                shape[dim] = counts[key[position]]
        return {key: like.new_zeros(shapes[key]) if band is None else band for key, band in bands.items()}

    def _approximation(self, detail: PartlyZero, sizes: Sizes) -> Iterator[int | None]:
        """Yields the size of a level's approximation along each axis, if its details or its own size imply it."""
        longer = filter_length(self.scheme) - 1 if self.expands else 1
        for position, (dim, size) in enumerate(zip(self.dims, sizes, strict=True)):
            counts = {key[position]: band.shape[dim] for key, band in detail.items() if band is not None}
            count = counts.get("a", counts.get("d") if self.expands else None)
            yield (size + longer) // 2 if count is None and size is not None else count


def transform_of(
    who: str, wavelet: str, *tensors: Tensor, axes: Sequence[int], boundary: str = "periodization"
) -> Transform:
    """Returns the transform along axes of tensors; raises unless they hold floats, and have these axes."""
    scheme = scheme_for(who, wavelet, boundary, *tensors)
    least = require_axes(who, axes)
    return Transform(who, scheme, dims_for(who, axes, max([x.ndim for x in tensors] or [least])), boundary)


def recompose(
    who: str, levels: Levels, wavelet: str, *, axes: Sequence[int], boundary: str, size: Sequence[int] | None
) -> Tensor:
    """Merges an approximation and the details of all levels, the coarsest first, along axes."""
    transform = transform_of(who, wavelet, *present(levels), axes=axes, boundary=boundary)
    if size is not None:
        if not isinstance(size, Sequence) or len(size) != len(axes):
            needed = "two numbers, height and width" if len(axes) == 2 else f"{len(axes)} numbers, one for each axis"
            raise ValueError(f"{who} needs a size of {needed}, got {size}")
        for number in size:
            require_positive(who, size=number)
    return transform.recompose(*levels, size or (None,) * len(axes))


def present(levels: Levels) -> list[Tensor]:
    """Returns all bands that are not `None`."""
    approx, details = levels
    return [band for part in ({"": approx}, *details) for band in part.values() if band is not None]


def stacked(bands: Mapping[str, Tensor]) -> Tensor:
    """Stacks the details of a level band by band."""
    return torch.cat([bands[key] for key in detail_keys(len(next(iter(bands))))], dim=1)


def unstacked(detail: Tensor, num_axes: int) -> dict[str, Tensor]:
    """Splits details that are stacked band by band: the inverse of `stacked`."""
    keys = detail_keys(num_axes)
    return dict(zip(keys, detail.chunk(len(keys), dim=1), strict=True))


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
