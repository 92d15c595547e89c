"""Checks whether a subclass still computes what its base class declares: its steps, log-determinant and exact form."""

import copy
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from liftlayers._bands import as_tuple
from liftlayers._graphs import constant_in_graphs
from liftlayers._random import RandomState

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

MAP = ("forward", "inverse", "change", "undo")  # the methods that define a map; the last two are those of couplings
ARITHMETIC = (*MAP, "evaluate")  # those that compute numbers; the last one calls the network of a coupling


def cached_weakly(function: Callable[..., T]) -> Callable[..., T]:
    """A cache like `functools.cache` that does not keep the first argument, a class or a function, in memory.

    Either may hold a whole network: PyTorch makes a class of its own for each parametrized module.
    """
    found: WeakKeyDictionary[Any, dict[tuple[Any, ...], T]] = WeakKeyDictionary()

    @functools.wraps(function)
    def cached(key: Any, *others: Any) -> T:
        results = found.get(key)  # `setdefault` takes twice as long, and couplings ask in every pass
        if results is None:
            results = found[key] = {}
        if others not in results:
            results[others] = function(key, *others)
        return results[others]

    return cached


@constant_in_graphs
def describes_map(module: nn.Module, method: str) -> bool:
    """Whether a method that describes a module's map, such as `steps`, comes with its present `forward` and `inverse`.

    It does not if a subclass or the instance redefines a direction without it.
    """
    replaced = {"forward", "inverse"} & vars(module).keys()
    return not replaced and _describes_map(type(module), method)


@cached_weakly
def _describes_map(kind: type[nn.Module], method: str) -> bool:
    def place(name: str) -> int:
        return next(i for i, base in enumerate(kind.__mro__) if name in vars(base))

    return place(method) <= min(place("forward"), place("inverse"))


def stating_class(kind: type[M], states: Callable[[type], bool]) -> type[M]:
    """Returns the class whose map a statement is about: the one that `states` it, or its first concrete subclass."""
    mro = kind.__mro__
    place = next(i for i, base in enumerate(mro) if states(base))
    concrete = (base for base in reversed(mro[: place + 1]) if not inspect.isabstract(base))
    return next(base for base in concrete if issubclass(base, nn.Module))  # type: ignore[return-value]


def same_map(
    module: nn.Module,
    base: type[nn.Module],
    direction: str,
    bands: tuple[Tensor, ...],
    options: dict[str, Any],
    *,
    methods: Sequence[str] = MAP,
) -> bool:
    """Whether a module returns what its class `base` would return for the same bands.

    That is certain if no subclass redefines one of the methods. Otherwise copies of the module compute both, with the
    same random numbers, and are compared bit by bit: a subclass may print, count or check, as long as it returns the
    same numbers.
    """
    kind = type(module)
    below = kind.__mro__[: kind.__mro__.index(base)]
    if not any(name in vars(place) for place in (module, *below) for name in methods):
        return True
    given, original = _copied(module), _copied(module)
    for name in methods:
        vars(original).pop(name, None)
    original.__class__ = base
    found: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        for function in (getattr(given, direction), functools.partial(getattr(base, direction), original)):
            with RandomState(bands).again():
                found.append(as_tuple(function(*bands, **options)))
    pairs = zip(*found, strict=True)
    return all(x.shape == y.shape and torch.allclose(x, y, rtol=0, atol=0, equal_nan=True) for x, y in pairs)


def _copied(module: M) -> M:
    """Returns a copy of a module, whose evaluation does not change the module."""
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError):  # it holds a tensor with a graph, or an object such as a lock
        children = {name: child if child is None else _copied(child) for name, child in module._modules.items()}
        buffers = {name: x if x is None else x.clone() for name, x in module._buffers.items()}
        return shallow_copy(module, _modules=children, _buffers=buffers)


def shallow_copy(module: M, **attributes: Any) -> M:
    """Returns a module that shares everything with another one, except for some attributes."""
    copied = object.__new__(type(module))
    vars(copied).update(vars(module), **attributes)
    return copied


@constant_in_graphs
def names_condition(module: nn.Module) -> bool:
    """Whether the `forward` of a module has a parameter called `condition`."""
    return "condition" in parameters_of(module.forward)


# What the signatures of methods say. They are slow to read, so each method of a class is read once.


def parameters_of(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a method or a function by name, without `self`."""
    return _read(method)[0]


def num_positional(method: Callable[..., Any]) -> tuple[int, float]:
    """Returns the least and the greatest number of positional arguments that a method takes besides a condition."""
    return _read(method)[1]


Signature = tuple[dict[str, inspect.Parameter], tuple[int, float]]


def _read(method: Callable[..., Any]) -> Signature:
    function = getattr(method, "__func__", None)
    return _signature(method) if function is None else _method_signature(function)  # others may hold a network


@cached_weakly
def _method_signature(function: Callable[..., Any]) -> Signature:
    return _signature(function, skip=1)


def _signature(function: Callable[..., Any], *, skip: int = 0) -> Signature:
    parameters = dict(list(inspect.signature(function).parameters.items())[skip:])
    bands = [p for p in parameters.values() if p.name != "condition"]  # which is passed by name
    positional = [p for p in bands if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    most = math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()) else len(positional)
    return parameters, (least, most)
