"""The coupling: one band changes by a function of the other, and by an invertible rule."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands, require_log_det, zero_log_det
from liftlayers._checks import require_float, require_same_device
from liftlayers._graphs import counts_writes, version_of
from liftlayers._maps import same_map, stating_class
from liftlayers.functional.lossless import DTYPES
from liftlayers.invertible import Invertible, VolumePreserving
from liftlayers.nn._networks import input_is_written, is_integer, require_network, takes_condition

Pair = tuple[Tensor, Tensor]
Rule = Callable[[Tensor, Tensor], Tensor]


class Coupling(Invertible):
    r"""Base of the layers that change one band, the target, by what a network makes of the other, the source.

    .. math:: s' = s, \qquad t' = \operatorname{change}(t, f(s)), \qquad t = \operatorname{undo}(t', f(s))

    A subclass defines the rule, ``change`` and ``undo``, which maps the target back and forth for a given output of the
    network. The network :math:`f` itself is never inverted, so any deterministic network will do. The base class adds
    both directions, conditions, checks of the network's output, and training in every memory mode, in which the
    backward pass evaluates the network at most once. :doc:`/extending` builds a coupling in ten lines.

    Four more things may be defined: ``log_det``, the log-determinant of ``change``, unless the class is
    `VolumePreserving`; ``output_shape``, if the network's output has another shape than the target; the class
    attribute ``source``, the position of the source among the two bands, 0 or 1; and ``takes_integers``, if the rule
    maps integers to integers.

    Args:
        network: The function :math:`f`, from the shape of the source to ``output_shape``.

    Shape:
        - Input and output: two bands of the shapes that the network maps between, floating-point, of any range; or
          integers, if the rule takes them and the network is an `IntegerNetwork`. Sums of integers that leave the
          range of their dtype wrap around, which the inverse undoes. Both bands keep their dtype, whichever dtype the
          network returns.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, the bands are neither floating-point nor, with
            an `IntegerNetwork`, both integers, the network returns no real tensor, or the rule no tensor.
        ValueError: If ``source`` is neither 0 nor 1, the bands are on different devices, the network's output has
            another shape than ``output_shape`` says, the rule returns another shape than the target's, the
            log-determinant is not of shape :math:`(B,)`, or there is a condition and the network takes none.
        RuntimeError: If the network writes into its input or its condition. They have been changed by then. (In
            inference mode and inside ``torch.func``, where torch does not count writes, it writes into copies.)
        NotImplementedError: If a log-determinant is asked for and the class defines none, or a subclass changes the map
            of the class that does.

    References:
        [Dinh2015]_, section 3.2, where the rule is called the coupling law.

    Example:
        >>> class Gated(Coupling):
        ...     def change(self, target, value):
        ...         return target + value.tanh()
        ...     def undo(self, target, value):
        ...         return target - value.tanh()
        >>> step = Gated(nn.Linear(4, 2))
        >>> a, b = step(torch.ones(1, 4), torch.ones(1, 2))
        >>> torch.allclose(step.inverse(a, b)[1], torch.ones(1, 2))
        True
    """

    source: ClassVar[int] = 0
    """Which of the two bands is the source, 0 or 1; the other one is the target."""

    takes_integers: ClassVar[bool] = False
    """Whether the rule maps integers to integers, so that bands of integers need nothing but a network of integers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        require_network(type(self).__name__, network)
        if self.source not in (0, 1):
            raise ValueError(f"{type(self).__name__} needs a source of 0 or 1, got {self.source!r}")
        self.network = network

    @abstractmethod
    def change(self, target: Tensor, value: Tensor) -> Tensor:
        """Maps the target, given what the network returned. It must not write into either."""

    @abstractmethod
    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        """Maps the target back: the inverse of `change` for the same value."""

    def log_det(self, target: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002
        r"""Returns :math:`\log |\det \partial \operatorname{change} / \partial t|` at a target, of shape :math:`(B,)`.

        Raises:
            NotImplementedError: If the class neither defines it nor is `VolumePreserving`.
        """
        if isinstance(self, VolumePreserving):
            return zero_log_det((target,))
        raise NotImplementedError(
            f"{type(self).__name__} needs log_det of its own, or VolumePreserving as its base, for a log-determinant"
        )

    def output_shape(self, target: Tensor) -> tuple[int, ...]:
        """Returns the shape that the network's output must have."""
        return tuple(target.shape)

    @property
    def conditional(self) -> bool:
        return takes_condition(self.network)

    def forward(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> Pair:
        source, target = self._in_order(a, b)
        return self._in_order(source, self._mapped(self.change, target, self.evaluate(source, target, condition)))

    def inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> Pair:
        source, target = self._in_order(a, b)
        return self._in_order(source, self._mapped(self.undo, target, self.evaluate(source, target, condition)))

    def forward_and_log_det(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        source, target = self._in_order(a, b)
        value = self.evaluate(source, target, condition)
        self._require_map("forward", (a, b), condition)
        after = self._mapped(self.change, target, value)
        log_det = require_log_det(type(self).__name__, self.log_det(target, value), target)
        return self._in_order(source, after), log_det

    def inverse_and_log_det(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Bands, Tensor]:
        source, target = self._in_order(a, b)
        value = self.evaluate(source, target, condition)
        before = self._mapped(self.undo, target, value)
        self._require_map("inverse", (a, b), condition)
        log_det = require_log_det(type(self).__name__, self.log_det(before, value), target)
        return self._in_order(source, before), -log_det

    def rebuild(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Pair, Pair]:
        """Rebuilds the inputs of `forward` from its outputs, and returns the outputs again with a graph."""
        return self._rebuild(a, b, condition, back=self.undo, forth=self.change)

    def rebuild_inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Pair, Pair]:
        """Rebuilds the inputs of `inverse` from its outputs, and returns the outputs again with a graph."""
        return self._rebuild(a, b, condition, back=self.change, forth=self.undo)

    def _rebuild(self, a: Tensor, b: Tensor, condition: Tensor | None, *, back: Rule, forth: Rule) -> tuple[Pair, Pair]:
        """Undoes the change of the target and makes it again, with one evaluation of the network for both."""
        source, target = self._in_order(a, b)
        with torch.enable_grad():
            value = self.evaluate(source[...], target, condition)  # a view, as in `repeat`
            before = self._mapped(back, target.detach(), value.detach()).detach().requires_grad_(target.requires_grad)
            return self._in_order(source, before), self._in_order(source, self._mapped(forth, before, value))

    def _mapped(self, rule: Rule, target: Tensor, value: Tensor) -> Tensor:
        """Applies a direction of the rule, and returns the target in its own dtype."""
        mapped, who = rule(target, value), type(self).__name__
        if not isinstance(mapped, Tensor):
            raise TypeError(f"{who} needs a rule that returns a tensor, got {type(mapped).__name__}")
        if mapped.shape != target.shape or mapped.is_floating_point() != target.is_floating_point():
            needed, found = (f"shape {tuple(x.shape)} and {x.dtype}" for x in (target, mapped))
            raise ValueError(f"{who} needs a rule that returns a target like the given one, of {needed}, got {found}")
        return mapped.to(target.dtype)

    def evaluate(self, source: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        """Returns the network's output for a source, checked against the target that it is about to change."""
        who = type(self).__name__
        self._require_numbers(source, target)
        if source.device != target.device:
            require_same_device(who, source, target)
        needed = self.output_shape(target)
        versions, counted = _versions(source, condition), counts_writes(source)
        if not counted:  # a network that writes into its input gets a copy
            source, condition = source.clone(), condition.clone() if isinstance(condition, Tensor) else condition
        if condition is None:
            value = self.network(source)
        elif self.conditional:
            value = self.network(source, condition=condition)
        else:
            raise ValueError(f"{who} got a condition, but its network, {type(self.network).__name__}, takes none")
        if counted and versions != _versions(source, condition):
            raise input_is_written(who, self.network)
        if not isinstance(value, Tensor):
            raise TypeError(f"{who} needs a network that returns a tensor, got {type(value).__name__}")
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"{who} needs a network that returns real numbers, got {value.dtype}")
        if value.is_floating_point() and not target.is_floating_point():
            raise TypeError(f"{who} needs a network that returns integers for integers, got {value.dtype}")
        if value.shape != needed:  # else it would broadcast without notice
            raise ValueError(f"{who} needs a network output of shape {needed}, got {tuple(value.shape)}")
        # A wider dtype would widen the target. A narrower one, as under autocast, is left to the arithmetic itself.
        widens = value.dtype != target.dtype != torch.promote_types(value.dtype, target.dtype)
        return value.to(target.dtype) if widens else value

    def _require_numbers(self, *bands: Tensor) -> None:
        """Raises unless all bands are floating-point, or all hold integers and rule and network take those."""
        if all(isinstance(band, Tensor) and band.is_floating_point() for band in bands):
            return
        integers = [isinstance(band, Tensor) and band.dtype in DTYPES for band in bands]
        if not (all(integers) and self.takes_integers and is_integer(self.network)):
            require_float(type(self).__name__, *bands)

    def _in_order(self, first: Tensor, second: Tensor) -> Pair:
        """Turns (a, b) into (source, target), and (source, target) into (a, b)."""
        return (second, first) if self.source else (first, second)

    def _require_map(self, direction: str, bands: Pair, condition: Tensor | None) -> None:
        """Raises if a subclass changes the map of the class that defines `log_det`."""
        stating = stating_class(type(self), lambda kind: "log_det" in vars(kind))
        options = {} if condition is None else {"condition": condition}
        if not same_map(self, stating, direction, bands, options):
            raise NotImplementedError(
                f"{type(self).__name__} changes the map of {stating.__name__}, so it needs log_det of its own for a "
                "log-determinant"
            )


def _versions(*tensors: Tensor | None) -> list[int]:
    """Returns how often each tensor was written to, which a compiler does not count."""
    if torch.compiler.is_compiling():
        return []
    return [version_of(tensor) for tensor in tensors if isinstance(tensor, Tensor)]
