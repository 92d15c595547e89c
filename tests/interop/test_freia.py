"""FrEIA's modules among ours: round trips, log-determinants, gradients and memory modes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Sequential,
    check_inverse,
)
from liftlayers.interop import AsFrEIA, FromFrEIA
from liftlayers.testing import assert_inverts, assert_same_gradients
from tests.interop.freia_modules import (
    IMAGE,
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
    "Sigmoid, of images": (lambda: fm.InvertibleSigmoid(IMAGE), IMAGE),
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


@pytest.mark.parametrize("rev", [False, True])
def test_their_log_determinants_of_pixels_are_summed(rev: bool) -> None:
    """Their sigmoid returns a log-determinant for each pixel."""
    module, (x,) = wrapped("Sigmoid, of images")
    given = x.sigmoid() if rev else x
    _, of_pixels = module.module([given], rev=rev)
    _, log_det = (module.inverse_and_log_det if rev else module.forward_and_log_det)(given)
    assert of_pixels.shape == (2, 4, 4)
    torch.testing.assert_close(log_det, of_pixels.sum((1, 2)))


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
