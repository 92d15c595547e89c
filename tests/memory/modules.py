"""Steps and networks that the tests of memory modes use in several files."""

import torch
from torch import Tensor, nn

from liftlayers import Invertible


class Own(Invertible):
    """A step of a user, which leaves the way it is rebuilt to the default."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, 2 * b + self.network(a)

    def inverse(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, (b - self.network(a)) / 2


class Counts(nn.Module):
    """Multiplies by the number of its calls, which it counts in place."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x * self.calls.clone()


class CountsInNewBuffers(Counts):
    """The same, with a new tensor in the buffer after every call."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x * self.calls


class CountsUnnoticed(Counts):
    """The same, through `.data`, which does not count as a change of the buffer."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls.data.add_(1)
        return x * self.calls.clone()


class Scales(nn.Module):
    """Multiplies by a buffer that it only reads."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Fourier(Invertible):
    """One real band to one complex."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x, norm="ortho")

    def inverse(self, x: Tensor) -> Tensor:
        return torch.fft.ifft2(x, norm="ortho").real
