"""Law: a reversible chain warns when rebuilt bands differ from those of the forward pass, and only then."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from liftlayers import AdditiveCoupling, Invertible, Sequential, Update
from tests.memory.helpers import in_both_directions, loss, stack, with_memory
from tests.memory.modules import Fourier
from tests.strategies import tensor


def growing(gain: float, depth: int = 24) -> Sequential:
    def make() -> nn.Module:
        last = nn.Conv2d(8, 4, 3, padding=1)
        last.weight.data.mul_(gain)
        return nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.LeakyReLU(), last)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Sequential(*(s for _ in range(depth) for s in (Update(make()), AdditiveCoupling(make()))))


@in_both_directions
def test_drift_is_reported(backwards: bool) -> None:
    chain = with_memory(growing(8.0), "reversible")
    outputs = (chain.inverse if backwards else chain)(tensor(1, 1, 4, 8, 8), tensor(2, 1, 4, 8, 8))
    with pytest.warns(RuntimeWarning, match=r"relative error of \d\.\de[-+]\d\d, above 1e-03 from step \d+ of 48 down"):
        loss(*outputs).backward()


@pytest.mark.parametrize("memory", ["store", "checkpoint"])
def test_other_modes_do_not_drift(memory: str) -> None:
    bands = tensor(1, 1, 4, 8, 8), tensor(2, 1, 4, 8, 8)
    loss(*with_memory(growing(8.0), memory)(*bands)).backward()


@in_both_directions
@pytest.mark.parametrize(("depth", "zeros"), [(1, ()), (24, (0,)), (24, (1,)), (24, (0, 1)), (96, ())])
def test_tame_chains_do_not_warn_even_if_bands_are_zero(depth: int, backwards: bool, zeros: tuple[int, ...]) -> None:
    """A band of zeros, such as the lost detail of a hiding network, is rebuilt as 1e-8, which is no drift."""
    chain = with_memory(growing(0.5, depth), "reversible")
    bands = [tensor(i, 1, 4, 4, 4) * (i not in zeros) for i in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(*(chain.inverse if backwards else chain)(*bands)).backward()


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e30), (torch.float64, 1e39), (torch.float64, 1e-200)])
def test_bands_of_any_size_do_not_drift(dtype: torch.dtype, size: float) -> None:
    chain = Sequential(AdditiveCoupling(nn.Identity()), memory="reversible")
    a, b = (size * tensor(seed, 1, 4, 4, dtype=dtype) for seed in range(2))
    torch.stack([y.sum() for y in chain(a.requires_grad_(), b)]).sum().backward()
    assert a.grad is not None


def test_a_small_band_that_a_large_one_destroys_is_reported() -> None:
    """Its error is tiny relative to the large band, and a tenth and more of its own values."""
    chain = Sequential(AdditiveCoupling(nn.Identity()), memory="reversible")
    large, small = 65535 * tensor(0, 1, 4, 4), tensor(1, 1, 4, 4) / 64
    with pytest.warns(RuntimeWarning, match=r"relative error of \d\.\de-0[12]"):
        loss(*chain(large.requires_grad_(), small)).backward()


def test_values_that_are_no_numbers_are_reported() -> None:
    chain = with_memory(stack(), "reversible")
    with pytest.warns(RuntimeWarning, match="relative error of nan"):
        loss(*chain(tensor(0, 1, 1, 4, 4) * torch.nan, tensor(1, 1, 3, 4, 4))).backward()


@pytest.mark.parametrize("drift", [1e-2, 1e-5])
def test_drift_is_measured(drift: float) -> None:
    """An inverse with a known relative error is reported with that error, or not at all if it is small."""

    class Off(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

        def inverse(self, x: Tensor) -> Tensor:
            return x / 2 * (1 + drift)

    y = Sequential(Off(), memory="reversible")(tensor(0, 1, 1, 4, 4).requires_grad_())
    assert isinstance(y, Tensor)
    if drift > 1e-3:
        with pytest.warns(RuntimeWarning, match=r"relative error of 1\.0e-02, above 1e-03 from step 0 of 1"):
            loss(y).backward()
    else:
        loss(y).backward()


def test_drift_of_complex_bands_is_reported() -> None:
    """The imaginary part counts."""

    class Off(Fourier):
        def inverse(self, x: Tensor) -> Tensor:
            return super().inverse(x + 1)

    class Imaginary(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            return 1j * x

        def inverse(self, x: Tensor) -> Tensor:
            return x / 1.5j

    for chain, x in ((Sequential(Off()), tensor(0, 4, 4)), (Sequential(Imaginary()), 1j * tensor(0, 4, 4))):
        y = with_memory(chain, "reversible")(x.requires_grad_())
        with pytest.warns(RuntimeWarning, match="rebuilt its bands with a relative error"):
            y.abs().sum().backward()  # type: ignore[union-attr]
