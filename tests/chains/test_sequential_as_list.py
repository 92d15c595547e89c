"""Sequential as a list of steps, and set_memory, which finds every chain."""

import pytest
from torch import nn

from liftlayers import Exact, Haar, Inverse, Invertible, LiftingPyramid, Parallel, Sequential, Swap, exact, set_memory
from liftlayers.testing import randomise_


def steps(count: int) -> list[Invertible]:
    return [Swap() for _ in range(count)]


def test_it_changes_as_a_list_does() -> None:
    a, b, c, d, e, f = steps(6)
    chain, expected = Sequential(a, b), [a, b]
    for each in (chain, expected):
        each.append(c)
        each.insert(0, d)
        each.insert(-1, e)
        each[1] = f
        each[2:4] = [a, b, c]
        del each[0]
        assert each.pop() is not each.pop(1)
    assert list(chain) == expected
    assert list(chain._modules) == [str(position) for position in range(len(expected))]


def test_append_and_insert_return_the_chain() -> None:
    chain = Sequential()
    assert chain.append(Swap()) is chain
    assert chain.insert(0, Haar()) is chain
    assert [type(step) for step in chain] == [Haar, Swap]


def test_steps_keep_their_weights_when_others_come_before_them() -> None:
    chain = randomise_(Sequential(Inverse(Haar()), Haar()))
    step = chain[1]
    chain.insert(0, Haar())
    assert chain[2] is step


@pytest.mark.parametrize("index", [2, -3])
def test_positions_that_are_not_there_are_refused(index: int) -> None:
    chain = Sequential(*steps(2))
    for change in (lambda: chain.pop(index), lambda: chain.__setitem__(index, Swap()), lambda: chain[index]):
        with pytest.raises(IndexError):
            change()
    assert len(chain) == 2


def test_other_modules_are_refused_and_the_chain_stays_as_it_was() -> None:
    chain = Sequential(*steps(2))
    before = list(chain)
    message = "Sequential needs Invertible steps, got ReLU at position"
    for change in (
        lambda: chain.append(nn.ReLU()),  # type: ignore[arg-type]
        lambda: chain.insert(1, nn.ReLU()),  # type: ignore[arg-type]
        lambda: chain.__setitem__(0, nn.ReLU()),  # type: ignore[call-overload]
    ):
        with pytest.raises(TypeError, match=message):
            change()
        assert list(chain) == before


def test_a_module_that_torch_lets_in_is_refused_when_the_chain_is_used() -> None:
    chain = Sequential(*steps(2))
    setattr(chain, "1", nn.ReLU())
    with pytest.raises(TypeError, match="Sequential needs Invertible steps, got ReLU at position 1"):
        chain()


# set_memory


def test_every_chain_inside_a_module_is_set() -> None:
    level = Sequential(Haar())
    model = nn.ModuleDict({"a": LiftingPyramid([level]), "b": Parallel(Sequential(level)), "c": exact(Sequential())})
    assert set_memory(model, "reversible") is model
    containers = [m for m in model.modules() if isinstance(m, Sequential | LiftingPyramid | Parallel | Exact)]
    assert len(containers) == 6
    assert {container.memory for container in containers} == {"reversible"}


def test_another_mode_is_refused_and_nothing_is_set() -> None:
    chain = Sequential(Sequential(), memory="checkpoint")
    for module in (chain, nn.ReLU()):
        with pytest.raises(ValueError, match="needs a memory of 'store', 'reversible' or 'checkpoint', got 'all'"):
            set_memory(module, "all")  # type: ignore[arg-type]
    assert chain.memory == "checkpoint"


@pytest.mark.parametrize("build", [lambda m: Parallel(Haar(), memory=m), lambda m: LiftingPyramid([Haar()], memory=m)])
def test_containers_take_a_mode(build) -> None:
    assert build("reversible").memory == "reversible"
    with pytest.raises(ValueError, match=r"(Parallel|LiftingPyramid) needs a memory of 'store', .* got 'none'"):
        build("none")
