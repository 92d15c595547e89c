"""The additive coupling, the step that every lifting scheme is made of."""

__all__ = ["AdditiveCoupling"]

from torch import Tensor, nn

from liftlayers.functional._checks import require_float, require_same_device
from liftlayers.invertible import Invertible


def evaluate(who: str, network: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Returns `network(source)`, which `who` is about to add to `target`, once all of it is known to fit."""
    require_float(who, source, target)
    require_same_device(who, source, target)
    output = network(source)
    if not isinstance(output, Tensor):
        raise TypeError(f"{who} needs a network that returns a tensor, got {type(output).__name__}")
    if output.shape != target.shape:  # else it would broadcast in silence
        raise ValueError(f"{who} needs a network output of shape {tuple(target.shape)}, got {tuple(output.shape)}")
    return output


class AdditiveCoupling(Invertible):
    r"""Adds a function of the first band to the second.

    .. math:: a' = a, \qquad b' = b + f(a)

    The inverse subtracts :math:`f(a)` again: :math:`f` itself is never inverted, so any deterministic network will do.
    The Jacobian is triangular with ones on its diagonal: volume is kept.

    Args:
        network: The function :math:`f`, from the shape of :math:`a` to the shape of :math:`b`.

    Shape:
        - Input and output: :math:`a` of shape :math:`(B, C_a, *)` and :math:`b` of shape :math:`(B, C_b, *)`,
          floating-point, of any range.

    Raises:
        TypeError: If a band is not floating-point, or a network returns no tensor.
        ValueError: If the bands are on different devices, or the network's output has not the shape of :math:`b`.

    References:
        [Dinh2015]_, section 3.2.

    Example:
        >>> step = AdditiveCoupling(nn.Linear(4, 2))
        >>> a, b = step(torch.ones(1, 4), torch.ones(1, 2))
        >>> torch.allclose(step.inverse(a, b)[1], torch.ones(1, 2))
        True
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, b + evaluate("AdditiveCoupling", self.network, a, b)

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, b - evaluate("AdditiveCoupling", self.network, a, b)
