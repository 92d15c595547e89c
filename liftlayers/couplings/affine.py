"""The affine coupling: one band scales and shifts the other."""

import math

import torch
from torch import Tensor, nn

from liftlayers.couplings.base import Coupling


class AffineCoupling(Coupling):
    r"""Scales and shifts the second band by functions of the first.

    .. math::

        a' = a, \qquad b' = b\,e^{s(a)} + t(a), \qquad s = c \tanh(r / 2), \qquad (r, t) = f(a)

    The inverse is :math:`b = (b' - t)\,e^{-s}`: :math:`f` itself is never inverted, so any deterministic network will
    do. The Jacobian is triangular with :math:`e^s` on its diagonal, so :math:`\log |\det| = \sum s`. The scale stays
    within :math:`e^{\pm c}` for every output of the network.

    HiNet writes the exponent as :math:`2c\,(\sigma(r) - \tfrac12)`, with the logistic :math:`\sigma` and :math:`c = 2`;
    IRN as :math:`c\,(2 \sigma(r) - 1)`, with :math:`c = 1`. Both are this :math:`c \tanh(r / 2)`.

    Args:
        network: The function :math:`f`, from :math:`(B, C_a, *)` to :math:`(B, 2C_b, *)`: first :math:`r`, then
            :math:`t`.
        clamp: The bound :math:`c` of the exponent.

    Shape:
        - Input and output: :math:`a` of shape :math:`(B, C_a, *)` and :math:`b` of shape :math:`(B, C_b, *)`,
          floating-point, of any range.
        - Log-determinant: :math:`(B,)`.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, a band is not floating-point, or the network returns
            no real tensor.
        ValueError: If `clamp` is not a positive number, the bands are on different devices, :math:`b` has no channels,
            the network's output does not have twice the channels of :math:`b`, or there is a condition and the network
            takes none.

    References:
        [Dinh2017]_, section 3.2; [Jing2021]_; [Xiao2020]_.

    Example:
        >>> step = AffineCoupling(nn.Conv2d(3, 2 * 9, 3, padding=1))
        >>> (a, b), log_det = step.forward_and_log_det(torch.rand(2, 3, 8, 8), torch.ones(2, 9, 8, 8))
        >>> log_det.shape
        torch.Size([2])
        >>> torch.allclose(step.inverse(a, b)[1], torch.ones(2, 9, 8, 8), atol=1e-5)
        True
    """

    def __init__(self, network: nn.Module, *, clamp: float = 2.0) -> None:
        super().__init__(network)
        if not isinstance(clamp, int | float) or not 0 < clamp < math.inf:  # so that nan fails too
            raise ValueError(f"AffineCoupling needs a positive, finite clamp, got {clamp}")
        self.clamp = clamp

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        s, t = self._scale_and_shift(target, value)
        return target * s.exp() + t

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        s, t = self._scale_and_shift(target, value)
        return (target - t) * (-s).exp()

    def log_det(self, target: Tensor, value: Tensor) -> Tensor:
        s, _ = self._scale_and_shift(target, value)
        return s.flatten(1).sum(1, dtype=torch.promote_types(s.dtype, torch.float32))  # float16 would overflow

    def output_shape(self, target: Tensor) -> tuple[int, ...]:
        if target.ndim < 2:
            raise ValueError(f"AffineCoupling needs bands of shape (B, C, ...), got {tuple(target.shape)}")
        return (target.shape[0], 2 * target.shape[1], *target.shape[2:])

    def extra_repr(self) -> str:
        return f"clamp={self.clamp:g}"

    def _scale_and_shift(self, target: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the exponent and the shift, both of the shape and dtype of the target."""
        raw, t = value.to(target.dtype).chunk(2, dim=1)  # under autocast the network alone is rounded
        return self.clamp * torch.tanh(raw / 2), t
