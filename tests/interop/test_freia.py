"""FrEIA's modules among ours, pickles and copies of both, and the errors of both wrappers."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Invertible,
    Sequential,
    check_inverse,
)
from liftlayers.interop import AsFrEIA, FromFrEIA
from liftlayers.testing import assert_inverts, assert_same_gradients
from tests.interop.freia_modules import (
    IMAGE,
    Conditional,
    Scale,
    chain,
    conv,
    ff,
    fm,
    seeded,
    sequence,
    split_and_concat,
)
from tests.laws import flat_jacobian
from tests.strategies import seeds, tensor

VECTOR = [(6,)]


# FrEIA's modules among ours


THEIRS: dict[str, tuple[Callable[[], Any], list[tuple[int, ...]]]] = {
    "NICE": (lambda: fm.NICECouplingBlock(IMAGE, subnet_constructor=conv), IMAGE),
    "RealNVP": (lambda: fm.RNVPCouplingBlock(IMAGE, subnet_constructor=conv), IMAGE),
    "GLOW": (lambda: fm.GLOWCouplingBlock(IMAGE, subnet_constructor=conv), IMAGE),
    "AllInOne": (lambda: fm.AllInOneBlock(IMAGE, subnet_constructor=conv), IMAGE),
    "ActNorm": (lambda: fm.ActNorm(IMAGE), IMAGE),
    "Haar": (lambda: fm.HaarDownsampling(IMAGE, rebalance=0.5), IMAGE),
    "Haar, by wavelet": (lambda: fm.HaarDownsampling(IMAGE, order_by_wavelet=True), IMAGE),
    "Haar, up": (lambda: fm.HaarUpsampling(IMAGE), IMAGE),
    "i-RevNet": (lambda: fm.IRevNetDownsampling(IMAGE), IMAGE),
    "i-RevNet, up": (lambda: fm.IRevNetUpsampling(IMAGE), IMAGE),
    "Split": (lambda: fm.Split(IMAGE, section_sizes=(1, 3)), IMAGE),
    "Concat": (lambda: fm.Concat([(1, 2, 2), (3, 2, 2)]), [(1, 2, 2), (3, 2, 2)]),
    "Flatten": (lambda: fm.Flatten(IMAGE), IMAGE),
    "1x1 convolution": (lambda: fm.Fixed1x1Conv(IMAGE, M=torch.eye(4).flip(0) * 2), IMAGE),
    "Sigmoid": (lambda: fm.InvertibleSigmoid(VECTOR), VECTOR),
    "SequenceINN": (
        lambda: sequence(
            1, 4, 4, steps=[(fm.HaarDownsampling, {}), (fm.GLOWCouplingBlock, {"subnet_constructor": conv})]
        ),
        [(1, 4, 4)],
    ),
    "SequenceINN, of ours": (
        lambda: sequence(3, 4, 4, steps=[(AsFrEIA, {"module": chain()}), (AsFrEIA, {"module": Scale()})]),
        [(3, 4, 4)],
    ),
    "GraphINN": (lambda: split_and_concat(), [(3, 8, 8)]),
}


def wrapped(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[FromFrEIA, tuple[Tensor, ...]]:
    make, dims = THEIRS[name]
    given = tuple(tensor(seed + i, 2, *shape, dtype=dtype) for i, shape in enumerate(dims))
    module = FromFrEIA(seeded(make, seed).to(dtype))
    module(*given)  # lets an activation norm see its first batch
    return module, given


@pytest.mark.parametrize("name", THEIRS)
def test_their_modules_invert(name: str) -> None:
    module, given = wrapped(name)
    # The bound is wide: their Haar layers are convolutions, and Sigmoid loses digits where it saturates.
    assert_inverts(module, *given, bound=256.0)
    assert check_inverse(module, *given).error < 1e-12


@given(seed=seeds())
def test_their_all_in_one_block_inverts_in_float32(seed: int) -> None:
    module, given = wrapped("AllInOne", seed, torch.float32)
    assert_inverts(module, *given, bound=64.0)


@pytest.mark.parametrize("name", THEIRS)
def test_their_log_determinants_are_autograds(name: str) -> None:
    module, given = wrapped(name)
    outputs, log_det = module.forward_and_log_det(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    _, back = module.inverse_and_log_det(*outputs)
    assert log_det.shape == back.shape == (2,)
    for image in range(2):
        one = [x[image : image + 1] for x in given]
        expected = torch.linalg.slogdet(flat_jacobian(module, *one)).logabsdet
        torch.testing.assert_close(log_det[image].double(), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(back[image].double(), -expected, rtol=0, atol=1e-6)


def test_their_haar_would_write_into_its_input_and_does_not() -> None:
    haar = fm.HaarDownsampling([(1, 4, 4)])
    y = tensor(0, 1, 4, 2, 2)
    before = y.clone()
    with torch.no_grad():
        FromFrEIA(haar).inverse(y)
        assert torch.equal(y, before)
        haar([y], rev=True)
    assert not torch.equal(y, before)  # once FrEIA mends it, this fails and the copies can go
    leaf = before.clone().requires_grad_()
    torch.autograd.backward(FromFrEIA(haar).inverse(leaf), torch.ones(1, 1, 4, 4))
    assert leaf.grad is not None


def test_our_outputs_are_safe_from_their_haar() -> None:
    """An additive coupling returns its first band as it came, and FrEIA's Haar would write into it."""
    source = ff.InputNode(1, 4, 4)
    up = ff.Node(source, fm.HaarDownsampling, {})
    other = ff.InputNode(4, 2, 2)
    step = ff.Node([up.out0, other.out0], AsFrEIA, {"module": AdditiveCoupling(nn.Identity())})
    net = ff.GraphINN([source, up, other, step, ff.OutputNode(step.out0), ff.OutputNode(step.out1)])
    given = tensor(0, 1, 4, 2, 2), tensor(1, 1, 4, 2, 2)
    before = [x.clone() for x in given]
    with torch.no_grad():
        net(given, rev=True)
    assert all(torch.equal(x, kept) for x, kept in zip(given, before, strict=True))


def test_gradients_are_those_of_their_block() -> None:
    block = seeded(lambda: fm.GLOWCouplingBlock(IMAGE, subnet_constructor=conv), 0)

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = block

        def forward(self, x: Tensor) -> Tensor:
            return self.module([x])[0][0]

    assert_same_gradients(Bare(), FromFrEIA(block), tensor(0, 2, *IMAGE[0]), tolerance=1e-6)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
@pytest.mark.parametrize("name", ["GLOW", "AllInOne"])
def test_their_blocks_train_in_every_memory_mode(name: str, memory: Any) -> None:
    first, given = wrapped(name, 0)
    second, _ = wrapped(name, 1)
    steps = [first, second]
    assert_same_gradients(Sequential(*steps), Sequential(*steps, memory=memory), *given, tolerance=1e-9)


def test_parameters_and_state_dicts_pass_through() -> None:
    module = FromFrEIA(seeded(lambda: fm.AllInOneBlock(IMAGE, subnet_constructor=conv), 0))
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"module"}
    other = FromFrEIA(seeded(lambda: fm.AllInOneBlock(IMAGE, subnet_constructor=conv), 1))
    other.load_state_dict(module.state_dict())
    x = tensor(0, 1, *IMAGE[0])
    assert torch.equal(other(x), module(x))


# Pickling and copies


class Tanh(nn.Sequential):
    """A network with a name, as pickling needs one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 1), nn.Tanh())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_their_module_is_pickled_and_copied(clone: Callable[[Any], Any]) -> None:
    glow = fm.GLOWCouplingBlock(IMAGE, subnet_constructor=Tanh, clamp_activation="TANH")
    module, x = FromFrEIA(glow), tensor(0, 1, *IMAGE[0])
    assert torch.equal(clone(module)(x), module(x))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_our_node_is_pickled_and_copied(clone: Callable[[Any], Any]) -> None:
    net, x = sequence(3, 8, 8, steps=[(AsFrEIA, {"module": chain()})]), tensor(0, 1, 3, 8, 8)
    assert torch.equal(clone(net)(x)[0], net(x)[0])
    source = ff.InputNode(3, 8, 8)
    node = ff.Node(source, AsFrEIA, {"module": chain()})
    graph = ff.GraphINN([source, node, ff.OutputNode(node)])
    assert torch.equal(clone(graph)(x)[0], graph(x)[0])


# Errors


def test_other_modules_are_refused() -> None:
    with pytest.raises(TypeError, match="AsFrEIA needs an Invertible module, got Linear"):
        AsFrEIA([(3,)], module=nn.Linear(3, 3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a FrEIA InvertibleModule \(pip install FrEIA\), .*, got Linear"):
        FromFrEIA(nn.Linear(3, 3))
    with pytest.raises(TypeError, match=r"FromFrEIA needs a FrEIA InvertibleModule .*, got type"):
        FromFrEIA(fm.HaarDownsampling)


def test_a_bare_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"AsFrEIA needs a list of tensors, got a tensor of shape \(2, 3, 4, 4\)"):
        AsFrEIA([(3, 4, 4)], module=Haar())(torch.zeros(2, 3, 4, 4))  # type: ignore[arg-type]
    node = AsFrEIA([(3, 4, 4)] * 2, [(3, 4, 4)], module=AdditiveCoupling(Conditional(3, 3)))
    with pytest.raises(TypeError, match=r"AsFrEIA needs a list of conditions, got a tensor of shape \(1, 3, 4, 4\)"):
        node([torch.zeros(1, 3, 4, 4)] * 2, c=torch.zeros(1, 3, 4, 4))  # type: ignore[arg-type]


def test_conditions_without_a_use_are_refused() -> None:
    with pytest.raises(ValueError, match=r"AsFrEIA got 1 condition\(s\), but Haar takes none"):
        AsFrEIA([(3, 4, 4)], [(1, 4, 4)], module=Haar())
    with pytest.raises(ValueError, match=r"AsFrEIA got 1 condition\(s\), but Haar takes none"):
        AsFrEIA([(3, 4, 4)], module=Haar())([torch.zeros(1, 3, 4, 4)], c=[torch.zeros(1)])
    with pytest.raises(ValueError, match="needs one condition for AdditiveCoupling, got 2; concatenate them"):
        AsFrEIA([(3, 4, 4)] * 2, [(3, 4, 4)] * 2, module=AdditiveCoupling(Conditional(3, 3)))
    with pytest.raises(ValueError, match=r"FromFrEIA\(Flatten\) got a condition, but its module takes none"):
        FromFrEIA(fm.Flatten(IMAGE))(torch.zeros(1, *IMAGE[0]), condition=torch.zeros(1))


def test_two_conditions_are_refused() -> None:
    theirs = fm.GLOWCouplingBlock(IMAGE, dims_c=[(2, 4, 4), (1, 4, 4)], subnet_constructor=conv)
    with pytest.raises(
        ValueError, match=r"FromFrEIA\(GLOWCouplingBlock\) needs .* at most one condition, got 2 conditions"
    ):
        FromFrEIA(theirs)(torch.zeros(1, *IMAGE[0]), condition=torch.zeros(1, 2, 4, 4))


def test_other_shapes_are_refused() -> None:
    haar = FromFrEIA(fm.HaarDownsampling([(3, 4, 4)]))
    with pytest.raises(
        ValueError, match=r"FromFrEIA\(HaarDownsampling\) needs bands of shape \(B, 3, 4, 4\), got \(1, 3"
    ):
        haar(torch.zeros(1, 3, 5, 4))  # which FrEIA would cut to four rows in silence
    with pytest.raises(ValueError, match=r"needs bands of shape \(B, 12, 2, 2\), got \(1, 3, 4, 4\)"):
        haar.inverse(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"needs bands of shape \(B, 3, 4, 4\), got nothing"):
        haar()
    with pytest.raises(ValueError, match=r"\(B, 6, 4, 4\) and \(B, 6, 4, 4\), got \(1, 6, 4, 4\)$"):
        FromFrEIA(split_and_concat()).inverse(torch.zeros(1, 6, 4, 4))


def test_sizes_that_do_not_fit_are_refused_while_the_graph_is_built() -> None:
    with pytest.raises(ValueError, match="haar_analysis needs an even height and width, got 7 x 8"):
        ff.Node(ff.InputNode(3, 7, 8), AsFrEIA, {"module": Haar()})
    with pytest.raises(RuntimeError, match=r"to have 3 channels, but got 4 channels"):
        AsFrEIA([(4, 8, 8)], module=Sequential(AdditiveCoupling(conv(3, 3)))).output_dims([(4, 8, 8)] * 2)


def test_a_missing_log_determinant_is_refused() -> None:
    class Negate(Invertible):
        def forward(self, x: Tensor) -> Tensor:
            return -x

        def inverse(self, x: Tensor) -> Tensor:
            return -x

    node, x = AsFrEIA([(3,)], module=Negate()), torch.ones(1, 3)
    with pytest.raises(NotImplementedError, match="Negate needs forward_and_log_det"):
        node([x])
    (y,), _ = node([x], jac=False)
    assert torch.equal(y, -x)
