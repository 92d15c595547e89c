"""The two lifting steps, predict and update, and the block that applies one after the other."""

from torch import Tensor, nn

from liftlayers._bands import Bands
from liftlayers.couplings.base import Coupling
from liftlayers.invertible import Invertible, VolumePreserving, is_made_of_steps


class Predict(VolumePreserving, Coupling):
    r"""Subtracts a prediction, which it computes from the approximation, from the detail.

    .. math:: a' = a, \qquad d' = d - P(a)

    The inverse adds :math:`P(a)` back: :math:`P` is never inverted, so any deterministic network will do.

    Args:
        network: The predictor :math:`P`, from :math:`(B, C_a, H, W)` to :math:`(B, C_d, H, W)`.

    Shape:
        - Input and output: approximation :math:`(B, C_a, H, W)` and detail :math:`(B, C_d, H, W)`, of any range:
          floating-point, or integers with an `IntegerNetwork`, as in `Coupling`. Both keep their dtype.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, the bands are neither floating-point nor, with
            an `IntegerNetwork`, both integers, or the network returns no real tensor.
        ValueError: If the bands are on different devices, the network's output has another shape than the detail, or
            there is a condition and the network takes none.
        RuntimeError: If the network writes into its input or its condition. They have been changed by then, but
            not where it writes into copies, as in `Coupling`.

    References:
        [Sweldens1998]_; equation :eq:`predict` of :doc:`/mathematics`.

    Example:
        >>> step = Predict(nn.Conv2d(3, 9, 3, padding=1))
        >>> approx, detail = step(torch.ones(1, 3, 8, 8), torch.ones(1, 9, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([1, 3, 8, 8]), torch.Size([1, 9, 8, 8]))
    """

    takes_integers = True

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return target - value

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return target + value


class Update(VolumePreserving, Coupling):
    r"""Adds an update, which it computes from the detail, to the approximation.

    .. math:: a' = a + U(d), \qquad d' = d

    The inverse subtracts :math:`U(d)` again: :math:`U` is never inverted, so any deterministic network will do.

    Args:
        network: The update :math:`U`, from :math:`(B, C_d, H, W)` to :math:`(B, C_a, H, W)`.

    Shape:
        - Input and output: approximation :math:`(B, C_a, H, W)` and detail :math:`(B, C_d, H, W)`, of any range:
          floating-point, or integers with an `IntegerNetwork`, as in `Coupling`. Both keep their dtype.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, the bands are neither floating-point nor, with
            an `IntegerNetwork`, both integers, or the network returns no real tensor.
        ValueError: If the bands are on different devices, the network's output has another shape than the
            approximation, or there is a condition and the network takes none.
        RuntimeError: If the network writes into its input or its condition. They have been changed by then, but
            not where it writes into copies, as in `Coupling`.

    References:
        [Sweldens1998]_; equation :eq:`update` of :doc:`/mathematics`.

    Example:
        >>> step = Update(nn.Conv2d(9, 3, 3, padding=1))
        >>> approx, detail = step(torch.ones(1, 3, 8, 8), torch.ones(1, 9, 8, 8))
        >>> torch.equal(detail, torch.ones(1, 9, 8, 8))
        True
    """

    source = 1  # the detail
    takes_integers = True

    def change(self, target: Tensor, value: Tensor) -> Tensor:
        return target + value

    def undo(self, target: Tensor, value: Tensor) -> Tensor:
        return target - value


class LiftingBlock(VolumePreserving):
    r"""Predicts the detail from the approximation, then updates the approximation from the remaining detail.

    .. math:: d' = d - P(a), \qquad a' = a + U(d')

    The inverse takes the opposite order, :math:`a = a' - U(d')` and then :math:`d = d' + P(a)`::

        a ──┬──────────(+)── a'         a' ─(-)──────────┬── a
            P           │                    │           P
            │           U                    U           │
        d ─(-)──────────┴── d'          d' ──┴──────────(+)─ d

               forward                         inverse

    Args:
        predict: The predictor :math:`P`, from :math:`(B, C_a, H, W)` to :math:`(B, C_d, H, W)`; or a `Predict` around
            it.
        update: The update :math:`U`, from :math:`(B, C_d, H, W)` to :math:`(B, C_a, H, W)`; or an `Update` around it.

    Shape:
        - Input and output: approximation :math:`(B, C_a, H, W)` and detail :math:`(B, C_d, H, W)`, of any range:
          floating-point, or integers with an `IntegerNetwork`, as in `Coupling`. Both keep their dtype.

    Raises:
        TypeError: If `predict` or `update` is no module, or another `Invertible`, the bands are neither floating-point
            nor, with an `IntegerNetwork` each, both integers, or a network returns no real tensor.
        ValueError: If the bands are on different devices, a network's output has another shape than its band, or
            there is a condition and neither network takes one.
        RuntimeError: If a network writes into its input or its condition. They have been changed by then, but
            not where it writes into copies, as in `Coupling`.

    References:
        [Sweldens1998]_; [Deng2023]_, equations (1) and (2), where (1) prints :math:`U` of the old detail, which (2)
        does not undo; equation :eq:`block` of :doc:`/mathematics`.

    Example:
        >>> block = LiftingBlock(nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(9, 3, 3, padding=1))
        >>> a, d = torch.rand(1, 3, 8, 8), torch.rand(1, 9, 8, 8)
        >>> [torch.allclose(x, y, atol=1e-6) for x, y in zip(block.inverse(*block(a, d)), (a, d))]
        [True, True]
    """

    def __init__(self, predict: nn.Module, update: nn.Module) -> None:
        super().__init__()
        self.predict = predict if isinstance(predict, Predict) else Predict(predict)
        self.update = update if isinstance(update, Update) else Update(update)

    @property
    def conditional(self) -> bool:
        return self.predict.conditional or self.update.conditional

    def forward(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        approx, detail = self.predict(approx, detail, **self._for(self.predict, condition))
        return self.update(approx, detail, **self._for(self.update, condition))

    def inverse(self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        approx, detail = self.update.inverse(approx, detail, **self._for(self.update, condition))
        return self.predict.inverse(approx, detail, **self._for(self.predict, condition))

    def forward_and_log_det(
        self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None
    ) -> tuple[Bands, Tensor]:
        if not is_made_of_steps(self):  # a subclass has another map
            return super().forward_and_log_det(approx, detail, **_options(condition))
        bands, first = self.predict.forward_and_log_det(approx, detail, **self._for(self.predict, condition))
        bands, second = self.update.forward_and_log_det(*bands, **self._for(self.update, condition))
        return bands, first + second

    def inverse_and_log_det(
        self, approx: Tensor, detail: Tensor, *, condition: Tensor | None = None
    ) -> tuple[Bands, Tensor]:
        if not is_made_of_steps(self):
            return super().inverse_and_log_det(approx, detail, **_options(condition))
        bands, first = self.update.inverse_and_log_det(approx, detail, **self._for(self.update, condition))
        bands, second = self.predict.inverse_and_log_det(*bands, **self._for(self.predict, condition))
        return bands, first + second

    def steps(self) -> tuple[Invertible, ...]:
        return self.predict, self.update

    def _for(self, step: Coupling, condition: Tensor | None) -> dict[str, Tensor]:
        """The condition for whichever of the two steps takes it; both refuse it if neither does."""
        return {} if self.conditional and not step.conditional else _options(condition)


def _options(condition: Tensor | None) -> dict[str, Tensor]:
    return {} if condition is None else {"condition": condition}
