"""Steps whose input a reversible chain does not rebuild, since its gradient would not be right."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Inverse,
    Invertible,
    LearnedWavelet,
    LiftingBlock,
    LiftingPyramid,
    Parallel,
    Sequential,
    Split,
    Update,
    exact,
)
from liftlayers._bands import as_tuple
from liftlayers.testing import randomise_
from tests.memory.test_memory import (
    MODES,
    SAVING,
    Counts,
    assert_close,
    assert_trains_alike,
    forward_step,
    in_every_direction,
    in_every_mode,
    leaves,
    loss,
    network,
    stack,
    with_memory,
)
from tests.strategies import tensor

Bands = tuple[Tensor, ...]


class Weighted(nn.Module):
    """Multiplies by a number that is no parameter of its own."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, 3, 1, 1) * self.weight


class Buffered(Weighted):
    """The same, with the number in a buffer."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        del self.weight
        self.register_buffer("weight", weight)


# ---------------------------------------------------------------------------------- tensors that are no parameters


def between(step: Invertible, memory: Any) -> Sequential:
    """A step between two blocks that are rebuilt."""
    torch.manual_seed(0)
    blocks = [randomise_(LiftingBlock(network(1, 3), network(3, 1)), seed) for seed in (1, 2)]
    return Sequential(blocks[0], step, blocks[1], memory=memory).double()


def gradient(chain: Sequential, weight: Tensor, *, backwards: bool = False) -> list[Tensor | None]:
    """Of a number outside the chain, of its input, and of all parameters."""
    bands = leaves(torch.float64)
    loss(*(chain.inverse if backwards else chain)(*bands)).backward()
    found = [x.grad for x in (weight, *bands, *chain.parameters())]
    assert found[0] is not None
    return found


@pytest.mark.parametrize("kind", [Weighted, Buffered])
@pytest.mark.parametrize("backwards", [False, True])
def test_weights_that_another_network_computes(kind: type[Weighted], backwards: bool) -> None:
    found = []
    for memory in MODES:
        z = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        chain = between(AdditiveCoupling(kind(z * 3)), memory)
        found.append(gradient(chain, z, backwards=backwards))
    for judged in found[1:]:
        assert_close(dict(enumerate(judged)), dict(enumerate(found[0])))  # type: ignore[arg-type]


@in_every_mode
def test_weights_computed_anew_for_every_pass(memory: str) -> None:
    """Each pass is differentiated with the weight that it had."""
    z = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    coupling = AdditiveCoupling(Weighted(z * 3))
    chain = Sequential(coupling, coupling, Inverse(Split(1, 3)), Split(1, 3), memory=memory)  # type: ignore[arg-type]
    bands = leaves(torch.float64)
    first = loss(*chain(*bands))
    coupling.network.weight = z.square()  # type: ignore[assignment]
    (first + loss(*chain(*bands))).backward()
    expected = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    torch.stack(
        [loss(bands[0], bands[1] + 2 * bands[0].repeat(1, 3, 1, 1) * w) for w in (expected * 3, expected.square())]
    ).sum().backward()
    assert torch.allclose(z.grad, expected.grad)  # type: ignore[arg-type]


@in_every_mode
def test_replicas_of_data_parallel(memory: str) -> None:
    """Their parameters are plain tensors, which lead back to those of the module that they are copies of."""
    chain = with_memory(stack().double(), memory)

    def replica(module: nn.Module) -> nn.Module:
        copied = module._replicate_for_data_parallel()
        for name, parameter in module._parameters.items():
            setattr(copied, name, parameter * 1)  # type: ignore[operator]
        for name, child in module._modules.items():
            setattr(copied, name, replica(child))  # type: ignore[arg-type]
        return copied

    bands = leaves(torch.float64)
    loss(*replica(chain)(*bands)).backward()
    actual = [x.grad for x in (*bands, *chain.parameters())]
    plain, others = with_memory(chain, "store"), leaves(torch.float64)
    loss(*plain(*others)).backward()
    expected = [x.grad for x in (*others, *plain.parameters())]
    assert_close(dict(enumerate(actual)), dict(enumerate(expected)))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@in_every_mode
@in_every_direction
def test_old_weight_norm(memory: str, step: Callable[..., None]) -> None:
    """Its hook leaves the weight, which has a graph, as a plain attribute."""

    def make(inputs: int, outputs: int) -> nn.Module:
        return weight_norm(nn.Conv2d(inputs, outputs, 3, padding=1))

    def twice(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        step(chain, approx, detail)
        step(chain, approx, detail)

    def built() -> Sequential:
        torch.manual_seed(0)
        return Sequential(*(LiftingBlock(make(1, 3), make(3, 1)) for _ in range(2))).double()

    found = []
    for mode in ("store", memory):
        chain, bands = built(), leaves(torch.float64)
        chain.memory = mode  # type: ignore[assignment]
        twice(chain, *bands)
        found.append({str(i): x.grad for i, x in enumerate((*bands, *chain.parameters()))})
    assert_close(found[1], found[0])


@in_every_mode
def test_layers_that_wait_for_their_first_batch(memory: str) -> None:
    torch.manual_seed(0)
    chain = Sequential(AdditiveCoupling(nn.LazyConv2d(3, 1)), memory=memory)  # type: ignore[arg-type]
    for _ in range(2):
        chain.zero_grad()
        bands = leaves()
        loss(*chain(*bands)).backward()
        plain = with_memory(chain, "store")
        plain.zero_grad()
        others = leaves()
        loss(*plain(*others)).backward()
        for x, y in zip((*bands, *chain.parameters()), (*others, *plain.parameters()), strict=True):
            assert x.grad is not None
            assert torch.allclose(x.grad, y.grad, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("memory", SAVING)
def test_statistics_that_wait_for_their_first_batch_are_refused(memory: str) -> None:
    norm = nn.Sequential(nn.Conv2d(1, 3, 1), nn.LazyBatchNorm2d())
    chain = Sequential(AdditiveCoupling(norm), memory=memory)  # type: ignore[arg-type]
    message = r"buffer .*running_mean of LazyBatchNorm2d waits for its first batch, .* run one under memory='store'"
    with pytest.raises(RuntimeError, match=message):
        chain(*leaves())
    with torch.no_grad():
        chain(*leaves())
    loss(*chain(*leaves())).backward()


# ------------------------------------------------------------------------------------- random numbers and buffers


class Two(Invertible):
    """Two couplings in a step of one's own."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.first, self.second = AdditiveCoupling(networks[0]), Update(networks[1])

    def forward(self, a: Tensor, b: Tensor) -> Bands:
        return self.second(*self.first(a, b))

    def inverse(self, a: Tensor, b: Tensor) -> Bands:
        return self.first.inverse(*self.second.inverse(a, b))


def drops(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.Dropout(0.5))


def block(make: Callable[..., nn.Module] = drops) -> LiftingBlock:
    return LiftingBlock(make(1, 3), make(3, 1))


class Images:
    """Chains on one image, with the number of bands that they leave."""

    @staticmethod
    def pyramid() -> Sequential:
        return Sequential(LiftingPyramid([Sequential(Haar(), block()), Sequential(Haar(), block())]))

    @staticmethod
    def parallel() -> Sequential:
        branch = Sequential(Haar(), block(), Inverse(Haar()))
        return Sequential(Split(1, 1), Parallel(branch, copy.deepcopy(branch)))

    @staticmethod
    def exactly() -> Sequential:
        return Sequential(exact(Sequential(Haar(), block())), LiftingBlock(network(1, 3), network(3, 1)))

    @staticmethod
    def own() -> Sequential:
        return Sequential(Haar(), block(), Two(drops(1, 3), drops(3, 1)), block())

    @staticmethod
    def counting() -> Sequential:
        counts = nn.Sequential(nn.Conv2d(1, 1, 1), Counts())  # the same for both: each call sees another number
        return Sequential(Split(1, 1), Two(counts, counts))


@pytest.mark.parametrize("make", [Images.pyramid, Images.parallel, Images.exactly, Images.own, Images.counting])
@pytest.mark.parametrize("backwards", [False, True])
def test_steps_that_draw_twice_see_the_same_numbers_again(make: Callable[[], Sequential], backwards: bool) -> None:
    chain = randomise_(make()).double()
    image = tensor(0, 2, 2 if isinstance(chain[0], Split) else 1, 8, 8).double()
    given = as_tuple(copy.deepcopy(chain)(image)) if backwards else (image,)
    found = []
    for memory in ("store", "reversible"):
        judged = with_memory(chain, memory)
        bands = [x.detach().clone().requires_grad_() for x in given]
        torch.manual_seed(1)
        loss(*as_tuple((judged.inverse if backwards else judged)(*bands))).backward()
        found.append({str(i): x.grad for i, x in enumerate((*bands, *judged.parameters()))})
    assert_close(found[1], found[0])


# ------------------------------------------------------------------------------------------------- complex numbers


class Fourier(Invertible):
    """One real band to one complex."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x, norm="ortho")

    def inverse(self, x: Tensor) -> Tensor:
        return torch.fft.ifft2(x, norm="ortho").real


class Phase(Invertible):
    """Turns complex numbers by an angle that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.exp(1j * self.angle)

    def inverse(self, x: Tensor) -> Tensor:
        return x * torch.exp(-1j * self.angle)


class Halves(Invertible):
    """One complex band to its real and imaginary part."""

    def forward(self, x: Tensor) -> Bands:
        return x.real, x.imag

    def inverse(self, real: Tensor, imag: Tensor) -> Tensor:
        return torch.complex(real, imag)


@in_every_mode
def test_complex_bands(memory: str) -> None:
    def step(chain: Sequential, approx: Tensor, detail: Tensor) -> None:
        loss(*chain(approx)).backward()
        loss(*chain[:2](approx).abs().split(1)).backward()  # type: ignore[union-attr]
        (back,) = as_tuple(chain[1:].inverse(detail[:, :1], detail[:, 1:2]))  # type: ignore[union-attr]
        loss(back.abs()).backward()

    assert_trains_alike(Sequential(Fourier(), Phase(), Halves()), memory, step)


def test_drift_of_complex_bands_is_told() -> None:
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


# ------------------------------------------------------------------------------------------------------------ hooks


def hooked(where: str) -> tuple[Sequential, Invertible]:
    """A chain, and the module in it that is to have a hook."""
    coupling, inner = AdditiveCoupling(network(1, 3)), block(network)
    wavelet = LearnedWavelet("5/3")
    chain = Sequential(
        Inverse(Sequential(Haar(), Inverse(Haar()))) if where == "inverse" else Sequential(coupling, inner),
        Inverse(Haar()),
        wavelet,
        LiftingBlock(network(1, 3), network(3, 1)),
    )
    places: dict[str, Invertible] = {
        "coupling": coupling,
        "block": inner,
        "inside a block": inner.update,
        "nested chain": chain[0],
        "wavelet": wavelet,
        "inside a wavelet": wavelet.rows,
    }
    return randomise_(chain), places[where]


PLACES = ("coupling", "block", "inside a block", "nested chain", "wavelet", "inside a wavelet")


@in_every_mode
@in_every_direction
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_hooks_are_called_and_what_they_change_is_differentiated(
    memory: str, step: Callable[..., None], where: str, kind: str
) -> None:
    found, calls = [], []
    for mode in ("store", memory):
        chain, module = hooked(where)
        chain, calls = chain.double(), []
        chain.memory = mode  # type: ignore[assignment]

        def change(_module: nn.Module, bands: Any, *outputs: Any, seen: list[int] = calls) -> Any:
            seen.append(1)
            return tuple(1.5 * x for x in as_tuple(outputs[0] if outputs else bands))

        getattr(module, f"register_{kind}_hook")(change)
        bands = leaves(torch.float64)
        if where == "wavelet" and step is not forward_step:
            loss(*chain(*bands)).backward()
        else:
            step(chain, *bands)
        found.append({str(i): x.grad for i, x in enumerate((*bands, *chain.parameters()))})
        assert bool(calls) == (step is forward_step or where == "wavelet")
    assert_close(found[1], found[0])


@in_every_mode
@pytest.mark.parametrize("where", ["coupling", "block", "nested chain"])
def test_backward_hooks_are_called_once(memory: str, where: str) -> None:
    chain, module = hooked(where)
    chain.memory = memory  # type: ignore[assignment]
    calls = []
    module.register_full_backward_hook(lambda *_: calls.append(1))
    loss(*chain(*leaves())).backward()
    assert calls == [1]
