"""The invertible 1x1 convolution: a learned matrix for the channels of each pixel."""

import torch
from torch import Tensor, nn

from liftlayers._checks import require_fitting, require_positive
from liftlayers._graphs import full_precision
from liftlayers.mixing._channelwise import Channelwise


class InvertibleConv1x1(Channelwise):
    r"""Multiplies the channels of every pixel, or of a vector, by one invertible matrix, stored as its LU factors.

    .. math::

        y_i = W x_i, \qquad W = P L \bigl(U + \operatorname{diag}(\sigma\,e^{\lambda})\bigr), \qquad
        \log |\det| = N \sum \lambda

    at each of the :math:`N` positions :math:`i`: the pixels of an image, or one for a vector.
    :math:`L` is lower triangular with ones on its diagonal, :math:`U` strictly upper triangular, and :math:`\lambda`
    the logarithmic scale; these three are learned. The permutation :math:`P` and the signs :math:`\sigma` are drawn
    once and do not change. :math:`W` has an inverse for all values of the parameters for which :math:`e^\lambda` is in
    the range of floating-point numbers: :math:`|\lambda| \le 87` in float32, 708 in float64. The larger its condition
    number, the more digits the inverse loses. It starts as a random rotation. The inverse solves two triangular
    systems; :math:`W^{-1}` is never computed.

    Both directions run without autocast: rounded to 16 bits, they would not be inverse to each other.

    Args:
        channels: Channels :math:`C`.

    Shape:
        - Input and output: :math:`(B, C, *)`, float32 or float64, of any range.
        - Log-determinant: :math:`(B,)`.

    Raises:
        TypeError: If a number is no integer, a tensor's dtype is not that of the parameters, or theirs is neither
            float32 nor float64.
        ValueError: If `channels` is below 1, or a tensor's channels or device are not those of the parameters.

    References:
        [Kingma2018]_, section 3.2.

    Example:
        >>> mix = InvertibleConv1x1(3)
        >>> x = torch.rand(2, 3, 4, 4)
        >>> torch.allclose(mix.inverse(mix(x)), x, atol=1e-5)
        True
        >>> torch.allclose(mix.weight @ mix.weight.T, torch.eye(3), atol=1e-5)
        True
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        require_positive("InvertibleConv1x1", channels=channels)
        rotation = nn.init.orthogonal_(torch.empty(channels, channels, dtype=torch.float64))
        rotation[0] *= torch.linalg.det(rotation).sign()
        p, lower, upper = torch.linalg.lu(rotation)
        diagonal, dtype = upper.diagonal(), torch.get_default_dtype()
        self.lower = nn.Parameter(lower.tril(-1).to(dtype))
        self.upper = nn.Parameter(upper.triu(1).to(dtype))
        self.log_scale = nn.Parameter(diagonal.abs().log().to(dtype))
        self.register_buffer("sign", diagonal.sign().to(dtype))
        self.register_buffer("permutation", p.to(dtype))  # as a matrix: averages and casts of models leave it as it is

    @property
    def weight(self) -> Tensor:
        """The matrix :math:`W`, of shape :math:`(C, C)`."""
        with full_precision(self.lower):
            return (self._lower() @ self._upper())[self.permutation.argmax(dim=1)]

    def forward(self, x: Tensor) -> Tensor:
        self._require_fit(x)
        with full_precision(x):  # not a convolution, which GPUs round to TF32
            return torch.einsum("ij, bj... -> bi...", self.weight, x)

    def inverse(self, x: Tensor) -> Tensor:
        self._require_fit(x)
        with full_precision(x):
            columns = x.transpose(0, 1).flatten(1)[self.permutation.argmax(dim=0)]  # the rows of P^-1 x, (C, B ...)
            columns = torch.linalg.solve_triangular(self._lower(), columns, upper=False, unitriangular=True)
            columns = torch.linalg.solve_triangular(self._upper(), columns, upper=True)
        return columns.reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)

    def extra_repr(self) -> str:
        return str(len(self.lower))

    def _lower(self) -> Tensor:
        return self.lower.tril(-1) + torch.eye(len(self.lower), dtype=self.lower.dtype, device=self.lower.device)

    def _upper(self) -> Tensor:
        return self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())

    def _require_fit(self, x: Tensor) -> None:
        if self.lower.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"InvertibleConv1x1 needs float32 or float64 parameters, got {self.lower.dtype}")
        require_fitting("InvertibleConv1x1", x, self.lower)
