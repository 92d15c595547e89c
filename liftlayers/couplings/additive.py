"""The additive coupling, the step that every lifting scheme is made of."""

from torch import Tensor

from liftlayers.couplings.base import Coupling
from liftlayers.invertible import VolumePreserving


class AdditiveCoupling(VolumePreserving, Coupling):
    r"""Adds a function of the first band to the second.

    .. math:: a' = a, \qquad b' = b + f(a)

    The inverse subtracts :math:`f(a)` again: :math:`f` itself is never inverted, so any deterministic network will do.
    The Jacobian is triangular with ones on its diagonal: volume is kept.

    Args:
        network: The function :math:`f`, from the shape of :math:`a` to the shape of :math:`b`.

    Shape:
        - Input and output: :math:`a` of shape :math:`(B, C_a, *)` and :math:`b` of shape :math:`(B, C_b, *)`,
          of any range: floating-point, or integers with an `IntegerNetwork`, as in `Coupling`. Both keep their dtype.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, the bands are neither floating-point nor, with
            an `IntegerNetwork`, both integers, or the network returns no real tensor.
        ValueError: If the bands are on different devices, the network's output has another shape than :math:`b`, or
            there is a condition and the network takes none.
        RuntimeError: If the network writes into its input or its condition. They have been changed by then, but
            not where it writes into copies, as in `Coupling`.

    References:
        [Dinh2015]_, section 3.2; equation :eq:`determinant` of :doc:`/mathematics`.

    Example:
        >>> step = AdditiveCoupling(nn.Linear(4, 2))
        >>> a, b = step(torch.ones(1, 4), torch.ones(1, 2))
        >>> torch.allclose(step.inverse(a, b)[1], torch.ones(1, 2))
        True
    """

    takes_integers = True

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return target + value

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return target - value
