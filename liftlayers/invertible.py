"""The protocol that every layer here keeps.

An invertible module has two methods, `forward` and `inverse`, and no direction flag. Its bands are positional tensors:
one tensor is returned bare, several as a tuple. Three laws hold for all of them, unless a docstring names an exception:

1. ``module.inverse(*module(*bands))`` returns `bands`, up to rounding, and ``module(*module.inverse(*bands))`` too.
2. Neither direction writes into its inputs.
3. No size is fixed at construction: shapes are checked when a tensor arrives, by the layer that needs them.
"""

__all__ = ["Inverse", "Invertible", "VolumePreserving"]

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from liftlayers._bands import Bands, zero_log_det
from liftlayers._maps import describes_map, names_condition, same_map, stating_class


class Part(NamedTuple):
    """A step of a larger module, and the bands it takes: all but the first `before` and the last `after`."""

    step: "Invertible"
    before: int = 0
    after: int = 0


class Invertible(nn.Module, ABC):
    r"""A module with a forward map and its inverse.

    .. math:: y = f(x), \qquad x = f^{-1}(y)

    Subclasses define `forward` and `inverse`, both from positional tensors to a tensor or a tuple of tensors, and
    write into none of them. :doc:`/extending` shows one in twenty lines, tested with the laws of `liftlayers.testing`.

    The keyword ``condition=`` reaches every layer, and every network, whose signature has a parameter of that name.

    Shape:
        - As the subclass defines; one band is returned bare, several as a tuple.

    Raises:
        TypeError: If a class that lacks `forward` or `inverse` is constructed.
        NotImplementedError: If a log-determinant is requested from a class that does not define it.

    References:
        [Dinh2015]_; [Gomez2017]_, who rebuild the inputs of blocks from their outputs; [Jacobsen2018]_, where all
        layers are invertible.

    Example:
        >>> class Negate(Invertible):
        ...     def forward(self, x):
        ...         return -x
        ...     def inverse(self, x):
        ...         return -x
        >>> Negate().inverse(Negate()(torch.ones(2)))
        tensor([1., 1.])
    """

    exact_on_grid: ClassVar[bool] = False
    """Whether `exact` accepts the class: it only moves numbers, or takes some from one, as `BlockScrambling` does."""

    def __init__(self) -> None:  # the signature of layers without arguments
        super().__init__()

    # Each layer takes its own number of bands: with `Any`, type checkers accept every signature in a subclass.
    @abstractmethod
    def forward(self, *bands: Any, **options: Any) -> Bands:
        """Maps the bands forward."""

    @abstractmethod
    def inverse(self, *bands: Any, **options: Any) -> Bands:
        """Maps the bands back: the inverse of `forward`."""

    def forward_and_log_det(self, *bands: Any, **options: Any) -> tuple[Bands, Tensor]:
        r"""Maps forward and returns :math:`\log |\det \partial y / \partial x|` too, of shape :math:`(B,)`.

        Raises:
            NotImplementedError: If the class does not define it.
        """
        raise NotImplementedError(self._no_log_det())

    def inverse_and_log_det(self, *bands: Any, **options: Any) -> tuple[Bands, Tensor]:
        r"""Maps back and returns :math:`\log |\det \partial x / \partial y|` too, of shape :math:`(B,)`.

        Raises:
            NotImplementedError: If the class does not define it.
        """
        raise NotImplementedError(self._no_log_det())

    def _require_stated_map(self, direction: str, bands: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        """Raises if a subclass returns other outputs than the class that states the log-determinant."""
        if not same_map(self, stating_class(type(self), self._states_log_det), direction, bands, options):
            raise NotImplementedError(self._no_log_det())

    @staticmethod
    def _states_log_det(kind: type) -> bool:
        """Whether a class says what the log-determinant is."""
        return "forward_and_log_det" in vars(kind)

    def _no_log_det(self) -> str:
        return (
            f"{type(self).__name__} needs forward_and_log_det and inverse_and_log_det of its own, "
            "or VolumePreserving as its base, for a log-determinant"
        )

    @property
    def conditional(self) -> bool:
        """Whether the module takes ``condition=``."""
        return names_condition(self)

    def steps(self) -> "tuple[Invertible | Part, ...]":
        """Returns the steps that make up this module, in order, or the module alone if it is not made of steps.

        Memory modes treat each of them as a step of its own. A step that takes only some of the bands is a `Part`.
        """
        return (self,)

    def require_bands(self, bands: tuple[Tensor, ...], *, inverted: bool) -> None:
        """Raises `ValueError` if a direction takes another number of bands than its signature says."""


class VolumePreserving(Invertible):
    r"""An invertible module that keeps volume: its log-determinant is zero at no cost.

    .. math:: \left| \det \frac{\partial y}{\partial x} \right| = 1

    A class that names it as a base promises that volume is kept; only `liftlayers.testing.assert_log_det` checks that.
    A subclass that returns other numbers than the class that made the promise has no log-determinant, unless it names
    this base again.

    Shape:
        - As for `Invertible`; log-determinants have the shape :math:`(B,)`.

    Raises:
        ValueError: If a log-determinant is requested and there is no band, or a band has no batch axis.
        NotImplementedError: If a log-determinant is requested and a subclass changes the map.

    References:
        [Dinh2015]_, section 3.2; equation :eq:`determinant` of :doc:`/mathematics`.

    Example:
        >>> bands, log_det = Haar().forward_and_log_det(torch.rand(2, 3, 4, 4))
        >>> log_det
        tensor([0., 0.])
    """

    def forward_and_log_det(self, *bands: Any, **options: Any) -> tuple[Bands, Tensor]:
        self._require_stated_map("forward", bands, options)
        return self(*bands, **options), zero_log_det(bands)

    def inverse_and_log_det(self, *bands: Any, **options: Any) -> tuple[Bands, Tensor]:
        self._require_stated_map("inverse", bands, options)
        return self.inverse(*bands, **options), zero_log_det(bands)

    @staticmethod
    def _states_log_det(kind: type) -> bool:
        """Whether a class promises to keep volume."""
        return VolumePreserving in kind.__bases__


class Inverse(Invertible):
    r"""A module with its two directions swapped.

    .. math:: g = f^{-1}, \qquad g^{-1} = f

    It is a module like any other, so hooks, exporters and containers see it. The inverse of an inverse is the module
    itself: ``Inverse(Inverse(m)) is m``.

    Args:
        module: The module :math:`f`.

    Shape:
        - Forward as the inverse of `module`, inverse as its forward.

    Raises:
        TypeError: If `module` is not `Invertible`.

    References:
        [Dinh2015]_; equation :eq:`chain` of :doc:`/mathematics`.

    Example:
        >>> synthesis = Inverse(Haar())
        >>> synthesis(torch.ones(1, 3, 4, 4), torch.zeros(1, 9, 4, 4)).shape
        torch.Size([1, 3, 8, 8])
    """

    module: Invertible

    def __new__(cls, module: Invertible | None = None) -> Invertible:  # type: ignore[misc]  # None: copy and pickle
        plain = type(module) is Inverse and describes_map(module, "steps")  # a subclass may be another map
        return module.module if plain else super().__new__(cls)  # type: ignore[union-attr]

    def __init__(self, module: Invertible) -> None:
        require_invertible("Inverse", module)
        if isinstance(module, Inverse) and module.module is self:  # what `__new__` returns is there already
            return
        super().__init__()
        self.module = module
        self.training = module.training

    def forward(self, *bands: Tensor, **options: Tensor) -> Bands:
        return self.module.inverse(*bands, **options)

    def inverse(self, *bands: Tensor, **options: Tensor) -> Bands:
        return self.module(*bands, **options)

    def forward_and_log_det(self, *bands: Tensor, **options: Tensor) -> tuple[Bands, Tensor]:
        self._require_stated_map("forward", bands, options)
        return self.module.inverse_and_log_det(*bands, **options)

    def inverse_and_log_det(self, *bands: Tensor, **options: Tensor) -> tuple[Bands, Tensor]:
        self._require_stated_map("inverse", bands, options)
        return self.module.forward_and_log_det(*bands, **options)

    @property
    def conditional(self) -> bool:
        return self.module.conditional

    def steps(self) -> tuple[Invertible | Part, ...]:
        if not is_made_of_steps(self.module):
            return (self,)
        return tuple(part._replace(step=Inverse(part.step)) for part in reversed(parts_of(self.module)))


def require_invertible(who: str, module: object) -> None:
    """Raises `TypeError` unless a module is `Invertible`."""
    if not isinstance(module, Invertible):
        raise TypeError(f"{who} needs an Invertible module, got {type(module).__name__}")


def parts_of(module: Invertible) -> tuple[Part, ...]:
    """Returns the steps of a module as parts."""
    return tuple(step if isinstance(step, Part) else Part(step) for step in module.steps())


def unwrapped(step: Invertible, inverted: bool) -> tuple[Invertible, bool]:
    """Returns the module inside an `Inverse` and the opposite direction; other steps as they are."""
    if isinstance(step, Inverse) and describes_map(step, "steps"):
        return unwrapped(step.module, not inverted)
    return step, inverted


def is_made_of_steps(module: Invertible) -> bool:
    """Whether the map of a module is that of its steps.

    It is not if the module is its only step, or if a subclass redefines `forward` or `inverse` and not `steps`.
    """
    return describes_map(module, "steps") and [part.step for part in parts_of(module)] != [module]
