"""Steps that split an image into even and odd rows and columns, and steps that order the bands of a transform."""

import torch
from torch import Tensor

from liftlayers._checks import require_even, require_image, require_image_bands
from liftlayers.mixing.rearrange import Rearrangement


class PolyphaseSplit(Rearrangement):
    r"""Splits an image into its even and its odd columns, each with its even rows and its odd rows stacked.

    .. math:: x \mapsto \bigl([x_{00}, x_{10}], [x_{01}, x_{11}]\bigr)

    with :math:`x_{rs}` the samples of row parity :math:`r` and column parity :math:`s`.

    Args:
        who: The layer that errors name.

    Shape:
        - Forward: :math:`(B, C, H, W)`, :math:`H` and :math:`W` even, to two bands :math:`(B, 2C, H/2, W/2)`.
        - Inverse: the reverse.

    Raises:
        TypeError: If the image is not floating-point.
        ValueError: If it is not four-dimensional, or its height or width is odd.

    Example:
        >>> PolyphaseSplit("LearnedWavelet")(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]))[0].flatten()
        tensor([0., 2.])
    """

    def __init__(self, who: str) -> None:
        super().__init__()
        self.who = who

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        require_image(self.who, x)
        require_even(self.who, x)
        top, bottom = x[..., 0::2, :], x[..., 1::2, :]
        even, odd = (torch.cat((top[..., side::2], bottom[..., side::2]), dim=1) for side in (0, 1))
        return even, odd  # (B, 2C, H/2, W/2) each

    def inverse(self, even: Tensor, odd: Tensor) -> Tensor:
        columns = torch.stack((even, odd), dim=-1).flatten(-2)  # (B, 2C, H/2, W)
        return torch.stack(columns.chunk(2, dim=1), dim=-2).flatten(-3, -2)  # (B, C, H, W)


class HalvesTransposed(Rearrangement):
    r"""Regroups two bands of two halves each: the first halves into one band, the second halves into the other.

    .. math:: \bigl([a_0, a_1], [b_0, b_1]\bigr) \mapsto \bigl([a_0, b_0], [a_1, b_1]\bigr)

    It is its own inverse.

    Shape:
        - Two bands :math:`(B, 2C, H, W)`, in both directions.

    Example:
        >>> HalvesTransposed()(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 3.0]]))
        (tensor([[0., 2.]]), tensor([[1., 3.]]))
    """

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        (a0, a1), (b0, b1) = a.chunk(2, dim=1), b.chunk(2, dim=1)
        return torch.cat((a0, b0), dim=1), torch.cat((a1, b1), dim=1)

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(a, b)


class BandOrder(Rearrangement):
    r"""Regroups the approximation and the detail along one axis, each with two halves, into the bands of the image.

    .. math:: \bigl([c_A, c_V], [c_H, c_D]\bigr) \mapsto \bigl(c_A, [c_H, c_V, c_D]\bigr)

    Args:
        who: The layer that errors name.

    Shape:
        - Forward: two bands :math:`(B, 2C, H, W)` to approximation :math:`(B, C, H, W)` and detail
          :math:`(B, 3C, H, W)`.
        - Inverse: the reverse.

    Raises:
        TypeError: If a band given to the inverse is not floating-point, or the bands' dtypes differ.
        ValueError: If the bands given to the inverse do not fit together, or are on different devices.

    Example:
        >>> BandOrder("LearnedWavelet")(torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4))[1].shape
        torch.Size([1, 3, 4, 4])
    """

    def __init__(self, who: str) -> None:
        super().__init__()
        self.who = who

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        channels = low.shape[1] // 2  # slices, since autograd forbids writing into results of `chunk`
        horizontal, vertical, diagonal = high[:, :channels], low[:, channels:], high[:, channels:]
        return low[:, :channels], torch.cat((horizontal, vertical, diagonal), dim=1)

    def inverse(self, approx: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        require_image_bands(f"{self.who}.inverse", approx, detail)
        horizontal, vertical, diagonal = detail.chunk(3, dim=1)
        return torch.cat((approx, vertical), dim=1), torch.cat((horizontal, diagonal), dim=1)
