"""Networks of integers that floats hold: every kernel that multiplies and adds returns the same."""

import copy
from abc import ABC, abstractmethod
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from liftlayers._checks import require_positive, require_shape
from liftlayers._graphs import full_precision
from liftlayers.functional.grid import require_exponents
from liftlayers.nn._integer_sums import clipped, rounded_sums, whole
from liftlayers.nn._integer_weights import Numbers, bounds_of, require_bound, rounded, rounded_and_scaled, scaled
from liftlayers.nn._last_call import LastCall

M = TypeVar("M", bound=nn.Module)


class IntegerNetwork(nn.Module, ABC):
    r"""Base of the networks whose numbers do not depend on the device or the kernel.

    .. math:: f_{\text{any device}}(x) = f_{\text{integers}}(x)

    ``exact(chain, anywhere=True)`` and bands of integers need such networks. :doc:`/exactness` lists the devices and
    kernels on which those of this library were tested.

    A subclass promises that all of its arithmetic is that of `IntegerConv2d`, or treats every number for itself and
    without rounding errors. `liftlayers.testing.assert_same_integers` tests the promise. `torch.nn.Sequential` of such
    networks needs no class of its own.

    Shape:
        - As the subclass defines; integers are returned for integers.

    Raises:
        TypeError: If the input is in half precision; the networks of this library raise it.

    References:
        [Balle2019]_; :doc:`/exactness`.

    Example:
        >>> network = IntegerPredictor(3, 9)
        >>> {name.split(".")[-1]: str(numbers.dtype) for name, numbers in network.frozen().state_dict().items()}
        {'weight': 'torch.int8', 'bias': 'torch.int32', 'shift': 'torch.int8'}
    """

    @abstractmethod
    def forward(self, *args: Any, **options: Any) -> Any:
        """Maps numbers to numbers; subclasses choose the signature."""

    def bounds(self) -> Tensor:
        """Returns the bounds of all channels of all convolutions, layer after layer, in int64: see `IntegerConv2d`."""
        return torch.cat([layer.bounds() for layer in self.modules() if isinstance(layer, _Convolution)])

    def frozen(self: M) -> M:
        """Returns a frozen copy of the network: see `frozen`."""
        return frozen(self)


def frozen(module: M) -> M:
    r"""Returns a copy of a module in which every `IntegerConv2d` has int8 weights, int32 biases and int8 shifts.

    .. math:: \operatorname{frozen}(f)(x) = f(x)

    The copy computes the same numbers and cannot be trained. It is the form to publish: its state dict takes about a
    quarter of the space, and no other machine can round it in another way.

    Args:
        module: A network, or a chain or any other module that contains some.

    Returns:
        The copy; its class is that of `module`, unless `module` is an `IntegerConv2d` itself.

    Raises:
        TypeError: If an `IntegerConv2d` inside has forward hooks, or is of a subclass with another ``forward``.
        ValueError: When it loads a state dict of other dtypes, or with a bound above :math:`2^{22}`; the message has
            the channel and the figure.

    References:
        [Balle2019]_, who publish integers, too.

    Example:
        >>> block = frozen(LiftingBlock(IntegerPredictor(1, 3), IntegerPredictor(3, 1)))
        >>> block.predict.network.last.weight.dtype
        torch.int8
    """
    if isinstance(module, IntegerConv2d):
        return cast(M, FrozenIntegerConv2d(module))
    copied = copy.deepcopy(module)
    forms: dict[nn.Module, FrozenIntegerConv2d] = {}  # one for each layer, which may have several names
    for name, layer in module.named_modules(remove_duplicate=False):
        if isinstance(layer, IntegerConv2d):
            copied.set_submodule(name, forms.setdefault(layer, FrozenIntegerConv2d(layer)))
    return copied


class _Convolution(IntegerNetwork):
    """What the trained and the frozen form of `IntegerConv2d` have in common: the arithmetic."""

    weight: Tensor

    def __init__(self, *, signed: bool, inplace: bool) -> None:
        super().__init__()
        self.signed, self.inplace = signed, inplace
        self._last = LastCall[Numbers]()

    @abstractmethod
    def _integers(self) -> Numbers:
        """Returns weights and biases, which are integers, and the shift of each output channel, without gradients."""

    @abstractmethod
    def _scaled(self) -> Numbers:
        """Returns weights and biases times the scale of each output channel, and the scale, in floats."""

    def bounds(self) -> Tensor:
        weight, bias, _ = self._integers()
        return bounds_of(weight.float(), bias.float()).long()

    def forward(self, x: Tensor) -> Tensor:
        require_shape("IntegerConv2d", x, channels=self.weight.shape[1])
        with full_precision(x):
            weight, bias, scale = self._scaled()
            codes = clipped(whole("IntegerConv2d", x, weight.dtype), signed=self.signed, inplace=self.inplace)
            y = rounded_sums(codes, weight, bias, scale=scale)
        return y if x.is_floating_point() else y.to(torch.int32)

    def extra_repr(self) -> str:
        out_channels, in_channels, *_, kernel_size = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel_size={kernel_size}, signed={self.signed}"


class IntegerConv2d(_Convolution):
    r"""A convolution of integers: every kernel that multiplies and adds returns the same numbers.

    .. math::

        y = \left\lfloor 2^{-s} \Bigl( \sum_j W_j \operatorname{clip}(x_j) + b \Bigr) + \tfrac12 \right\rfloor,
        \qquad W_j \in \{-127, \dots, 127\}, \qquad |\operatorname{clip}(x_j)| \le 255

    Input and output are whole numbers that stand for multiples of :math:`2^{-i}` and :math:`2^{-o}`, the `in_bits` and
    `out_bits`. Weight and bias are trained as real numbers :math:`w, \beta`. Each output channel has the largest
    scale :math:`2^f` with weights of seven bits and sums within the bound below. With it,
    :math:`W = \operatorname{round}(2^f w)`, :math:`b = \operatorname{round}(2^{i + f} \beta)` and the shift is
    :math:`s = i + f - o`. Gradients pass through all roundings unchanged. A pass on a CPU that needs no gradient of the
    weights rounds them only if they differ from those of the last one.

    **Why it is exact.** Let :math:`B = |b + h| + 255 \sum_j |W_j|` be at most :math:`2^{24}`, with the half
    :math:`h = 2^{s - 1}`, or 0 if :math:`s \le 0`. (1) The half is part of the bias, so every term of the sum is an
    integer. (2) Any partial sum, in any order, is an integer of absolute value at most :math:`B`. (3) float32 holds
    each of them, so no addition rounds, fused with a product or not. (4) Multiplying by :math:`2^{-s}` is exact, and so
    is rounding down. (5) So the result does not depend on order, kernel, layout, number of threads or batch. The scale
    keeps :math:`B` within :math:`2^{22}`; ``bounds()`` returns it, and the frozen form checks it as it loads.

    **What is outside of it.** Kernels that do more than multiply and add, as Winograd's and Fourier transforms do:
    NNPACK's are never used, and every pass tests a sample of the sums for being integers, on CPUs and CUDA, without
    synchronisation. Half precision is refused; autocast is switched off inside.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel, odd; padding with zeros keeps the size of the image.
        in_bits: The exponent :math:`i`, from -52 to 52: 0 for grey levels, 3 for eighths of them.
        out_bits: The exponent :math:`o`, from -52 to 52.
        signed: Whether to clip to :math:`-255 \dots 255`. Otherwise to :math:`0 \dots 255`, which rectifies.
        zero_mean: Whether the weights of each kernel get the mean zero, so that only differences of neighbours count.
        inplace: Whether to clip the input in place, if it needs no gradient.

    Shape:
        - Input :math:`(B, C_{in}, H, W)`, whole numbers in uint8, int8, int16, int32, int64, float32 or float64; output
          :math:`(B, C_{out}, H, W)`, whole numbers in int32 for integers, and otherwise in the dtype of the weights.

    Raises:
        TypeError: If a number is no integer, or input or weights are in half precision or complex.
        ValueError: If a number of channels is below 1, `kernel_size` is even, an exponent is out of range, or the input
            has another shape.
        RuntimeError: If a sum is not an integer; on CUDA as an assertion of the device.

    References:
        [Balle2019]_, who hold integers of learned codecs in floats; [Bengio2013]_ for the gradient.

    Example:
        >>> conv = IntegerConv2d(1, 2, out_bits=3)
        >>> conv(torch.randint(256, (1, 1, 8, 8), dtype=torch.uint8)).dtype, conv.frozen().weight.dtype
        (torch.int32, torch.int8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        in_bits: int = 0,
        out_bits: int = 0,
        signed: bool = True,
        zero_mean: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__(signed=signed, inplace=inplace)
        require_positive("IntegerConv2d", in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size)
        require_exponents("IntegerConv2d", in_bits=in_bits, out_bits=out_bits)
        if kernel_size % 2 == 0:
            raise ValueError(f"IntegerConv2d needs an odd kernel_size, got {kernel_size}")
        self.in_bits, self.out_bits, self.zero_mean = in_bits, out_bits, zero_mean
        conv = nn.Conv2d(in_channels, out_channels, kernel_size)  # for its initial weights
        self.weight, self.bias = conv.weight, cast(nn.Parameter, conv.bias)

    def _integers(self) -> Numbers:
        return rounded(self.weight.detach(), self.bias.detach(), self.in_bits, self.out_bits, self.zero_mean)

    def _scaled(self) -> Numbers:
        settings = self.in_bits, self.out_bits, self.zero_mean
        return self._last(rounded_and_scaled, (self.weight, self.bias), settings)


class FrozenIntegerConv2d(_Convolution):
    """What `frozen` makes of an `IntegerConv2d`: the same numbers from int8 weights, int32 biases and int8 shifts."""

    bias: Tensor
    shift: Tensor

    def __init__(self, conv: IntegerConv2d) -> None:
        super().__init__(signed=conv.signed, inplace=conv.inplace)
        own_forward = getattr(conv.forward, "__func__", None) is _Convolution.forward
        if not own_forward or conv._forward_hooks or conv._forward_pre_hooks:
            found = f"{type(conv).__name__} with {'forward hooks' if own_forward else 'another forward'}"
            raise TypeError(f"frozen needs an IntegerConv2d with its own forward and without hooks, got {found}")
        weight, bias, shift = conv._integers()
        self.register_buffer("weight", weight.to(torch.int8))
        self.register_buffer("bias", bias.to(torch.int32))
        self.register_buffer("shift", shift.to(torch.int8))
        self.train(conv.training)

    def _integers(self) -> Numbers:
        return self.weight, self.bias, self.shift

    def _scaled(self) -> Numbers:
        return self._last(scaled, (self.weight, self.bias, self.shift))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        """Refuses numbers of another dtype, which would be cast, and sums beyond the bound, before it copies any."""
        given = {name: state_dict.get(prefix + name, buffer) for name, buffer in self.named_buffers()}
        for name, buffer in self.named_buffers():
            if (got := given[name].dtype) != buffer.dtype:
                raise ValueError(f"a frozen IntegerConv2d needs {prefix}{name} in {buffer.dtype}, got {got}")
        if all(given[name].shape == buffer.shape for name, buffer in self.named_buffers()):
            require_bound(prefix.removesuffix(".") or "it", given["weight"], given["bias"])
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
