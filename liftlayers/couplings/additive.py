"""The additive coupling, the step that every lifting scheme is made of."""

__all__ = ["AdditiveCoupling"]

import torch
from torch import Tensor, nn

from liftlayers._checks import require_float, require_same_device
from liftlayers.invertible import Invertible, Rebuilt, VolumePreserving
from liftlayers.nn._networks import require_network, takes_condition


class NetworkStep(Invertible):
    """Base of the steps that change one band by what a network makes of the other."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        require_network(type(self).__name__, network)
        self.network = network
        self._conditional = takes_condition(network)

    @property
    def conditional(self) -> bool:
        return self._conditional

    def evaluate(self, source: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        """The network's value, which is about to change `target` but neither its shape nor its dtype."""
        who = type(self).__name__
        require_float(who, source, target)
        require_same_device(who, source, target)
        needed = self.needed(target)
        if condition is None:
            output = self.network(source)
        elif self._conditional:
            output = self.network(source, condition=condition)
        else:
            raise ValueError(f"{who} got a condition, but its network, {type(self.network).__name__}, takes none")
        if not isinstance(output, Tensor):
            raise TypeError(f"{who} needs a network that returns a tensor, got {type(output).__name__}")
        if output.is_complex():
            raise TypeError(f"{who} needs a network that returns real numbers, got {output.dtype}")
        if output.shape != needed:  # else it would broadcast in silence
            raise ValueError(f"{who} needs a network output of shape {needed}, got {tuple(output.shape)}")
        # Else the sum would be of the network's dtype. A lower one, as autocast's, is best left to the sum itself.
        wins = torch.promote_types(output.dtype, target.dtype) != target.dtype
        return output.to(target.dtype) if wins else output

    def needed(self, target: Tensor) -> tuple[int, ...]:
        """The shape that the network's value must have."""
        return tuple(target.shape)


class AdditiveStep(NetworkStep, VolumePreserving):
    """Base of the steps that add the network's value to the other band, or subtract it."""

    def rebuild_target(
        self, source: Tensor, target: Tensor, condition: Tensor | None, *, sign: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Undoes ``target + sign * network(source)`` and does it again, with one evaluation for both."""
        source = source.detach().requires_grad_(source.requires_grad)
        with torch.enable_grad():
            value = self.evaluate(source, target, condition)
        with torch.no_grad():
            before = target - value if sign > 0 else target + value
        before.requires_grad_(target.requires_grad)
        with torch.enable_grad():
            return source, before, before + value if sign > 0 else before - value


class AdditiveCoupling(AdditiveStep):
    r"""Adds a function of the first band to the second.

    .. math:: a' = a, \qquad b' = b + f(a)

    The inverse subtracts :math:`f(a)` again: :math:`f` itself is never inverted, so any deterministic network will do.
    The Jacobian is triangular with ones on its diagonal: volume is kept.

    Args:
        network: The function :math:`f`, from the shape of :math:`a` to the shape of :math:`b`.

    Shape:
        - Input and output: :math:`a` of shape :math:`(B, C_a, *)` and :math:`b` of shape :math:`(B, C_b, *)`,
          floating-point, of any range. Both keep their dtype, whatever the network's is.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, a band is not floating-point, or the network returns
            no real tensor.
        ValueError: If the bands are on different devices, the network's output has not the shape of :math:`b`, or a
            condition comes that it does not take.

    References:
        [Dinh2015]_, section 3.2; equation :eq:`determinant` of :doc:`/mathematics`.

    Example:
        >>> step = AdditiveCoupling(nn.Linear(4, 2))
        >>> a, b = step(torch.ones(1, 4), torch.ones(1, 2))
        >>> torch.allclose(step.inverse(a, b)[1], torch.ones(1, 2))
        True
    """

    def forward(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return a, b + self.evaluate(a, b, condition)

    def inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return a, b - self.evaluate(a, b, condition)

    def rebuild(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> Rebuilt:
        a, before, after = self.rebuild_target(a, b, condition, sign=+1)
        return (a, before), (a, after)

    def rebuild_inverse(self, a: Tensor, b: Tensor, *, condition: Tensor | None = None) -> Rebuilt:
        a, before, after = self.rebuild_target(a, b, condition, sign=-1)
        return (a, before), (a, after)
