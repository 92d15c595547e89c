"""The state dict of an exact chain is that of the chain inside, under any names."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liftlayers import (
    AdditiveCoupling,
    ConvPredictor,
    Exact,
    Haar,
    Inverse,
    Invertible,
    LiftingBlock,
    Sequential,
    ToGrid,
    exact,
)
from liftlayers._bands import Bands, as_tuple
from liftlayers.testing import randomise_


def coupling() -> AdditiveCoupling:
    return AdditiveCoupling(nn.Linear(2, 2))


class Nested(Invertible):
    """A step that holds a module called `chain`, after or before another one."""

    def __init__(self, inner: Invertible | None = None, *, head_first: bool = False) -> None:
        super().__init__()
        if head_first:
            self.head = coupling()
        self.chain = inner or coupling()
        if not head_first:
            self.head = coupling()

    def forward(self, a: Tensor, b: Tensor) -> Bands:
        return self.head(*self.chain(a, b))

    def inverse(self, a: Tensor, b: Tensor) -> Bands:
        return self.chain.inverse(*self.head.inverse(a, b))

    def steps(self) -> tuple[Invertible, ...]:
        return self.chain, self.head


def test_modules_called_chain_keep_their_weights() -> None:
    for head_first in (False, True):
        plain = randomise_(Nested(Nested(head_first=head_first), head_first=head_first))
        fresh = Nested(Nested(head_first=head_first), head_first=head_first)
        state = exact(plain).state_dict()
        assert list(state) == list(plain.state_dict())
        assert all(torch.equal(x, plain.state_dict()[name]) for name, x in state.items())
        exact(fresh).load_state_dict(plain.state_dict())
        assert all(torch.equal(x, y) for x, y in zip(fresh.parameters(), plain.parameters(), strict=True))


def test_inside_other_modules_the_names_are_those_of_the_chain() -> None:
    plain = nn.ModuleDict({"a": Sequential(coupling()), "chain": Sequential(coupling(), coupling())})
    ours = nn.ModuleDict({name: exact(chain) for name, chain in plain.items()})  # type: ignore[arg-type]
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert ours.state_dict()._metadata.keys() >= plain.state_dict()._metadata.keys()  # type: ignore[attr-defined]
    ours.load_state_dict(randomise_(plain).state_dict())
    plain.load_state_dict(ours.state_dict())


def test_parameters_have_the_names_of_the_state_dict() -> None:
    ours = exact(randomise_(Nested(Nested())))
    outer = nn.ModuleDict({"a": ours, "chain": exact(Sequential(coupling()))})
    for module in (ours, outer, exact(coupling()), exact(Sequential(Sequential(coupling())))):
        assert [name for name, _ in module.named_parameters()] == list(module.state_dict())
    assert all(module.get_parameter(name) is x for name, x in module.named_parameters())
    assert set(outer.modules()) >= {ours.chain, *ours.chain.modules()}


def test_functional_call_takes_the_state_dict() -> None:
    """By its names, which are those of the chain, and by the names of the parameters."""
    chain = Sequential(Haar(), LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1)), Inverse(Haar()))
    ours, other = exact(randomise_(chain, seed=0)), exact(randomise_(copy.deepcopy(chain), seed=1))
    x = torch.rand(1, 1, 8, 8)
    expected, before = other(x), ours(x)
    named: list[dict[str, Tensor]] = [other.state_dict(), other.chain.state_dict(), dict(other.named_parameters())]
    for names in named:
        assert torch.equal(torch.func.functional_call(ours, names, (x,)), expected)
        assert torch.equal(ours(x), before)
    with pytest.raises(AttributeError, match="'Exact' object has no attribute 'other'"):
        _ = ours.other


class Versioned(nn.Linear):
    """A network that looks at the version of its state, as batch norm does."""

    _version = 2

    def _load_from_state_dict(self, *given: Any) -> None:  # type: ignore[override]
        self.seen = given[2].get("version")  # the state dict and the prefix come first
        super()._load_from_state_dict(*given)


@pytest.mark.parametrize("source", [nn.Module.eval, exact], ids=["plain", "exact"])
@pytest.mark.parametrize("target", [nn.Module.eval, exact], ids=["plain", "exact"])
def test_modules_see_the_version_of_their_state(source: Any, target: Any) -> None:
    networks = Versioned(2, 2), Versioned(2, 2)
    chains = [Sequential(AdditiveCoupling(each)) for each in networks]
    saved, loading = source(chains[0]), target(chains[1])
    state = saved.state_dict()
    versions = copy.deepcopy(state._metadata)
    loading.load_state_dict(state)
    assert networks[1].seen == 2
    assert torch.equal(networks[0].weight, networks[1].weight)
    assert state._metadata == versions  # the caller's are left as they were


def test_exact_chains_inside_other_modules_keep_versions() -> None:
    networks = Versioned(2, 2), Versioned(2, 2)
    saved, loading = (nn.ModuleDict({"a": exact(AdditiveCoupling(each))}) for each in networks)
    loading.load_state_dict(saved.state_dict())
    assert networks[1].seen == 2
    plain = nn.ModuleDict({"a": AdditiveCoupling(networks[0])})
    plain.load_state_dict(saved.state_dict())
    assert networks[0].seen == 2


def test_a_subclass_keeps_parameters_of_its_own() -> None:
    class Scaled(Exact):
        def __init__(self) -> None:
            super().__init__(Sequential(coupling()))
            self.gain = nn.Parameter(torch.ones(1))

    ours = Scaled()
    assert "gain" in ours.state_dict()
    Scaled().load_state_dict(ours.state_dict())


def test_an_empty_chain_rounds() -> None:
    x = torch.rand(1, 2)
    for chain in (exact(Sequential()), exact(Inverse(Sequential()))):
        assert torch.equal(chain(x), ToGrid(16)(x))


def test_an_inverse_right_after_a_change_is_that_of_the_changed_chain() -> None:
    chain = Sequential(Sequential(Haar()), Inverse(Haar()))
    ours = exact(chain)
    chain.pop()  # now the transform is not undone: outputs are rounded to another lattice
    bands = torch.rand(1, 1, 4, 4), torch.rand(1, 3, 4, 4)
    expected = exact(Sequential(Sequential(Haar()))).inverse(*bands)
    assert all(torch.equal(x, y) for x, y in zip(as_tuple(ours.inverse(*bands)), as_tuple(expected), strict=True))
