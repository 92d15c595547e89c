"""FrEIA in use: pickles and copies of both wrappers, and what they refuse."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    Haar,
    Invertible,
    Sequential,
)
from liftlayers.interop import AsFrEIA, FromFrEIA
from tests.interop.freia_modules import (
    IMAGE,
    Conditional,
    chain,
    conv,
    ff,
    fm,
    sequence,
    split_and_concat,
)
from tests.strategies import tensor

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
