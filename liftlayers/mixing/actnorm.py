"""Activation normalisation: a scale and a bias for every channel, initialised from the first batch."""

__all__ = ["ActNorm"]

from collections.abc import Callable

import torch
from torch import Tensor, nn

from liftlayers._checks import require_fitting, require_positive
from liftlayers.mixing._channelwise import Channelwise


class ActNorm(Channelwise):
    r"""Shifts and scales every channel, so that the first batch leaves with zero mean and unit variance.

    .. math::

        y_c = e^{\lambda_c} (x_c + \beta_c), \qquad x_c = e^{-\lambda_c} y_c - \beta_c, \qquad
        \log |\det| = N \sum_c \lambda_c

    for the :math:`N` places of a channel: pixels, or one in a batch of vectors.

    The first `forward` in training mode sets :math:`\beta = -\operatorname{mean}(x)` and
    :math:`\lambda = -\log \operatorname{std}(x)` over batch and places; from then on they are ordinary
    parameters. A channel that is constant up to rounding keeps its scale. The buffer ``initialised`` remembers that it
    was done, through copies, pickles and state dicts; ``initialised.fill_(False)`` has the next batch do it again.

    Under ``DistributedDataParallel`` and `torch.compile`, pass one batch through the module before it is wrapped: else
    each process would initialise from its own data.

    Convention: the bias is added before the scale, as in Glow's code; its paper adds it after.

    Args:
        channels: Channels :math:`C`.

    Shape:
        - Input and output: :math:`(B, C, *)`, of any range.
        - Log-determinant: :math:`(B,)`.

    Raises:
        TypeError: If a tensor has not the parameters' dtype.
        ValueError: If `channels` is below 1, a tensor has another shape or device than the parameters, or the first
            batch is empty or not finite.
        RuntimeError: If it is not initialised and `forward` is called in evaluation mode or under a transform of
            `torch.func`, or `inverse` is called.

    References:
        [Kingma2018]_, section 3.1.

    Example:
        >>> norm = ActNorm(3)
        >>> y = norm(5 + 2 * torch.rand(4, 3, 8, 8))
        >>> torch.allclose(y.var(dim=(0, 2, 3), correction=0), torch.ones(3))
        True
        >>> norm.initialised
        tensor(True)
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        require_positive("ActNorm", channels=channels)
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        # What the module's own buffer said when it was last written to, for Python: reading a tensor stops GPUs and
        # compilers, and a chain that rebuilds its bands lends the module, in its backward pass, the buffer that its
        # forward pass found. What the one that `functional_call` lends says is never kept.
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
        """Sets the parameters from a batch, in place, so that optimisers and graphs keep track of them."""
        if torch._C._are_functorch_transforms_active():
            raise RuntimeError(
                "ActNorm needs its first batch outside torch.func, whose transforms cannot set parameters"
            )
        if x.numel() == 0 or not x.isfinite().all():
            found = "an empty one" if x.numel() == 0 else "infinite or nan values"
            raise ValueError(f"ActNorm needs a batch of finite numbers to initialise from, got {found}")
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # squares of 16-bit numbers overflow
        variance, mean = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
        std = variance.sqrt()
        constant = std <= 64 * torch.finfo(x.dtype).eps * mean.abs()
        self.bias.copy_(-mean)
        self.log_scale.copy_(torch.where(constant, 1.0, std).log().neg())
        self.initialised.fill_(True)

    def _is_ready(self) -> bool:
        flag = self.initialised
        if not torch.compiler.is_compiling() and flag is self._own and self._read_at != (version := _version(flag)):
            self._ready, self._read_at = bool(flag), version
        return self._ready or bool(flag)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ActNorm":
        super()._apply(fn, recurse)  # puts another buffer in the place of its own, on another device for instance
        self._own, self._read_at = self.initialised, None
        return self

    def _require_ready(self, what: str) -> None:
        if not self._is_ready():
            raise RuntimeError(
                f"ActNorm needs to be initialised before {what}: "
                "call its forward once in training mode, or load a state dict of one that is"
            )


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    """A value a channel, in the shape that multiplies `x`."""
    return values.view(-1, *[1] * (x.ndim - 2))


def _version(flag: Tensor) -> int:
    return 0 if flag.is_inference() else flag._version  # tensors of inference mode do not count


def _read_flag(module: nn.Module, _keys: object) -> None:
    assert isinstance(module, ActNorm)
    module._own, module._read_at = module.initialised, None
    module._is_ready()
