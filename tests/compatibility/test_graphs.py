"""Promises of the pages about graphs beyond the matrix: inductor, exact chains, sizes that a network pads."""

import pytest
import torch
from torch import Tensor, nn

from liftlayers import NAFUNet, Sequential
from liftlayers.testing import randomise_
from tests.compatibility.compiled import FIRST, SECOND, any_size
from tests.compatibility.layers import ThereAndBack, case
from tests.strategies import tensor


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> None:
    torch._dynamo.reset()


@pytest.mark.slow
def test_a_compiled_exact_chain_returns_every_bit_and_refuses_values_out_of_range() -> None:
    layer, (x,) = case("exact")
    module = ThereAndBack(layer)
    module.compile(fullgraph=True, backend="aot_eager")
    assert torch.equal(module(x)[-1], x)
    match = r"exact: step 0 of 4 \(Haar\) needs values below 64, on a grid of 2\^-16 in float32"
    with torch.compiler.set_stance("fail_on_recompile"):
        for value in (1000.0, torch.inf, torch.nan):
            with pytest.raises(RuntimeError, match=match):
                module(torch.full_like(x, value))


@pytest.mark.slow
def test_an_exported_exact_chain_refuses_values_out_of_range() -> None:
    layer, bands = case("exact", *FIRST)
    program = torch.export.export(layer, bands, dynamic_shapes=any_size(layer, bands)).module()
    _, (x,) = case("exact", *SECOND)
    torch.testing.assert_close(program(x), layer(x))
    with pytest.raises(RuntimeError, match="needs values below 64"):
        program(1000 * x)


def test_a_network_that_pads_is_exported_for_sizes_that_need_no_padding() -> None:
    network = randomise_(NAFUNet(1, 4, encoder=(0, 0), middle=0, decoder=(0, 0))).eval()
    x = tensor(0, *FIRST[:1], 1, *FIRST[1:])
    program = torch.export.export(network, (x,), dynamic_shapes=any_size(network, (x,))).module()
    with pytest.raises(AssertionError, match=r"Guard failed: .*% 4 == 0"):
        program(tensor(0, 2, 1, 10, 12))


inductor = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own warnings


@pytest.mark.slow
@inductor
def test_inductor_compiles_a_chain_once_for_all_sizes() -> None:
    layer, bands = case("Sequential", *FIRST)
    assert isinstance(layer, Sequential)
    module = ThereAndBack(layer)
    module.compile(fullgraph=True, dynamic=True)
    with torch.no_grad():
        module(*bands)
        _, others = case("Sequential", *SECOND)
        with torch.compiler.set_stance("fail_on_recompile"):
            actual = module(*others)
        torch.testing.assert_close(actual, ThereAndBack(layer)(*others), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@inductor
def test_inductor_compiles_training_convolutions_again_for_each_size() -> None:
    """Training chains are compiled again for this reason. When this fails, the page can promise more."""
    convolutions = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(4, 1, 3, padding=1))

    @torch.compile(fullgraph=True, dynamic=True)
    def convolved(x: Tensor) -> Tensor:
        return convolutions(x)

    convolved(tensor(0, 2, 1, 8, 20))
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="Detected recompile"):
        convolved(tensor(0, 3, 1, 12, 16))
