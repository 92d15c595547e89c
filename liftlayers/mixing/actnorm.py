"""Activation normalisation: a scale and a bias for every channel, initialised from the first batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from liftlayers._checks import require_fitting, require_positive
from liftlayers._graphs import version_of
from liftlayers.mixing._channelwise import Channelwise


class ActNorm(Channelwise):
    r"""Shifts and scales every channel, so that the output of the first batch has zero mean and unit variance.

    .. math::

        y_c = e^{\lambda_c} (x_c + \beta_c), \qquad x_c = e^{-\lambda_c} y_c - \beta_c, \qquad
        \log |\det| = N \sum_c \lambda_c

    with :math:`N` positions per channel: the pixels of an image, or one for a vector.

    The first `forward` in training mode sets :math:`\beta = -\operatorname{mean}(x)` and
    :math:`\lambda = -\log \operatorname{std}(x)` over batch and positions. From then on they are ordinary parameters. A
    channel that is constant up to rounding keeps its scale. The buffer ``initialised`` records that this has happened,
    through copies, pickles and state dicts. After ``initialised.fill_(False)`` the next batch initialises again.

    With ``DistributedDataParallel`` or `torch.compile`, pass one batch through the module before wrapping it. Otherwise
    each process would initialise from its own data.

    Convention: the bias is added before scaling, as in Glow's code; Glow's paper adds it afterwards.

    Args:
        channels: Channels :math:`C`.

    Shape:
        - Input and output: :math:`(B, C, *)`, of any range.
        - Log-determinant: :math:`(B,)`.

    Raises:
        TypeError: If a number is no integer, or a tensor's dtype is not that of the parameters.
        ValueError: If `channels` is below 1, a tensor's channels or device are not those of the parameters, or the
            first batch is empty or not finite.
        RuntimeError: If the module is not initialised and `forward` is called in evaluation mode or under a transform
            of `torch.func`, or `inverse` is called.

    References:
        [Kingma2018]_, section 3.1.

    Example:
        >>> norm = ActNorm(3)
        >>> y = norm(5 + 2 * torch.rand(4, 3, 8, 8))
        >>> torch.allclose(y.var(dim=(0, 2, 3), correction=0), torch.ones(3))
        True
        >>> bool(norm.initialised)
        True
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        require_positive("ActNorm", channels=channels)
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(0, dtype=torch.uint8))  # AveragedModel subtracts buffers
        # `_ready` is the value of the module's own buffer, at version `_read_at`, as a Python bool: reading a tensor
        # makes GPUs wait and breaks compiled graphs. Backward of a reversible chain swaps in the buffer as it was
        # before forward; then `_ready` still says that the module is initialised. The value of a buffer that was
        # swapped in, as by `functional_call`, is never stored.
        self._ready = False
        self._own = self.initialised
        self._read_at: int | None = None
        self.register_load_state_dict_post_hook(_read_flag)

    def forward(self, x: Tensor) -> Tensor:
        require_fitting("ActNorm", x, self.bias)
        if self.training and not self._is_ready():
            self._initialise(x.detach())
        self._require_ready("forward in evaluation mode")
        return _by_channel(self.log_scale.exp(), x) * (x + _by_channel(self.bias, x))

    def inverse(self, x: Tensor) -> Tensor:
        require_fitting("ActNorm", x, self.bias)
        self._require_ready("inverse")
        return _by_channel((-self.log_scale).exp(), x) * x - _by_channel(self.bias, x)

    @torch.no_grad()
    def _initialise(self, x: Tensor) -> None:
        """Sets the parameters from a batch, in place, so that optimisers and graphs still refer to them."""
        if torch._C._are_functorch_transforms_active():
            raise RuntimeError("ActNorm needs its first batch outside torch.func, which cannot set parameters")
        if x.numel() == 0 or not x.isfinite().all():
            found = "an empty one" if x.numel() == 0 else "infinite or nan values"
            raise ValueError(f"ActNorm needs a batch of finite numbers to initialise from, got {found}")
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [0, *range(2, x.ndim)]
        _, exponent = x.abs().amax(axes).frexp()
        scale = torch.ldexp(torch.ones_like(self.bias, dtype=x.dtype), exponent.clamp(-126, 127))
        variance, mean = torch.var_mean(x / _by_channel(scale, x), dim=axes, correction=0)  # squares could overflow
        std, mean = variance.sqrt() * scale, mean * scale  # exact, since scales are powers of two
        constant = std <= 64 * torch.finfo(x.dtype).eps * mean.abs()
        self.bias.copy_(-mean)
        self.log_scale.copy_(torch.where(constant, 1.0, std).log().neg())
        self.initialised.fill_(1)

    def _is_ready(self) -> bool:
        flag = self.initialised
        if flag.is_meta:  # only shapes are computed
            return True
        if not torch.compiler.is_compiling() and flag is self._own and self._read_at != (version := version_of(flag)):
            self._ready, self._read_at = bool(flag), version
        return self._ready or bool(flag)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ActNorm":
        super()._apply(fn, recurse)  # replaces the buffer, by one on another device for instance
        self._own, self._read_at = self.initialised, None
        return self

    def extra_repr(self) -> str:
        return str(len(self.bias))

    def _require_ready(self, what: str) -> None:
        if not self._is_ready():
            remedy = "call its forward once in training mode, or load the state dict of an initialised one"
            raise RuntimeError(f"ActNorm needs to be initialised before {what}: {remedy}")


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    """Reshapes one value per channel so that it broadcasts against `x`."""
    return values.view(-1, *[1] * (x.ndim - 2))


def _read_flag(module: nn.Module, _keys: object) -> None:
    assert isinstance(module, ActNorm)
    module._own, module._read_at = module.initialised, None
    module._is_ready()
