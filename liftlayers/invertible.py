"""The protocol that every layer here keeps.

An invertible module has two methods, `forward` and `inverse`, and no direction flag. Its bands are positional tensors:
one tensor is returned bare, several as a tuple. Three laws hold for every one of them:

1. ``module.inverse(*module(*bands))`` returns `bands`, up to rounding, and ``module(*module.inverse(*bands))`` too.
2. Neither direction writes into its inputs.
3. No size is fixed at construction: shapes are checked when a tensor arrives, by the layer that needs them.
"""

__all__ = ["Inverse", "Invertible", "VolumePreserving"]

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from liftlayers._bands import as_tuple, is_differentiable
from liftlayers.memory._recompute import without_trace

Bands = Tensor | tuple[Tensor, ...]
Rebuilt = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class Invertible(nn.Module, ABC):
    r"""A module with a forward map and its inverse.

    .. math:: y = f(x), \qquad x = f^{-1}(y)

    Subclasses define `forward` and `inverse`, both from positional tensors to a tensor or a tuple of tensors, and
    write into none of them. :doc:`/extending` shows one in twenty lines, put through the laws of `liftlayers.testing`.

    A condition travels as the keyword ``condition=`` to every layer, and from there to every network, whose signature
    names it.

    Shape:
        - Whatever the subclass takes and returns; one band is returned bare, several as a tuple.

    Raises:
        TypeError: If a class that lacks `forward` or `inverse` is constructed.
        NotImplementedError: If a log-determinant is asked of a class that does not define it.

    References:
        [Dinh2015]_; [Gomez2017]_, whose blocks are rebuilt from what they returned; [Jacobsen2018]_, where all layers
        invert.

    Example:
        >>> class Negate(Invertible):
        ...     def forward(self, x):
        ...         return -x
        ...     def inverse(self, x):
        ...         return -x
        >>> Negate().inverse(Negate()(torch.ones(2)))
        tensor([1., 1.])
    """

    def __init__(self) -> None:  # the signature of layers that need none of their own
        super().__init__()

    # How many bands a layer takes is its own affair: `Any` tells type checkers that any signature may override these.
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

    def _no_log_det(self) -> str:
        return (
            f"{type(self).__name__} needs forward_and_log_det and inverse_and_log_det of its own, "
            "or VolumePreserving as its base, for a log-determinant"
        )

    def rebuild(self, *outputs: Any, **options: Any) -> Rebuilt:
        """Inputs from outputs, and the outputs again with a graph from those inputs, for training without stored bands.

        This default evaluates everything twice; couplings know how to do with once.

        Args:
            outputs: What `forward` returned, as leaves. Where a module returns as many bands as it takes, an output
                that requires no gradient says that its input needs none.
            options: The keywords that `forward` had.

        Returns:
            What `forward` took, as leaves that require a gradient unless they need none; and what it returned, with a
            graph that leads there and to the parameters. Both in order.
        """
        return _rebuild(Inverse(self), self, outputs, options)

    def rebuild_inverse(self, *outputs: Any, **options: Any) -> Rebuilt:
        """The same for `inverse`: its inputs from its outputs, and these again with a graph."""
        return _rebuild(self, self.inverse, outputs, options)

    @property
    def _undoes_first(self) -> bool:
        """Whether one of the two is this default, in which `inverse` is evaluated before `forward`."""
        kind = type(self)
        return kind.rebuild is Invertible.rebuild or kind.rebuild_inverse is Invertible.rebuild_inverse

    _redefined = False  # whether a direction is another than that of the layer it comes from

    def __init_subclass__(cls) -> None:
        """Where a class or its mixin defines a direction anew, it does not inherit how the old one is rebuilt, taken
        apart or made exact, nor its log-determinant, unless it promises `VolumePreserving` again."""
        super().__init_subclass__()
        forward, inverse = cls._places("forward"), cls._places("inverse")
        if len(forward) < 2 and len(inverse) < 2:
            return
        cls._redefined = True
        promised = VolumePreserving if VolumePreserving in cls.__bases__ else Invertible
        for name in ("rebuild", "rebuild_inverse", "steps", "forward_and_log_det", "inverse_and_log_det"):
            if min(cls._places(name), default=math.inf) > min(forward + inverse):
                setattr(cls, name, getattr(promised, name))

    @classmethod
    def _places(cls, name: str) -> list[int]:
        """Where among the class and its bases, up to this one, a method has a body, in the order of lookup."""
        bases = cls.__mro__[: cls.__mro__.index(Invertible)]
        found = [(place, vars(base)[name]) for place, base in enumerate(bases) if name in vars(base)]
        return [place for place, method in found if not getattr(method, "__isabstractmethod__", False)]

    @property
    def conditional(self) -> bool:
        """Whether the module has a use for ``condition=``."""
        return "condition" in inspect.signature(self.forward).parameters

    def steps(self) -> "tuple[Invertible, ...]":
        """The steps that this module takes one after the other, as fine as they go: itself, unless it is a chain."""
        return (self,)


class VolumePreserving(Invertible):
    r"""An invertible module that keeps volume: its log-determinant is zero at no cost.

    .. math:: \left| \det \frac{\partial y}{\partial x} \right| = 1

    To name it as a base is to promise that volume is kept; nothing checks it but the laws. Whoever derives from a layer
    that keeps it and defines a direction anew has no log-determinant, until the class promises again.

    Shape:
        - As for `Invertible`; log-determinants have the shape :math:`(B,)`.

    Raises:
        ValueError: If a log-determinant is asked for and there is no band, or one without a batch.

    References:
        [Dinh2015]_, section 3.2; equation :eq:`determinant` of :doc:`/mathematics`.

    Example:
        >>> bands, log_det = Haar().forward_and_log_det(torch.rand(2, 3, 4, 4))
        >>> log_det
        tensor([0., 0.])
    """

    def forward_and_log_det(self, *bands: Any, **options: Any) -> tuple[Bands, Tensor]:
        return self(*bands, **options), zero_log_det(bands)

    def inverse_and_log_det(self, *bands: Any, **options: Any) -> tuple[Bands, Tensor]:
        return self.inverse(*bands, **options), zero_log_det(bands)


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
        return module.module if isinstance(module, Inverse) else super().__new__(cls)

    def __init__(self, module: Invertible) -> None:
        if not isinstance(module, Invertible):
            raise TypeError(f"Inverse needs an Invertible module, got {type(module).__name__}")
        super().__init__()
        self.module = module
        self.training = module.training

    def forward(self, *bands: Tensor, **options: Tensor) -> Bands:
        return self.module.inverse(*bands, **options)

    def inverse(self, *bands: Tensor, **options: Tensor) -> Bands:
        return self.module(*bands, **options)

    def forward_and_log_det(self, *bands: Tensor, **options: Tensor) -> tuple[Bands, Tensor]:
        return self.module.inverse_and_log_det(*bands, **options)

    def inverse_and_log_det(self, *bands: Tensor, **options: Tensor) -> tuple[Bands, Tensor]:
        return self.module.forward_and_log_det(*bands, **options)

    def rebuild(self, *outputs: Tensor, **options: Tensor) -> Rebuilt:
        return self.module.rebuild_inverse(*outputs, **options)

    def rebuild_inverse(self, *outputs: Tensor, **options: Tensor) -> Rebuilt:
        return self.module.rebuild(*outputs, **options)

    @property
    def conditional(self) -> bool:
        return self.module.conditional

    def steps(self) -> tuple[Invertible, ...]:
        finer = self.module.steps()
        return (self,) if finer == (self.module,) else tuple(Inverse(step) for step in reversed(finer))


def bare(bands: tuple[Tensor, ...]) -> Bands:
    """One band bare, several as a tuple."""
    return bands[0] if len(bands) == 1 else bands


def zero_log_det(bands: tuple[Tensor, ...]) -> Tensor:
    """A zero an image, of shape (B,), in the bands' dtype and on their device."""
    if not bands or bands[0].ndim == 0:
        raise ValueError(f"a log-determinant needs bands of shape (B, ...), got {'()' if bands else 'none'}")
    return bands[0].new_zeros(len(bands[0]))


def _rebuild(
    back: Invertible, forth: Callable[..., Bands], outputs: tuple[Tensor, ...], options: dict[str, Any]
) -> Rebuilt:
    inputs = tuple(x.detach().requires_grad_(is_differentiable(x)) for x in without_trace(back, outputs, options))
    with torch.enable_grad():
        return inputs, as_tuple(forth(*inputs, **options))
