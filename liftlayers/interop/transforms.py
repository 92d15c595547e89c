"""Invertible modules as transforms of `torch.distributions`, and the reverse, for flows of torch, Pyro and zuko."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from torch.distributions.transforms import _InverseTransform

from liftlayers._bands import Bands, as_tuple
from liftlayers._checks import require_float
from liftlayers._maps import parameters_of
from liftlayers._random import RandomState
from liftlayers.invertible import Invertible, require_invertible

Shape = tuple[int, ...]


def as_transform(module: Invertible, *shapes: Sequence[int]) -> "ModuleTransform":
    r"""Makes a transform of `torch.distributions` from an invertible module.

    .. math:: y = f(x), \qquad x = f^{-1}(y), \qquad \log \left| \det \frac{\partial y}{\partial x} \right|

    A transform maps one tensor to one tensor. An event, one sample, has the shape of the module's band if there is one
    band on that side. Several bands are flattened and joined to one vector, in their order.

    The transform holds the module itself, so training the module trains the transform. It caches nothing. It also has
    ``call_and_ladj``, which zuko calls, with one evaluation of the module. The base distribution of a flow is that of
    the outputs: ``as_transform(flow, shape).inv`` maps samples of it to images in
    ``torch.distributions.TransformedDistribution``, and zuko's ``NormalizingFlow(as_transform(flow, shape), base)``
    does the same without ``inv``.

    Args:
        module: The module, with log-determinants.
        shapes: The shape of each of its input bands, without the batch, such as ``(3, 32, 32)``.

    Returns:
        The transform; it takes any number of batch axes in front of the event.

    Raises:
        TypeError: If `module` is not `Invertible`.
        ValueError: If no shape is given; when used, if a tensor has no event of that shape.

    References:
        [Dinh2015]_; the interface is that of `torch.distributions.transforms.Transform`.

    Example:
        >>> to_bands = as_transform(Sequential(InvertibleConv1x1(3), Haar()), (3, 8, 8))
        >>> to_bands(torch.rand(5, 3, 8, 8)).shape  # approximation and detail, joined
        torch.Size([5, 192])
        >>> base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(192), 1.0), 1)
        >>> images = torch.distributions.TransformedDistribution(base, to_bands.inv)
        >>> images.log_prob(torch.rand(5, 3, 8, 8)).shape, images.sample((2,)).shape
        (torch.Size([5]), torch.Size([2, 3, 8, 8]))
    """
    return ModuleTransform(module, shapes)


class ModuleTransform(Transform):
    """What `as_transform` returns."""

    bijective = True

    def __init__(self, module: Invertible, shapes: Sequence[Sequence[int]]) -> None:
        super().__init__()  # without a cache, which would keep values of earlier parameters
        require_invertible("as_transform", module)
        if not shapes:
            raise ValueError("as_transform needs the shape of each input band, such as (3, 32, 32), got none")
        self.module = module
        self.inputs: list[Shape] = [tuple(shape) for shape in shapes]
        self.outputs = _output_shapes(module, self.inputs)
        self.domain = constraints.independent(constraints.real, len(_event(self.inputs)))
        self.codomain = constraints.independent(constraints.real, len(_event(self.outputs)))

    def forward_shape(self, shape: Sequence[int]) -> torch.Size:
        return _reshaped("as_transform", shape, self.inputs, self.outputs)

    def inverse_shape(self, shape: Sequence[int]) -> torch.Size:
        return _reshaped("the inverse of as_transform", shape, self.outputs, self.inputs)

    def _call(self, x: Tensor) -> Tensor:
        return _joined(self.module(*_bands("as_transform", x, self.inputs)), x, self.inputs, self.outputs)

    def _inverse(self, y: Tensor) -> Tensor:
        bands = _bands("the inverse of as_transform", y, self.outputs)
        return _joined(self.module.inverse(*bands), y, self.outputs, self.inputs)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 (part of the interface)
        return self.call_and_ladj(x)[1]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps forward and returns the log-determinant too, as zuko's transforms do."""
        outputs, log_det = self.module.forward_and_log_det(*_bands("as_transform", x, self.inputs))
        batch = x.shape[: x.ndim - len(_event(self.inputs))]
        return _joined(outputs, x, self.inputs, self.outputs), log_det.reshape(batch)

    def with_cache(self, cache_size: int = 1) -> "ModuleTransform":  # noqa: ARG002 (part of the interface)
        return self


def from_transform(transform: Transform | nn.Module) -> "FromTransform":
    r"""Makes an invertible layer from a transform of `torch.distributions`.

    .. math:: y = t(x), \qquad x = t^{-1}(y)

    Log-determinants are summed over everything but the batch. Parameters inside a plain transform are not those of the
    layer: to train them, pass a module that returns a transform when it is called, such as one of zuko's
    ``LazyTransform``. If the module takes an argument, it is given the condition.

    Args:
        transform: The transform, which has to be bijective, or a module that returns one.

    Returns:
        The layer, which takes one band.

    Raises:
        TypeError: If it is neither, or the module returns something else; if a band is not floating-point.
        ValueError: If the transform is not bijective.

    References:
        As for `as_transform`.

    Example:
        >>> from torch.distributions.transforms import SigmoidTransform
        >>> layer = from_transform(SigmoidTransform().inv)  # the logit, which maps (0, 1) to all numbers
        >>> z, log_det = Sequential(layer, Haar()).forward_and_log_det(torch.rand(2, 1, 4, 4))
        >>> log_det.shape
        torch.Size([2])
    """
    return FromTransform(transform)


class FromTransform(Invertible):
    """What `from_transform` returns."""

    def __init__(self, transform: Transform | nn.Module) -> None:
        super().__init__()
        if not isinstance(transform, Transform | nn.Module):
            got = type(transform).__name__
            raise TypeError(f"from_transform needs a transform, or a module that returns one, got {got}")
        # The inverse of a transform cannot be copied or pickled, but the transform itself can.
        self.inverted = isinstance(transform, _InverseTransform)
        self.transform = transform.inv if isinstance(transform, _InverseTransform) else transform

    @property
    def conditional(self) -> bool:
        return isinstance(self.transform, nn.Module) and bool(parameters_of(self.transform.forward))

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return cast(Tensor, self._transform(x, condition)(x))  # torch's stubs allow for None

    def inverse(self, y: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return cast(Tensor, self._transform(y, condition).inv(y))

    def forward_and_log_det(self, x: Tensor, *, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        self._require_stated_map("forward", (x,), {"condition": condition})
        return _with_log_det(self._transform(x, condition), x)

    def inverse_and_log_det(self, y: Tensor, *, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        self._require_stated_map("inverse", (y,), {"condition": condition})
        return _with_log_det(self._transform(y, condition).inv, y)

    def _transform(self, band: Tensor, condition: Tensor | None) -> Transform:
        require_float("from_transform", band)
        transform = self.transform
        if isinstance(transform, nn.Module):
            transform = transform(condition) if self.conditional else transform()
        if not isinstance(transform, Transform):
            raise TypeError(f"from_transform needs a module that returns a transform, got {type(transform).__name__}")
        if not transform.bijective:
            raise ValueError(f"from_transform needs a bijective transform, got {type(transform).__name__}")
        return transform.inv if self.inverted else transform


def _output_shapes(module: Invertible, shapes: list[Shape]) -> list[Shape]:
    """Finds shapes by an evaluation, and undoes what it changed: it may initialise an ActNorm.

    The module itself is evaluated, since torch cannot copy the inverse of a transform. Zeros are whole numbers, which
    networks of integers need.
    """
    example, state = next(module.parameters(), torch.zeros(())), module.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    zeros = [example.new_zeros(2, *shape) for shape in shapes]
    with torch.no_grad(), RandomState(zeros).again():
        try:
            outputs = as_tuple(module(*zeros))
        except (RuntimeError, ValueError):  # a step divides by zero, or takes its logarithm
            outputs = as_tuple(module(*map(torch.rand_like, zeros)))
        for name, value in before.items():
            if not torch.equal(state[name], value):
                state[name].copy_(value)
    return [tuple(band.shape[1:]) for band in outputs]


def _event(shapes: list[Shape]) -> Shape:
    """The shape of an event: that of the only band, or the length of all bands joined."""
    return shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)


def _reshaped(who: str, shape: Sequence[int], old: list[Shape], new: list[Shape]) -> torch.Size:
    event, ndim = _event(old), len(shape) - len(_event(old))
    if ndim < 0 or tuple(shape[ndim:]) != event:
        raise ValueError(f"{who} needs events of shape {event}, got a tensor of shape {tuple(shape)}")
    return torch.Size((*shape[:ndim], *_event(new)))


def _bands(who: str, x: Tensor, shapes: list[Shape]) -> tuple[Tensor, ...]:
    """Takes a tensor of events apart into bands, with one batch axis."""
    _reshaped(who, x.shape, shapes, shapes)
    sizes = list(map(math.prod, shapes))
    parts = x.reshape(-1, sum(sizes)).split(sizes, dim=1)
    return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True))


def _joined(bands: Bands, given: Tensor, old: list[Shape], new: list[Shape]) -> Tensor:
    """Joins bands to a tensor of events, with the batch axes of what was given."""
    bands = as_tuple(bands)
    joined = bands[0] if len(bands) == 1 else torch.cat([band.flatten(1) for band in bands], dim=1)
    return joined.reshape(_reshaped("as_transform", given.shape, old, new))


def _with_log_det(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    y = cast(Tensor, transform(x))
    log_det = transform.log_abs_det_jacobian(x, y)
    return y, log_det.flatten(1).sum(1) if log_det.ndim > 1 else log_det
