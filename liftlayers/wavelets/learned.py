"""Wavelet transforms with learned predictions and updates, which start as a named wavelet."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from liftlayers._bands import Bands
from liftlayers.chains.sequential import Sequential
from liftlayers.functional.schemes import require_scheme
from liftlayers.invertible import Invertible, VolumePreserving
from liftlayers.nn.predictors import BiasFreePredictor
from liftlayers.wavelets._learned_line import Boundary, LearnedScalePair, ScalePair, line
from liftlayers.wavelets._polyphase import BandOrder, HalvesTransposed, PolyphaseSplit

Scale = Literal["fixed", "learned"]
MakeNetwork = Callable[[int, int], nn.Module]


def _plane_predictor(in_channels: int, out_channels: int) -> nn.Module:
    return BiasFreePredictor(in_channels, out_channels, kernel_size=(3, 3))


class _Lifted(VolumePreserving):
    """Splits an image into its four polyphase components, then lifts along rows, then along columns."""

    _together = 1  # parts of each channel that a network sees together

    def __init__(
        self, name: str, boundary: Boundary, network: MakeNetwork, scale: Scale | None, *, shared: bool = False
    ) -> None:
        super().__init__()
        who = type(self).__name__
        if boundary not in get_args(Boundary):
            raise ValueError(f"{who} needs a boundary of 'periodization' or 'reflect', got {boundary!r}")
        if scale not in (*get_args(Scale), None):
            raise ValueError(f"{who} needs a scale of 'fixed', 'learned' or None, got {scale!r}")
        if isinstance(network, nn.Module) or not callable(network):
            raise TypeError(f"{who} needs a function that makes a network, got {type(network).__name__}")
        start, parts = require_scheme(who, name), self._together
        pairs = {"fixed": [ScalePair], "learned": [LearnedScalePair], None: []}[scale]
        learned = [
            ([network(parts, parts) for _ in start.steps], [pair(*start.scales) for pair in pairs])
            for _ in range(1 if shared else 2)
        ]
        self.split = PolyphaseSplit(who)
        self.rows = line(start, *learned[0], dim=-1, boundary=boundary, together=parts)
        self.transpose = HalvesTransposed()
        self.columns = line(start, *learned[-1], dim=-2, boundary=boundary, together=parts)
        self.order = BandOrder(who)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.rows(*self.split(x))  # (B, 2C, H/2, W/2) each
        return self.order(*self.columns(*self.transpose(low, high)))

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        low, high = self.transpose.inverse(*self.columns.inverse(*self.order.inverse(approx, detail)))
        return self.split.inverse(*self.rows.inverse(low, high))

    # Zero, unless other steps were put into `rows` or `columns`.
    def forward_and_log_det(self, x: Tensor) -> tuple[Bands, Tensor]:
        self._require_stated_map("forward", (x,), {})
        return Sequential(*self.steps()).forward_and_log_det(x)

    def inverse_and_log_det(self, approx: Tensor, detail: Tensor) -> tuple[Bands, Tensor]:
        self._require_stated_map("inverse", (approx, detail), {})
        return Sequential(*self.steps()).inverse_and_log_det(approx, detail)

    def steps(self) -> tuple[Invertible, ...]:
        return self.split, self.rows, self.transpose, self.columns, self.order


class LearnedWavelet(_Lifted):
    r"""One level of a separable wavelet transform with learned predictions and updates; it starts as a named wavelet.

    Along each row, then along each column, the odd samples :math:`d` are predicted from the even ones :math:`a`, and
    then the even ones are updated from the result. Each step adds the sum of the wavelet's fixed taps :math:`c` and the
    output of a network :math:`r`, which starts at zero and sees the differences :math:`\Delta` between one sample and
    the next:

    .. math::

        d'_n = d_n + \sum_j c_j \, a_{n + j} + r(\Delta a)_n, \qquad
        a'_n = a_n + \sum_j c'_j \, d'_{n + j} + r'(\Delta d')_n

    Haar and 5/3 have one such pair of steps, 9/7 has two. Then the two halves are scaled, by :math:`s` and :math:`t`::

        even ──┬─────(+)─ s ─ approx
               P      U
        odd ──(+)─────┴── t ─ detail

    It is invertible and keeps volume for any weights. Every channel has the same networks, so the number of channels is
    free. Order and stacking of the bands are those of `Haar`, and so are the signs, unless ``scale=None`` leaves out
    the factors. The steps along a row are the chain ``rows``, those along a column the chain ``columns``.

    With ``scale="fixed"`` it respects brightness :math:`\beta` and contrast :math:`\lambda \ge 0`, if the networks have
    no bias: the bands of
    :math:`\lambda x + \beta` are :math:`\lambda` times the bands of :math:`x` plus the named wavelet's bands of the
    constant :math:`\beta`. So a constant image keeps its zero detail.

    Autocast casts only the networks. Under autocast, and with module and image in float16 or bfloat16, the inverse
    returns images in [0, 1] within :math:`32 \varepsilon` at weights of order one, with :math:`\varepsilon` the unit
    roundoff of the lower precision, for Haar, 5/3 and 9/7; longer wavelets, such as db10, may need four times as much.
    `exact` returns them in every bit.

    Args:
        name: The wavelet to start from: ``"haar"``, ``"5/3"``, ``"9/7"``, or any other that `Wavelet` takes.
        boundary: Rule by which the fixed taps continue beyond the border, ``"periodization"`` or ``"reflect"``.
            Networks have their own rule; those of this library pad with zeros.
        network: Function that makes the network of each step. It is called with the network's input and output
            channels, here 1 and 1. The network sees lines along its input's last axis.
        scale: ``"fixed"`` for the factors of the named wavelet; ``"learned"`` for factors :math:`s e^g` and
            :math:`t e^{-g}` with :math:`g` learned; `None` for no factors, which `exact` requires.
        shared: Whether columns use the networks and scales of rows.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`; floating-point, of any range.
        - Inverse: the reverse.

    Raises:
        TypeError: If `network` is no function that returns modules, a tensor is not floating-point, or the bands'
            dtypes differ.
        ValueError: If `name`, `boundary` or `scale` is unknown, a network changes the shape, a tensor is not
            four-dimensional, a side is odd, or the bands do not fit together.

    References:
        [Sweldens1998]_; [Li2024]_, who find that fixed taps in addition to the learned networks help, and that more
        channels help more than more layers.

    Example:
        >>> import functools
        >>> wavelet = LearnedWavelet("9/7", network=functools.partial(BiasFreePredictor, hidden_channels=32))
        >>> approx, detail = wavelet(torch.rand(2, 3, 8, 8))
        >>> approx.shape, detail.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 9, 4, 4]))
    """

    def __init__(
        self,
        name: str = "5/3",
        *,
        boundary: Boundary = "periodization",
        network: MakeNetwork = BiasFreePredictor,
        scale: Scale | None = "fixed",
        shared: bool = False,
    ) -> None:
        super().__init__(name, boundary, network, scale, shared=shared)


class NonseparableLearnedWavelet(_Lifted):
    r"""One level of a wavelet transform with two-dimensional networks; it starts as a named separable wavelet.

    .. math::

        (d_0, d_1)' = (d_0, d_1) + \sum_j c_j \, (a_0, a_1)_{n + j} + r(\Delta a_0, \Delta a_1)_n, \qquad
        (a_0, a_1)' = (a_0, a_1) + \sum_j c'_j \, (d_0, d_1)'_{n + j} + r'(\Delta d_0', \Delta d_1')_n

    With :math:`x_{rs}` the samples of row parity :math:`r` and column parity :math:`s`, steps as in `LearnedWavelet`
    first lift the odd columns :math:`[x_{01}, x_{11}]` from the even ones :math:`[x_{00}, x_{10}]` and the other way
    round, then the odd and the even rows of the result. Fixed taps act along single lines, but each network sees both
    components of its half and their neighbours in all directions. For example, the diagonal detail is predicted from
    the approximation and the vertical detail together.

    Args:
        name: As for `LearnedWavelet`.
        boundary: As for `LearnedWavelet`.
        network: Function that makes the network of each step. It is called with the network's input and output
            channels, here 2 and 2.
        scale: As for `LearnedWavelet`.

    Shape:
        - As `LearnedWavelet`.

    Raises:
        TypeError: As for `LearnedWavelet`.
        ValueError: As for `LearnedWavelet`.

    References:
        [Sweldens1998]_; [Li2024]_.

    Example:
        >>> wavelet = NonseparableLearnedWavelet("5/3")
        >>> x = torch.rand(1, 3, 8, 8)
        >>> torch.allclose(wavelet(x)[1], LearnedWavelet("5/3")(x)[1])
        True
    """

    _together = 2

    def __init__(
        self,
        name: str = "5/3",
        *,
        boundary: Boundary = "periodization",
        network: MakeNetwork = _plane_predictor,
        scale: Scale | None = "fixed",
    ) -> None:
        super().__init__(name, boundary, network, scale)
