"""A predictor of integers, for couplings whose numbers do not depend on the device or the kernel."""

from functools import partial

import torch
from torch import Tensor, nn

from liftlayers._checks import require_positive, require_shape
from liftlayers.functional.grid import require_bits, require_exponents, straight_through
from liftlayers.nn._integer_sums import whole
from liftlayers.nn.integer import IntegerConv2d, IntegerNetwork
from liftlayers.nn.predictors import zero_


class IntegerPredictor(IntegerNetwork):
    r"""A small predictor of integers, `ConvPredictor`'s counterpart for ``exact(chain, anywhere=True)``.

    .. math:: P(x) = 2^{-k} \operatorname{conv}_{n+1}(\dots \operatorname{conv}_1(\operatorname{round}(2^i x)))

    All layers are `IntegerConv2d`; those after the first rectify their inputs. The last one starts at zero.

    Bands are integers, or floats on the grid :math:`2^{-k}`. The first layer sees its input in steps of :math:`2^{-i}`,
    clipped at 255 steps; hidden layers have steps of :math:`2^{-h}`. For 8-bit images as integers, whole grey levels
    and eighths of them are a good choice; for images in [0, 1] and their Haar bands, :math:`2^{-7}` and
    :math:`2^{-10}`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the prediction.
        hidden_channels: Channels of the hidden layers.
        num_hidden: Number :math:`n` of hidden layers.
        bits: The exponent :math:`k` of the bands' grid: 0 for integers, and not above the `bits` of `exact`.
        input_bits: The exponent :math:`i` of the inputs; by default 0 for integers, else 7.
        hidden_bits: The exponent :math:`h` of the hidden layers; by default three more.
        zero_mean: Whether the first layer sees only differences of neighbours. That suits predictions of details.

    Shape:
        - Input :math:`(B, C_{in}, H, W)`, float32 or float64, or the integers of `IntegerConv2d` if `bits` is 0; output
          :math:`(B, C_{out}, H, W)`, in the same dtype if that is floating-point, and int32 if not.

    Raises:
        TypeError: If the input is in half precision, or holds integers and `bits` is not 0.
        ValueError: If a number is below 1, `bits` is not in 0, ..., 52, another exponent is not in -52, ..., 52, or the
            input has another shape.

    References:
        [Balle2019]_; as for `ConvPredictor`.

    Example:
        >>> photo = torch.randint(256, (1, 3, 8, 8), dtype=torch.int16)
        >>> chain = Sequential(LosslessWavelet(), LiftingBlock(IntegerPredictor(3, 9), IntegerPredictor(9, 3)))
        >>> torch.equal(randomise_(chain).inverse(*chain(photo)), photo)
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 24,
        num_hidden: int = 1,
        bits: int = 0,
        input_bits: int | None = None,
        hidden_bits: int | None = None,
        zero_mean: bool = False,
    ) -> None:
        super().__init__()
        numbers = {"in_channels": in_channels, "out_channels": out_channels, "hidden_channels": hidden_channels}
        require_positive("IntegerPredictor", **numbers, num_hidden=num_hidden)
        require_bits("IntegerPredictor", bits)
        input_bits = (7 if bits else 0) if input_bits is None else input_bits
        require_exponents("IntegerPredictor", input_bits=input_bits)
        hidden_bits = input_bits + 3 if hidden_bits is None else hidden_bits
        require_exponents("IntegerPredictor", hidden_bits=hidden_bits)
        self.in_channels, self.bits, self.input_bits = in_channels, bits, input_bits
        later = partial(IntegerConv2d, hidden_channels, in_bits=hidden_bits, signed=False, inplace=True)
        self.hidden = nn.Sequential(
            IntegerConv2d(in_channels, hidden_channels, in_bits=input_bits, out_bits=hidden_bits, zero_mean=zero_mean),
            *(later(hidden_channels, out_bits=hidden_bits) for _ in range(num_hidden - 1)),
        )
        self.last = zero_(later(out_channels, out_bits=bits))

    def forward(self, x: Tensor) -> Tensor:
        require_shape("IntegerPredictor", x, channels=self.in_channels)
        if self.bits and not x.is_floating_point():
            raise TypeError(f"IntegerPredictor with bits={self.bits} needs floats on that grid, got {x.dtype}")
        codes = whole("IntegerPredictor", x, x.dtype if x.is_floating_point() else torch.float32)
        codes = codes * 2.0**self.input_bits if self.input_bits else codes
        if self.input_bits < self.bits:
            codes = straight_through((codes.detach() + 0.5).floor(), codes)
        y = self.last(self.hidden(codes))
        y = y * 2.0**-self.bits if self.bits else y
        return y.to(x.dtype if x.is_floating_point() else torch.int32)
