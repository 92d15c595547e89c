"""Our modules inside FrEIA's networks and FrEIA's modules among ours."""

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
    ConvPredictor,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    Sequential,
    VolumePreserving,
    check_inverse,
)
from liftlayers.interop import AsFrEIA, FromFrEIA
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.laws import flat_jacobian
from tests.strategies import images, seeds, tensor

ff: Any = pytest.importorskip("FrEIA.framework")
fm: Any = pytest.importorskip("FrEIA.modules")

IMAGE = [(4, 4, 4)]
VECTOR = [(6,)]


class Conditional(nn.Module):
    """A network with a condition of its output's shape."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.tanh(self.conv(x) if condition is None else self.conv(x) + condition)


class Scale(Invertible):
    """Multiplies by a learned number: a layer with a log-determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp()

    def inverse(self, x: Tensor) -> Tensor:
        return x * (-self.log_scale).exp()

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self(x), self.log_scale * x[0].numel() * x.new_ones(len(x))

    def inverse_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(x), -self.log_scale * x[0].numel() * x.new_ones(len(x))


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


def conv(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def block(seed: int = 0) -> LiftingBlock:
    return randomise_(LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)), seed)


def chain(seed: int = 0, **options: Any) -> Sequential:
    """From an image to an image of its size."""
    return Sequential(Haar(), block(seed), block(seed + 1), Inverse(Haar()), **options)


def sequence(*dims: int, steps: list[tuple[Any, dict[str, Any]]]) -> Any:
    net = ff.SequenceINN(*dims)
    for kind, options in steps:
        net.append(kind, **options)
    return net


def seeded(make: Callable[[], Any], seed: int) -> Any:
    """A FrEIA module as its own initialisation leaves it: its fixed permutations are parameters, not to be drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def split_and_concat() -> Any:
    """Haar of ours, FrEIA's blocks on both bands, the approximation of one node and the detail of another joined."""
    source = ff.InputNode(3, 8, 8)
    haar = ff.Node(source, AsFrEIA, {"module": Sequential(Haar(), block())})
    glow = ff.Node(haar.out1, fm.GLOWCouplingBlock, {"subnet_constructor": conv, "clamp": 1.0})
    parts = ff.Node(glow, fm.Split, {"section_sizes": (3, 6)})
    joined = ff.Node([haar.out0, parts.out0], fm.Concat, {})
    lift = ff.Node([joined.out0, parts.out1], AsFrEIA, {"module": randomise_(AdditiveCoupling(conv(6, 6)))})
    outputs = [ff.OutputNode(lift.out0), ff.OutputNode(lift.out1)]
    return ff.GraphINN([source, haar, glow, parts, joined, lift, *outputs])


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
    # Their Haar layers are convolutions, Sigmoid loses digits where it saturates: hence the room.
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


def test_modes_pass_on() -> None:
    module = FromFrEIA(seeded(lambda: fm.AllInOneBlock(IMAGE, subnet_constructor=conv), 0))
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"module"}
    other = FromFrEIA(seeded(lambda: fm.AllInOneBlock(IMAGE, subnet_constructor=conv), 1))
    other.load_state_dict(module.state_dict())
    x = tensor(0, 1, *IMAGE[0])
    assert torch.equal(other(x), module(x))


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


def test_there_and_back_again() -> None:
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
