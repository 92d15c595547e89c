"""Lifting with learned predictions and updates that starts as a named wavelet."""

__all__ = ["BiasFreePredictor", "LearnedWavelet", "NonseparableLearnedWavelet"]

import functools
from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from liftlayers._checks import require_image, require_positive
from liftlayers.functional.schemes import Scheme, require_scheme
from liftlayers.invertible import Invertible, VolumePreserving
from liftlayers.nn.predictors import zero_
from liftlayers.wavelets._learned_line import Boundary, LearnedScalePair, ScalePair, line
from liftlayers.wavelets._polyphase import BandOrder, HalvesTransposed, PolyphaseSplit

Scale = Literal["fixed", "learned"]
MakeNetwork = Callable[[int, int], nn.Module]


class BiasFreePredictor(nn.Module):
    r"""A predictor that grows with its input: convolutions and leaky rectifiers without a bias.

    .. math::

        P(x) = W_{n+1} * \sigma(W_n * \dots \sigma(W_1 * x)), \qquad \sigma(t) = \max(t, 0.1\,t), \qquad
        P(\lambda x) = \lambda P(x) \text{ for } \lambda \ge 0

    Kernels are zero-padded; the last, :math:`W_{n+1}`, starts at zero.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the prediction.
        hidden_channels: Channels in between.
        num_hidden: Number :math:`n` of hidden layers.
        kernel_size: Height and width of the kernels, or one number for both, odd. A height of 1 keeps to rows.

    Shape:
        - Input :math:`(B, C_{in}, H, W)` of any range, output :math:`(B, C_{out}, H, W)`.

    Raises:
        TypeError: If the input is not floating-point.
        ValueError: If a number is below 1, a side of the kernels is even, or the input has not the right shape.

    References:
        [Mohan2020]_, who leave out the bias so that a network scales with its input.

    Example:
        >>> BiasFreePredictor(1, 1)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 16,
        num_hidden: int = 1,
        kernel_size: int | tuple[int, int] = (1, 3),
    ) -> None:
        super().__init__()
        sides = (kernel_size,) if isinstance(kernel_size, int) else kernel_size
        require_positive("BiasFreePredictor", "sizes", in_channels, out_channels, hidden_channels, num_hidden, *sides)
        if any(side % 2 == 0 for side in sides):
            raise ValueError(f"BiasFreePredictor needs a kernel_size of odd numbers, got {kernel_size}")
        self.in_channels = in_channels
        conv = functools.partial(nn.Conv2d, kernel_size=kernel_size, padding="same", bias=False)
        self.hidden = nn.Sequential()
        for before in [in_channels] + [hidden_channels] * (num_hidden - 1):
            self.hidden.append(conv(before, hidden_channels))
            self.hidden.append(nn.LeakyReLU(0.1))
        self.last = zero_(conv(hidden_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        require_image("BiasFreePredictor", x, channels=self.in_channels)
        return self.last(self.hidden(x))


def _plane_predictor(in_channels: int, out_channels: int) -> nn.Module:
    return BiasFreePredictor(in_channels, out_channels, kernel_size=(3, 3))


class _Lifted(VolumePreserving):
    """Lifts rows, then columns, of an image that is split once and for all into its four polyphase components."""

    def __init__(
        self,
        name: str,
        boundary: Boundary,
        network: MakeNetwork,
        scale: Scale | None,
        *,
        shared: bool = False,
        together: int = 1,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        if boundary not in get_args(Boundary):
            raise ValueError(f"{who} needs a boundary of 'periodization' or 'reflect', got {boundary!r}")
        if scale not in (*get_args(Scale), None):
            raise ValueError(f"{who} needs a scale of 'fixed', 'learned' or None, got {scale!r}")
        start = require_scheme(who, name)
        learned = [_residuals_and_scales(start, network, scale, together) for _ in range(1 if shared else 2)]
        options = {"boundary": boundary, "together": together}
        self.split = PolyphaseSplit(who)
        self.rows = line(start, *learned[0], dim=-1, **options)
        self.transpose = HalvesTransposed()
        self.columns = line(start, *learned[-1], dim=-2, **options)
        self.order = BandOrder(who)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.rows(*self.split(x))  # (B, 2C, H/2, W/2) each
        return self.order(*self.columns(*self.transpose(low, high)))

    def inverse(self, approx: Tensor, detail: Tensor) -> Tensor:
        low, high = self.transpose.inverse(*self.columns.inverse(*self.order.inverse(approx, detail)))
        return self.split.inverse(*self.rows.inverse(low, high))

    def steps(self) -> tuple[Invertible, ...]:
        return self.split, self.rows, self.transpose, self.columns, self.order


def _residuals_and_scales(
    start: Scheme, network: MakeNetwork, scale: Scale | None, together: int
) -> tuple[list[nn.Module], list[ScalePair]]:
    """What one axis learns, new and at its start."""
    kinds = {"fixed": [ScalePair], "learned": [LearnedScalePair], None: []}[scale]
    return [network(together, together) for _ in start.steps], [kind(*start.scales) for kind in kinds]


class LearnedWavelet(_Lifted):
    r"""One level of a separable wavelet transform whose predictions and updates learn, starting as a named wavelet.

    Along each row, then along each column, the odd samples :math:`d` are predicted from the even ones :math:`a`, which
    are updated in turn: by the fixed taps :math:`c` of the wavelet, and by networks :math:`r` that start at zero and
    see the differences :math:`\Delta` between one sample and the next:

    .. math::

        d'_n = d_n + \sum_j c_j \, a_{n + j} + r(\Delta a)_n, \qquad
        a'_n = a_n + \sum_j c'_j \, d'_{n + j} + r'(\Delta d')_n

    Haar and 5/3 have one such pair of steps, 9/7 has two. Then both are scaled, by :math:`s` and :math:`t`::

        even ──┬─────(+)─ s ─ approx
               P      U
        odd ──(+)─────┴── t ─ detail

    It is invertible whatever it learns, and volume is kept. Networks are the same for every channel, of which there
    may be any number. Order, sign and stacking of the bands are those of `Haar`. The steps along a row are the list
    ``rows``, those along a column the list ``columns``.

    Brightness :math:`\beta` and contrast :math:`\lambda \ge 0` pass through, if the networks have no bias: of
    :math:`\lambda x + \beta` it returns :math:`\lambda` times its bands of :math:`x`, and the named wavelet's bands of
    the constant :math:`\beta`. So a constant image keeps its zero detail.

    Autocast casts the networks alone. Under it, and with module and image in float16 or bfloat16, images in [0, 1] come
    back within :math:`32 \varepsilon` at weights of order one, :math:`\varepsilon` the unit roundoff of the lower
    precision; `exact` returns them in every bit.

    Args:
        name: The wavelet to start from: ``"haar"``, ``"5/3"``, ``"9/7"``, or any other that `Wavelet` takes.
        boundary: How the fixed taps go on beyond the border, ``"periodization"`` or ``"reflect"``. Networks have a
            rule of their own, which is zeros in this library's.
        network: Makes a network for each step, called with the channels that it takes and returns, here 1 and 1. It
            sees the lines along its input's last axis.
        scale: ``"fixed"`` for the factors of the named wavelet; ``"learned"`` for factors :math:`s e^g` and
            :math:`t e^{-g}`, :math:`g` learned; `None` for no factors, as `exact` needs it.
        shared: Whether columns have the networks and scales of rows.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to approximation :math:`(B, C, H/2, W/2)` and
          detail :math:`(B, 3C, H/2, W/2)`; floating-point, of any range.
        - Inverse: back again.

    Raises:
        TypeError: If a tensor is not floating-point, or the bands' dtypes differ.
        ValueError: If `name`, `boundary` or `scale` is unknown, a network changes the shape, a tensor is not
            four-dimensional, a side is odd, or the bands do not fit together.

    References:
        [Sweldens1998]_; [Li2024]_, who find that fixed steps under the learned ones help, and that more channels help
        more than more layers.

    Example:
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
    r"""One level of a wavelet transform whose networks see the plane, starting as a named separable wavelet.

    .. math::

        (d_0, d_1)' = (d_0, d_1) + \sum_j c_j \, (a_0, a_1)_{n + j} + r(\Delta a_0, \Delta a_1)_n, \qquad
        (a_0, a_1)' = (a_0, a_1) + \sum_j c'_j \, (d_0, d_1)'_{n + j} + r'(\Delta d_0', \Delta d_1')_n

    With :math:`x_{rs}` the samples of row parity :math:`r` and column parity :math:`s`, steps as in `LearnedWavelet`
    lift the odd columns :math:`[x_{01}, x_{11}]` and the even ones :math:`[x_{00}, x_{10}]` by each other, then the odd
    and the even rows of the result. Fixed taps stay on their lines, but each network sees both components of its half,
    and their neighbours in all directions: the diagonal detail, say, is predicted from the approximation and the
    vertical detail together.

    Args:
        name: As for `LearnedWavelet`.
        boundary: As for `LearnedWavelet`.
        network: Makes a network for each step, called with the channels that it takes and returns, here 2 and 2.
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

    def __init__(
        self,
        name: str = "5/3",
        *,
        boundary: Boundary = "periodization",
        network: MakeNetwork = _plane_predictor,
        scale: Scale | None = "fixed",
    ) -> None:
        super().__init__(name, boundary, network, scale, together=2)
