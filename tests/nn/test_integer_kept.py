"""Networks of integers keep their rounded weights while the weights stay the same, and never longer."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from liftlayers import IntegerConv2d, IntegerPredictor
from liftlayers.nn._integer_sums import clipped
from liftlayers.nn._last_call import LastCall
from liftlayers.testing import randomise_
from tests.nn.integers import numbers


def trained() -> nn.Module:
    return randomise_(IntegerPredictor(2, 3))


def frozen() -> nn.Module:
    return randomise_(IntegerPredictor(2, 3)).frozen()


def inputs() -> Tensor:
    return numbers(0, 2, 2, 6, 5, dtype=torch.uint8).float()


def weights(network: nn.Module) -> list[Tensor]:
    return [tensor for name, tensor in network.state_dict().items() if name.endswith("weight")]


def write_in_place(network: nn.Module) -> None:
    for tensor in weights(network):
        tensor.neg_()


def write_into_data(network: nn.Module) -> None:
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.ndim == 4:
            tensor.data.neg_()


def write_with_numpy(network: nn.Module) -> None:
    for tensor in weights(network):
        tensor.numpy()[:] *= -1


def load(network: nn.Module) -> None:
    network.load_state_dict({name: -x if x.ndim == 4 else x for name, x in network.state_dict().items()})


def replace(network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        layer = network.get_submodule(name.rpartition(".")[0])
        if name.endswith("weight"):
            setattr(layer, "weight", type(layer.weight)(-tensor))  # noqa: B010


CHANGES = [write_in_place, write_into_data, write_with_numpy, load, replace]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("make", [trained, frozen])
def test_changed_weights_are_used(make: Callable[[], nn.Module], change: Callable[[nn.Module], None]) -> None:
    network, x = make(), inputs()
    with torch.no_grad():
        before = network(x)
        change(network)
        after = network(x)
        assert torch.equal(after, copy.deepcopy(network)(x))  # the copy has kept nothing
        assert not torch.equal(after, before)
        assert torch.equal(network.double()(x.double()).float(), after)


@pytest.mark.parametrize("make", [trained, frozen])
def test_functional_calls_use_their_own_weights(make: Callable[[], nn.Module]) -> None:
    network, x = make(), inputs()
    other = copy.deepcopy(network)
    write_in_place(other)
    with torch.no_grad():
        before = network(x)
        assert torch.equal(torch.func.functional_call(network, other.state_dict(), x), other(x))
        assert torch.equal(network(x), before)
        assert not torch.equal(other(x), before)


def test_changed_settings_are_used() -> None:
    conv, x = randomise_(IntegerConv2d(2, 3)), inputs()
    with torch.no_grad():
        before = conv(x)
        conv.out_bits = 1
        assert not torch.equal(conv(x), before)


@pytest.mark.parametrize("make", [trained, frozen])
def test_gradients_after_inference_mode(make: Callable[[], nn.Module]) -> None:
    network, x = make(), inputs()
    fresh = copy.deepcopy(network)
    with torch.inference_mode():
        network(x)
    gradients = [torch.autograd.grad(each(y := x.clone().requires_grad_()).sum(), y)[0] for each in (network, fresh)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("make", [trained, frozen])
def test_copies_are_not_larger_than_the_network(make: Callable[[], nn.Module]) -> None:
    network = make()
    before = len(pickle.dumps(network))
    with torch.no_grad():
        expected = network(inputs())
    assert len(pickle.dumps(network)) == before
    assert torch.equal(pickle.loads(pickle.dumps(network))(inputs()), expected)


def test_a_function_is_called_once_for_the_same_arguments() -> None:
    calls: list[int] = []

    def double(x: Tensor, power: int) -> Tensor:
        calls.append(power)
        return x * 2**power

    last, x = LastCall[Tensor](), torch.ones(2)
    assert [float(last(double, (y,), (power,)).sum()) for y, power in ((x, 1), (x.clone(), 1), (x, 2))] == [4, 4, 8]
    assert calls == [1, 2]
    last(double, (x.requires_grad_(),), (2,))  # its result has a gradient
    assert calls == [1, 2, 2]


@pytest.mark.parametrize("signed", [True, False])
def test_the_gradient_of_clipping_is_that_of_clamp(signed: bool) -> None:
    x = torch.tensor([-300.0, -256, -255, -254, -1, 0, 1, 254, 255, 256, 300], requires_grad=True)
    expected = x.clamp(-255 if signed else 0, 255)
    for tensor in (x, x.detach()):
        assert torch.equal(clipped(tensor, signed=signed), expected)
    found = torch.autograd.grad(clipped(x, signed=signed).sum(), x)
    assert torch.equal(*found, *torch.autograd.grad(expected.sum(), x))


def test_inputs_are_clipped_in_place_only_on_request() -> None:
    x = torch.full((1, 1, 4, 4), 300.0)
    with torch.no_grad():
        for network in (IntegerConv2d(1, 1), IntegerPredictor(1, 1)):
            network(x)
            assert (x == 300).all()
        IntegerConv2d(1, 1, inplace=True).frozen()(x)
    assert (x == 255).all()
