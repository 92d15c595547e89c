"""Our modules inside FrEIA's networks: log-determinants, gradients, shapes and conditions."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Inverse,
    Sequential,
    VolumePreserving,
)
from liftlayers.interop import AsFrEIA, FromFrEIA
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.interop.freia_modules import (
    IMAGE,
    Conditional,
    Scale,
    block,
    chain,
    conv,
    ff,
    fm,
    seeded,
    sequence,
    split_and_concat,
)
from tests.laws import flat_jacobian
from tests.strategies import images, tensor


class Peeks(VolumePreserving):
    """Is initialised by the first values that it sees, as activation norms are."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.seen = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.seen:
            self.shift.data.fill_(x.mean().item())
            self.seen = True
        return x - self.shift

    def inverse(self, x: Tensor) -> Tensor:
        return x + self.shift


# Ours inside FrEIA's


@given(x=images(multiple=2))
def test_our_chain_in_their_sequence_is_our_chain(x: Tensor) -> None:
    ours = Sequential(Haar(), Inverse(Haar()), Inverse(Sequential(Haar(), Inverse(Haar())))).to(x.dtype)
    net = sequence(*x.shape[1:], steps=[(AsFrEIA, {"module": ours})])
    assert net.shapes == [tuple(x.shape[1:])] * 2
    z, log_det = net(x)
    expected = ours(x)
    assert isinstance(expected, Tensor)
    assert torch.equal(z, expected)
    assert torch.equal(log_det, torch.zeros(len(x), dtype=x.dtype))
    torch.testing.assert_close(net(z, rev=True)[0], ours.inverse(z), rtol=0, atol=0)


def test_graph_with_split_and_concat_inverts() -> None:
    net = seeded(split_and_concat, 0).double()
    x = tensor(0, 2, 3, 8, 8, dtype=torch.float64)
    outputs, log_det = net(x)
    assert [tuple(y.shape) for y in outputs] == [(2, 6, 4, 4), (2, 6, 4, 4)] == [(2, *s) for s in net.global_out_shapes]
    back, log_det_back = net(outputs, rev=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rev", [False, True])
def test_log_determinant_is_ours(rev: bool) -> None:
    ours = Sequential(chain(), Scale()).double()
    x = tensor(0, 2, 3, 4, 4, dtype=torch.float64)
    theirs = AsFrEIA([(3, 4, 4)], module=ours)
    _, log_det = theirs([x], rev=rev)
    _, expected = (ours.inverse_and_log_det if rev else ours.forward_and_log_det)(x)
    jacobian = flat_jacobian(Inverse(ours) if rev else ours, x[:1])
    assert isinstance(log_det, Tensor)
    torch.testing.assert_close(log_det, expected, rtol=0, atol=0)
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=1e-9)


def test_a_training_step_gives_our_gradients() -> None:
    ours = chain()
    net = sequence(3, 8, 8, steps=[(AsFrEIA, {"module": ours})])
    assert net[0].module is ours

    class Through(nn.Module):
        def __init__(self, jac: bool) -> None:
            super().__init__()
            self.ours, self.jac = ours, jac

        def forward(self, x: Tensor) -> Tensor:
            return net(x, jac=self.jac)[0]

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ours = ours

        def forward(self, x: Tensor) -> Any:
            return ours(x)

    for jac in (False, True):
        assert_same_gradients(Alone(), Through(jac), tensor(0, 2, 3, 8, 8), tolerance=1e-9)


def test_the_memory_mode_is_kept_without_a_log_determinant() -> None:
    x, held = tensor(0, 1, 3, 8, 8).requires_grad_(), {}
    for memory in ("store", "reversible"):
        net = sequence(3, 8, 8, steps=[(AsFrEIA, {"module": chain(memory=memory)})])
        weights, kept = {weight.data_ptr() for weight in net.parameters()}, []
        with torch.autograd.graph.saved_tensors_hooks(lambda y, kept=kept: kept.append(y) or y, lambda y: y):
            net(x, jac=False)
        held[memory] = sum(y.numel() for y in kept if y.data_ptr() not in weights)
    assert held["reversible"] < held["store"] / 4


def test_a_module_wrapped_twice_is_the_module() -> None:
    ours = Sequential(Haar(), block())
    again = FromFrEIA(AsFrEIA([(3, 8, 8)], module=ours))
    x = tensor(0, 1, 3, 8, 8)
    for band, expected in zip(again(x), ours(x), strict=True):
        assert torch.equal(band, expected)
    assert_inverts(again, x)


# Shapes without running on data


def test_shapes_of_every_band_are_found() -> None:
    node = AsFrEIA([(3, 8, 4)], module=Sequential(Haar(), block()))
    assert node.output_dims([(3, 8, 4)]) == [(3, 4, 2), (9, 4, 2)]
    back = AsFrEIA([(3, 4, 2), (9, 4, 2)], module=Inverse(Haar()))
    assert back.output_dims([(3, 4, 2), (9, 4, 2)]) == [(3, 8, 4)]
    double = AsFrEIA([(3, 8, 4)], module=Sequential(Haar(), block()).double())
    assert double.output_dims([(3, 8, 4)]) == [(3, 4, 2), (9, 4, 2)]


def test_shapes_are_found_without_values() -> None:
    """Real numbers of these shapes would fill terabytes."""
    node = AsFrEIA([(1, 2**20, 2**20)], module=Sequential(Haar(), AdditiveCoupling(conv(1, 3))))
    assert node.output_dims([(1, 2**20, 2**20)]) == [(1, 2**19, 2**19), (3, 2**19, 2**19)]


def test_the_module_is_not_changed_by_finding_its_shapes() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 9, 1), nn.Dropout(0.5))
    ours = Sequential(Haar(), AdditiveCoupling(network), Inverse(Haar()), Peeks())
    before, random = copy.deepcopy(ours.state_dict()), torch.get_rng_state()
    assert AsFrEIA([(3, 4, 4)], module=ours).output_dims([(3, 4, 4)]) == [(3, 4, 4)]
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in before.items())
    assert not ours[3].seen  # type: ignore[union-attr]
    assert ours.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.device.type == "cpu" and p.requires_grad for p in ours.parameters())


# Conditions


def test_a_condition_reaches_our_network_in_their_graph() -> None:
    ours = randomise_(Sequential(Haar(), AdditiveCoupling(Conditional(3, 9)), Inverse(Haar())))
    source, hint = ff.InputNode(3, 8, 8), ff.ConditionNode(9, 4, 4)
    node = ff.Node(source, AsFrEIA, {"module": ours}, conditions=hint)
    net = ff.GraphINN([source, hint, node, ff.OutputNode(node)])
    x, condition = tensor(0, 1, 3, 8, 8), tensor(1, 1, 9, 4, 4)
    z, _ = net(x, c=[condition])
    assert torch.equal(z, ours(x, condition=condition))
    assert not torch.equal(z, ours(x))
    torch.testing.assert_close(net(z, c=[condition], rev=True)[0], x)

    again = FromFrEIA(net)
    assert again.conditional
    y = Sequential(again)(x, condition=condition)
    assert isinstance(y, Tensor)
    assert torch.equal(y, z)
    with pytest.raises(ValueError, match=r"FromFrEIA\(GraphINN\) needs a condition, got none"):
        again(x)


@pytest.mark.parametrize("container", ["module", "sequence"])
def test_a_condition_reaches_their_block(container: str) -> None:
    options: dict[str, Any] = {"subnet_constructor": conv}

    def make() -> Any:
        if container == "module":
            return fm.GLOWCouplingBlock(IMAGE, dims_c=[(2, 4, 4)], **options)
        return sequence(4, 4, 4, steps=[(fm.GLOWCouplingBlock, {"cond": 0, "cond_shape": (2, 4, 4), **options})])

    theirs = seeded(make, 0)
    x, condition = tensor(0, 2, *IMAGE[0]), tensor(1, 2, 2, 4, 4)
    module = FromFrEIA(theirs)
    assert module.conditional
    y = module(x, condition=condition)
    assert isinstance(y, Tensor)
    given = x if container == "sequence" else [x]
    expected = theirs(given, c=[condition])[0]
    assert torch.equal(y, expected if container == "sequence" else expected[0])
    assert not torch.equal(y, module(x, condition=-condition))
    torch.testing.assert_close(module.inverse(y, condition=condition), x, rtol=0, atol=1e-5)
